// Follows a packet's way through the switches without sending one: which end port does a LID reach? This is what the
// short path stands on, so it obeys the same tables and states as a packet would, and it allocates nothing.

import { PortKind, type SwitchAttributes } from "../mad/attributes.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { LFT_DISCARD, MFT_POSITION_PORTS } from "../spec/mad/numbers.ts";
import { SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { MAX_HOPS } from "./limits.ts";
import type { Port } from "./port.ts";

/** Nothing there that could receive. */
export const NOWHERE = -1;

/** Output port for a unicast LID: the table's entry, unless the LID lies above LinearFDBTop (14.2.5.4). */
export function outputPort(tables: SwitchAttributes, dlid: number): number {
  return dlid > SwitchInfo.linearFdbTop.get(tables.info, 0) ? LFT_DISCARD : tables.linear.portOf(dlid);
}

/** The end port, or trunk to another engine, that a packet from `from` to unicast `dlid` reaches, as `Port.index`, or NOWHERE. */
export function traceUnicast(from: Port, dlid: number): number {
  if (!from.isActive) return NOWHERE;
  if (from.ownsLid(dlid)) return from.index;
  let port: Port = from;
  for (let hops = 0; hops < MAX_HOPS; hops++) {
    const next: Port | undefined = port.peer;
    if (next === undefined || !port.isActive || !next.canReceiveData) return NOWHERE;
    if (next.kind === PortKind.CA) return next.ownsLid(dlid) ? next.index : NOWHERE;
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

/** State of multicast walks, kept so that none of them allocates. */
export class MulticastTracer {
  /** Switch ports still to enter; as long as the longest walk so far needed. */
  readonly #pending: Port[] = [];
  #pendingCount = 0;
  #stamp = 0;
  #count = 0;

  /** The end ports and trunks a multicast packet from `from` to `dlid` reaches, into `out`; returns how many. */
  trace(from: Port, dlid: number, out: Int32Array): number {
    if (!from.isActive || !isMulticastLid(dlid)) return 0;
    this.#stamp++;
    this.#count = 0;
    this.#pendingCount = 0;
    this.#enter(from.peer, from, out);
    while (this.#pendingCount > 0) {
      const arrival = this.#pending[--this.#pendingCount];
      if (arrival !== undefined && arrival.node.visitStamp !== this.#stamp) this.#replicate(arrival, from, dlid, out);
    }
    return this.#count;
  }

  /** The packet arrives at `next`: one more receiver, or one more switch to visit. */
  #enter(next: Port | undefined, from: Port, out: Int32Array): void {
    if (next === undefined || next === from || !next.canReceiveData) return;
    if (next.node.switch !== undefined) this.#pending[this.#pendingCount++] = next;
    else if (this.#count < out.length) out[this.#count++] = next.index;
  }

  #replicate(arrival: Port, from: Port, dlid: number, out: Int32Array): void {
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
        if (egress !== undefined && egress !== arrival && egress.isActive) this.#enter(egress.peer, from, out);
      }
    }
  }
}
