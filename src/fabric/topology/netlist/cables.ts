// The cables of a netlist, each listed at both of its ends, or at one, or made by a command.

import type { LinkEnd, TopologyLink } from "../topology.ts";
import { failAt, type Place } from "./place.ts";
import { type PortRates, rateBetween } from "./rates.ts";

interface Claim {
  readonly near: LinkEnd;
  readonly far: LinkEnd;
  readonly place: Place;
  /** Order of the lines, over all files. */
  readonly order: number;
  readonly isMade: boolean;
}

const keyOf = ({ node, port }: LinkEnd): string => `${node}[${port}]`;
const isSame = (a: LinkEnd, b: LinkEnd): boolean => a.node === b.node && a.port === b.port;
const endName = ({ node, port }: LinkEnd): string => `"${node}"[${port}]`;
const placeName = ({ source, line }: Place, from: Place): string =>
  source === from.source ? `line ${line}` : `line ${line} of ${source}`;

export class NetlistCables {
  /** By their near end. */
  readonly #claims = new Map<string, Claim>();
  /** What was unplugged, by either end. */
  readonly #former = new Map<string, readonly [LinkEnd, LinkEnd]>();
  readonly #rates = new Map<string, PortRates>();
  readonly #losses = new Map<string, number>();
  #order = 0;

  /** A line of a node says where the cable at one of its ports leads. */
  claim(near: LinkEnd, far: LinkEnd, place: Place): void {
    const first = this.#claims.get(keyOf(near));
    if (first !== undefined) {
      failAt(place, `port ${near.port} of "${near.node}" is in ${placeName(first.place, place)} already`);
    }
    this.#add(near, far, place, false);
  }

  setRates(end: LinkEnd, rates: PortRates): void {
    this.#rates.set(keyOf(end), rates);
  }

  /** What a port has that no line says anything of. */
  setDefaultRates(end: LinkEnd, rates: PortRates): void {
    if (!this.#rates.has(keyOf(end))) this.setRates(end, rates);
  }

  /** Part of the packets that a port loses, 0 to 1. */
  setLoss(end: LinkEnd, loss: number): void {
    this.#losses.set(keyOf(end), loss);
  }

  /** Plugs a cable in; what lines say of the two ports does not count any more. */
  link(a: LinkEnd, b: LinkEnd, place: Place): void {
    for (const end of [a, b])
      if (this.#claims.get(keyOf(end))?.isMade === true) failAt(place, `${endName(end)} has a cable already`);
    this.#add(a, b, place, true);
    if (!isSame(a, b)) this.#add(b, a, place, true);
  }

  /** Unplugs a cable that a command has made; false if there is none. Those of lines are plugged in when all has been read. */
  unlink(end: LinkEnd): boolean {
    const claim = this.#claims.get(keyOf(end));
    if (claim?.isMade !== true) return false;
    for (const side of [claim.near, claim.far]) {
      this.#claims.delete(keyOf(side));
      this.#former.set(keyOf(side), [claim.near, claim.far]);
    }
    return true;
  }

  /** Plugs in again what was unplugged at `end`; false if nothing was. */
  relink(end: LinkEnd, place: Place): boolean {
    const ends = this.#former.get(keyOf(end));
    if (ends === undefined) return false;
    this.link(...ends, place);
    for (const side of ends) this.#former.delete(keyOf(side));
    return true;
  }

  #add(near: LinkEnd, far: LinkEnd, place: Place, isMade: boolean): void {
    this.#claims.set(keyOf(near), { near, far, place, order: this.#order++, isMade });
  }

  /** @param source the topology's, which links of other files name theirs beside */
  links(source: string): TopologyLink[] {
    const links: TopologyLink[] = [];
    for (const claim of this.#claims.values()) {
      const { near, far, place, order } = claim;
      const back = this.#claims.get(keyOf(far));
      if (back !== undefined && !isSame(back.far, near)) {
        const other = `in ${placeName(back.place, place)} that leads to ${endName(back.far)}`;
        failAt(place, `${endName(near)} leads to ${endName(far)}, but ${other}; let both lines name each other`);
      }
      // Where both ends are listed, the first makes the cable.
      if (back !== undefined && back.order < order) continue;
      const where = place.source === source ? { line: place.line } : { line: place.line, source: place.source };
      links.push({ ends: [near, far], ...this.#rate(claim), ...this.#loss(near, far), ...where });
    }
    return links;
  }

  #rate({ near, far, place }: Claim): Pick<TopologyLink, "width" | "speed"> {
    const mine = this.#rates.get(keyOf(near));
    if (mine === undefined) return {};
    const rate = rateBetween(mine, this.#rates.get(keyOf(far)) ?? mine);
    return typeof rate === "string" ? failAt(place, `${endName(near)} and ${endName(far)}: ${rate}`) : rate;
  }

  #loss(a: LinkEnd, b: LinkEnd): Pick<TopologyLink, "loss"> {
    const kept = [a, b].reduce((part, end) => part * (1 - (this.#losses.get(keyOf(end)) ?? 0)), 1);
    return kept === 1 ? {} : { loss: 1 - kept };
  }
}
