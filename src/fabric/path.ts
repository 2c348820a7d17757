// The way of a packet through the fabric, hop by hop, as the switches' tables have it now: what `ibtracert` asks the switches for, seen from
// inside. It obeys the same states and bounds as a packet (trace.ts) and says where and why one would end.

import { NotFoundError } from "../base/inspect.ts";
import { PortKind } from "../mad/attributes.ts";
import type { Fabric } from "./fabric.ts";
import { getNode, getPort, parseEnd } from "./find.ts";
import { labelOf } from "./inspect.ts";
import { MAX_HOPS } from "./limits.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import { outputPort } from "./trace.ts";
import { Trunk } from "./trunk.ts";

/** A node on the way. */
export interface HopView {
  readonly node: string;
  readonly isSwitch: boolean;
  /** 0 for none. */
  readonly lid: number;
  /** Ports by which a packet comes in and goes out; undefined at the ends. */
  readonly in: number | undefined;
  readonly out: number | undefined;
}

export interface PathView {
  readonly dlid: number;
  readonly hops: HopView[];
  /** Why a packet ends at the last hop; undefined if it arrives. */
  readonly problem: string | undefined;
  /** The way goes on in another engine, at the other end of the cable at the last hop. */
  readonly leaves: boolean;
}

/** From where a packet is followed: an end port, or a switch port that it has come in by. */
export interface PathStart {
  readonly from: string;
  readonly isArriving?: boolean | undefined;
}

/**
 * A LID of the port that `NODE` or `NODE:PORT` means: of a switch its own, of a host its first port that has one; 0 if it has none yet.
 * @param offset which of the 2^LMC that it has
 * @throws NotFoundError, also if it has not so many
 */
export function getLid(fabric: Fabric, end: string, offset = 0): number {
  const port = startPort(fabric, end);
  if (port.lid === 0) return 0;
  if (port.ownsLid(port.lid + offset)) return port.lid + offset;
  let count = 1;
  while (port.ownsLid(port.lid + count)) count++;
  throw new NotFoundError(
    `${end} has ${count === 1 ? "one LID" : `${count} LIDs`}: expected an offset of 0 to ${count - 1}, got ${offset}`,
  );
}

/** The way to unicast `dlid`. @throws NotFoundError */
export function findPath(fabric: Fabric, { from, isArriving = false }: PathStart, dlid: number): PathView {
  const walk = new Walk(dlid);
  const start = isArriving ? getPort(fabric, from) : startPort(fabric, from);
  if (isArriving || start.node.switch !== undefined) return walk.atSwitch(start, isArriving);
  return walk.fromHost(start);
}

function startPort(fabric: Fabric, from: string): Port {
  const { node: name, port: number } = parseEnd(from);
  const node = getNode(fabric, name);
  if (node.switch !== undefined) return node.ports[0] as Port;
  if (number !== undefined) return getPort(fabric, from);
  const ports = node.ports.filter((port) => port !== undefined) as Port[];
  return ports.find(({ lid }) => lid !== 0) ?? (ports[0] as Port);
}

class Walk {
  readonly #dlid: number;
  readonly #hops: HopView[] = [];

  constructor(dlid: number) {
    this.#dlid = dlid;
  }

  fromHost(port: Port): PathView {
    if (this.#dlid !== 0 && port.ownsLid(this.#dlid)) return this.#end(port.node, undefined);
    this.#note(port.node, undefined, port.number);
    return this.#leave(port);
  }

  /** @param isArriving the packet has come in by `port`; else it is port 0 that sends */
  atSwitch(port: Port, isArriving: boolean): PathView {
    const { node } = port;
    const ingress = isArriving ? port.number : undefined;
    if (node.switch === undefined) return this.#arrive(port);
    if (this.#dlid === 0) return this.#end(node, ingress, "the other end has no LID yet");
    if (node.ports[0]?.ownsLid(this.#dlid) === true) return this.#end(node, ingress);
    const out = outputPort(node.switch, this.#dlid);
    const egress = node.ports[out];
    if (out === 0 || egress === undefined) return this.#end(node, ingress, `${labelOf(node)} has no route to LID ${this.#dlid}`);
    if (out === ingress) return this.#end(node, ingress, `${labelOf(node)} would send it back by port ${out}`);
    if (this.#hops.length > MAX_HOPS) return this.#end(node, ingress, `it has been through ${MAX_HOPS} switches: a loop`);
    this.#note(node, ingress, out);
    return this.#leave(egress);
  }

  #leave(port: Port): PathView {
    const { link, node } = port;
    const where = `port ${port.number} of ${labelOf(node)}`;
    if (link === undefined) return this.#stop(`there is no cable at ${where}`);
    if (!port.isLinkUp) return this.#stop(`the cable at ${where} is ${link.isPlugged ? "down" : "pulled"}`);
    if (!port.isActive) return this.#stop(`${where} is not ACTIVE`);
    const next = link.other(port);
    if (next.node instanceof Trunk) return { ...this.#stop(undefined), leaves: true };
    if (!next.canReceiveData) return this.#stop(`port ${next.number} of ${labelOf(next.node)} is not ACTIVE`);
    return this.#arrive(next);
  }

  #arrive(port: Port): PathView {
    if (port.kind !== PortKind.CA) return this.atSwitch(port, true);
    const isThere = port.ownsLid(this.#dlid);
    return this.#end(port.node, port.number, isThere ? undefined : `${labelOf(port.node)} does not have LID ${this.#dlid}`);
  }

  #note(node: FabricNode, ingress: number | undefined, out: number | undefined): void {
    const lid = (node.switch === undefined ? node.ports[ingress ?? out ?? 1] : node.ports[0])?.lid ?? 0;
    this.#hops.push({ node: labelOf(node), isSwitch: node.switch !== undefined, lid, in: ingress, out });
  }

  #end(node: FabricNode, ingress: number | undefined, problem?: string): PathView {
    this.#note(node, ingress, undefined);
    return this.#stop(problem);
  }

  #stop(problem: string | undefined): PathView {
    return { dlid: this.#dlid, hops: this.#hops, problem, leaves: false };
  }
}
