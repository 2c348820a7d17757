// One port of an HCA: the wire behind it and the QPs that stand for QP0 and QP1.

import { Lid, PortState } from "../spec/ib/numbers.ts";
import type { Adapter } from "./adapter.ts";
import type { Wire } from "./wire.ts";

export class AdapterPort {
  readonly adapter: Adapter;
  readonly wire: Wire;
  /** 1-based, as the driver counts. */
  readonly number: number;
  /** Internal numbers of the special QPs (CONF_SPECIAL_QP), -1 while not configured. */
  smiQpn = -1;
  gsiQpn = -1;

  constructor(adapter: Adapter, wire: Wire, number: number) {
    this.adapter = adapter;
    this.wire = wire;
    this.number = number;
  }

  get isActive(): boolean {
    return this.wire.state === PortState.ACTIVE;
  }

  /** True if unicast `lid` is one of this port's own. */
  ownsLid(lid: number): boolean {
    const base = this.wire.lid;
    return base !== Lid.RESERVED && lid >>> this.wire.lmc === base >>> this.wire.lmc;
  }

  /** The HCA port that a unicast LID reaches from here, or undefined. */
  peer(dlid: number): AdapterPort | undefined {
    if (this.ownsLid(dlid)) return this;
    return this.adapter.network.portAt(this.wire.resolve(dlid));
  }

  /** The port's P_Key at a table index; 0 (never valid) outside the table. */
  pkey(index: number): number {
    return this.wire.pkeys[index] ?? 0;
  }
}

/** Two P_Keys match if their 15-bit keys are equal and not zero and at least one is a full member (IBA vol 1, 10.9.3). */
export function pkeysMatch(a: number, b: number): boolean {
  return (a & 0x7fff) !== 0 && (a & 0x7fff) === (b & 0x7fff) && ((a | b) & 0x8000) !== 0;
}
