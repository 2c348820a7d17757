// Follows a packet's way through the switches without sending one: which end port does a LID reach? This is what the
// short path stands on, so it obeys the same tables and states as a packet would, and it allocates nothing.

import type { Random } from "../base/random.ts";
import { PortKind, type SwitchAttributes } from "../mad/attributes.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { LFT_DISCARD, MFT_POSITION_PORTS } from "../spec/mad/numbers.ts";
import { SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { MAX_HOPS } from "./limits.ts";
import type { Link } from "./link.ts";
import { crossCable, LOST } from "./link-faults.ts";
import type { Port } from "./port.ts";
import { countData, countRelayErrors } from "./port-counts.ts";

/** Nothing there that could receive. */
export const NOWHERE = -1;

/** Output port for a unicast LID: the table's entry, unless the LID lies above LinearFDBTop (14.2.5.4). */
export function outputPort(tables: SwitchAttributes, dlid: number): number {
  return dlid > SwitchInfo.linearFdbTop.get(tables.info, 0) ? LFT_DISCARD : tables.linear.portOf(dlid);
}

/** For walks that ask for nobody. */
const NOBODY = new Int32Array(0);

/** What the walk that came last has met. */
const walk = { hasFaults: false, delayNs: 0, sl: 0, words: 0 };

/** The end port, or trunk to another engine, that a packet from `from` to unicast `dlid` reaches, as `Port.index`, or NOWHERE. */
export const traceUnicast = (from: Port, dlid: number): number => walkUnicast(from, dlid, undefined);

/** Whether a cable on that way has faults. */
export function crossesFaults(from: Port, dlid: number): boolean {
  walkUnicast(from, dlid, undefined);
  return walk.hasFaults;
}

/** Sends a packet of `words` of data through the cables on that way: the nanoseconds that it takes, or LOST. Counted at each cable and switch. */
export function passFaults(from: Port, dlid: number, random: Random, sl: number, words: number): number {
  walk.sl = sl;
  walk.words = words;
  return walkUnicast(from, dlid, random) === NOWHERE ? LOST : walk.delayNs;
}

/** @param random decides, if given, what the cables do to the packet */
function walkUnicast(from: Port, dlid: number, random: Random | undefined): number {
  walk.hasFaults = false;
  walk.delayNs = 0;
  if (!from.isActive || from.isFrozen) return NOWHERE;
  if (from.ownsLid(dlid)) return from.index;
  let port: Port = from;
  for (let hops = 0; hops < MAX_HOPS; hops++) {
    const next: Port | undefined = port.peer;
    if (next === undefined || !port.isActive || !next.canReceiveData) return NOWHERE;
    if (random !== undefined && port.kind === PortKind.SWITCH_EXTERNAL) countData(port, "xmit", walk.sl, walk.words, 1);
    if (port.link !== undefined && !step(port.link, next, random)) return NOWHERE;
    if (random !== undefined && next.kind === PortKind.SWITCH_EXTERNAL) countData(next, "rcv", walk.sl, walk.words, 1);
    if (next.kind === PortKind.CA) return next.ownsLid(dlid) && !next.isFrozen ? next.index : NOWHERE;
    const tables = next.node.switch;
    // The cable leads to another engine: what it reaches there is for that one to say.
    if (tables === undefined) return next.index;
    const out = outputPort(tables, dlid);
    const egress = next.node.ports[out];
    if (out === 0 || out === next.number || egress === undefined) return NOWHERE;
    port = egress;
  }
  return NOWHERE;
}

/** One step of a walk; false if a packet that is sent (`random`) ends in this cable. */
function step(link: Link, arrival: Port, random: Random | undefined): boolean {
  if (link.faults === undefined) return true;
  walk.hasFaults = true;
  if (random === undefined) return true;
  const delayNs = crossCable(link, arrival, random);
  walk.delayNs += delayNs;
  return delayNs !== LOST;
}

/** State of multicast walks, kept so that none of them allocates. */
export class MulticastTracer {
  /** Switch ports still to enter; as long as the longest walk so far needed. */
  readonly #pending: Port[] = [];
  /** Time that the packet has taken to each of them. */
  readonly #pendingNs: number[] = [];
  #random: Random | undefined = undefined;
  #delaysNs: Float64Array | undefined = undefined;
  /** Packets that ports of switches count, none in a walk that only asks; their service level, and their words of 4 bytes in all. */
  #packets = 0;
  #sl = 0;
  #words = 0;
  #pendingCount = 0;
  #stamp = 0;
  #count = 0;

  /** The end ports and trunks a multicast packet from `from` to `dlid` reaches, into `out`; returns how many. */
  trace(from: Port, dlid: number, out: Int32Array): number {
    this.#packets = 0;
    this.#random = undefined;
    this.#delaysNs = undefined;
    return this.#walk(from, dlid, out);
  }

  /** Ports of switches on that way count packets that nothing happens to, `words` in all. */
  count(from: Port, dlid: number, sl: number, words: number, packets: number): void {
    this.#tell(sl, words, packets);
    this.#random = undefined;
    this.#delaysNs = undefined;
    this.#walk(from, dlid, NOBODY);
  }

  /**
   * Sends a packet of `words` of data that way through the cables: who still gets it into `out`, and after what time into `delaysNs`. Counted at each
   * cable and switch.
   */
  pass(from: Port, dlid: number, random: Random, sl: number, words: number, out: Int32Array, delaysNs: Float64Array): number {
    this.#tell(sl, words, 1);
    this.#random = random;
    this.#delaysNs = delaysNs;
    return this.#walk(from, dlid, out);
  }

  #tell(sl: number, words: number, packets: number): void {
    this.#sl = sl;
    this.#words = words;
    this.#packets = packets;
  }

  #walk(from: Port, dlid: number, out: Int32Array): number {
    if (!from.isActive || !isMulticastLid(dlid)) return 0;
    this.#stamp++;
    this.#count = 0;
    this.#pendingCount = 0;
    this.#enter(from, 0, from, out);
    // The nearest switches first: where a tree has circles, that is how packets would go.
    for (let next = 0; next < this.#pendingCount; next++) {
      const arrival = this.#pending[next] as Port;
      if (arrival.node.visitStamp !== this.#stamp) this.#replicate(arrival, this.#pendingNs[next] ?? 0, from, dlid, out);
      else if (this.#packets > 0) countRelayErrors(arrival, this.#packets);
    }
    return this.#count;
  }

  /** The packet leaves `egress` after `takenNs`: one more receiver, or one more switch to visit. */
  #enter(egress: Port, takenNs: number, from: Port, out: Int32Array): void {
    const { link } = egress;
    const next = link?.other(egress);
    if (link === undefined || next === undefined || next === from || !next.canReceiveData) return;
    walk.delayNs = takenNs;
    if (this.#packets > 0) this.#countAt(egress, "xmit");
    if (!step(link, next, this.#random)) return;
    if (this.#packets > 0) this.#countAt(next, "rcv");
    if (next.node.switch !== undefined) {
      this.#pendingNs[this.#pendingCount] = walk.delayNs;
      this.#pending[this.#pendingCount++] = next;
    } else if (this.#count < out.length && !next.isFrozen) {
      if (this.#delaysNs !== undefined) this.#delaysNs[this.#count] = walk.delayNs;
      out[this.#count++] = next.index;
    }
  }

  /** Hosts count for themselves. */
  #countAt(port: Port, direction: "xmit" | "rcv"): void {
    if (port.kind === PortKind.SWITCH_EXTERNAL) countData(port, direction, this.#sl, this.#words, this.#packets, true);
  }

  #replicate(arrival: Port, takenNs: number, from: Port, dlid: number, out: Int32Array): void {
    const { node } = arrival;
    node.visitStamp = this.#stamp;
    if (node.switch === undefined) return;
    const table = node.switch.multicast;
    for (let position = 0; position < table.positions; position++) {
      let mask = table.maskOf(dlid, position);
      while (mask !== 0) {
        const number = position * MFT_POSITION_PORTS + (31 - Math.clz32(mask & -mask));
        mask &= mask - 1;
        const egress = node.ports[number];
        if (egress !== undefined && egress !== arrival && egress.isActive) this.#enter(egress, takenNs, from, out);
      }
    }
  }
}
