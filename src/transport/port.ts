// One port of an HCA: the wire behind it and the QPs that stand for QP0 and QP1.

import { Lid, PortState, Qpn } from "../spec/ib/numbers.ts";
import type { Adapter } from "./adapter.ts";
import type { PacketLane } from "./packets/ring.ts";
import type { PortTap } from "./packets/tap.ts";
import type { QueuePair } from "./queue-pair.ts";
import type { Wire } from "./wire.ts";

const GID_BYTES = 16;
/** First half of the default subnet prefix fe80:0:0:0. */
export const DEFAULT_PREFIX_HI = 0xfe800000 | 0;

export class AdapterPort {
  readonly adapter: Adapter;
  readonly wire: Wire;
  /** 1-based, as the driver counts. */
  readonly number: number;
  /** Internal numbers of the special QPs (CONF_SPECIAL_QP), -1 while not configured. */
  smiQpn = -1;
  gsiQpn = -1;
  /** Somebody wants to see what the port sends and receives. */
  tap: PortTap | undefined = undefined;

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

  /**
   * True if what is sent to a unicast LID has to go as packets: another engine serves it, somebody wants to see them, or a cable on
   * the way has faults.
   * @param isAnswered the way back counts, too
   */
  needsPackets(dlid: number, isAnswered = false): boolean {
    if (!this.isActive) return false;
    const { network } = this.adapter;
    // Whatever ways there are, the packets will find out.
    if (network.path === "lanes") return true;
    const answer = this.ownsLid(dlid) ? this.wire.index : this.wire.resolve(dlid);
    if (answer < 0) return network.laneAt(answer) !== undefined;
    if (network.path !== "auto") return network.path !== "short";
    if (this.wire.hasFaultyFabric && (this.wire.crossesFaults(dlid) || (isAnswered && this.#isAnswerAtRisk(answer)))) return true;
    return network.usesLoopback && (this.tap !== undefined || network.portAt(answer)?.tap !== undefined);
  }

  /** Whether a cable on the way from end port `index` to here has faults; each of this port's LIDs may be the one it answers to. */
  #isAnswerAtRisk(index: number): boolean {
    const peer = this.adapter.network.portAt(index);
    if (peer === undefined || peer === this) return false;
    const { lid, lmc } = this.wire;
    for (let bits = 0; bits < 1 << lmc; bits++) if (peer.wire.crossesFaults(lid | bits)) return true;
    return false;
  }

  /** Where packets to a unicast LID leave; undefined if none reach it at this time. */
  laneTo(dlid: number): PacketLane | undefined {
    if (!this.isActive) return undefined;
    const { network } = this.adapter;
    if (this.ownsLid(dlid)) return this.tapped(network.loopback);
    if (network.path === "lanes") return this.tapped(network.outlet(this.wire.index));
    const answer = this.wire.resolve(dlid);
    return this.tapped(network.laneAt(answer) ?? (answer >= 0 ? network.loopback : undefined));
  }

  /** Where packets to multicast LIDs leave. */
  get multicastLane(): PacketLane | undefined {
    const { network } = this.adapter;
    return this.tapped(network.path === "lanes" ? network.outlet(this.wire.index) : network.loopback);
  }

  /** The lane as this port sees it: what it sends is seen by its tap, if it has one. */
  tapped(lane: PacketLane | undefined): PacketLane | undefined {
    return lane === undefined || this.tap === undefined ? lane : this.tap.before(lane);
  }

  /** Index of the 16-byte GID at `at` of `view` in the port's table, or -1; a GID of zeros names nobody. */
  findGid(view: DataView, at: number): number {
    const { gids, gidCount } = this.wire;
    for (let index = 0; index < gidCount; index++) {
      let i = 0;
      let seen = 0;
      while (i < GID_BYTES && gids[index * GID_BYTES + i] === view.getUint8(at + i)) seen |= view.getUint8(at + i++);
      if (i === GID_BYTES && seen !== 0) return index;
    }
    return -1;
  }

  /** True if a packet to that GID is for this port: one of its table, or its GUID with the default prefix (4.1.1). */
  ownsGid(view: DataView, at: number): boolean {
    if (this.findGid(view, at) >= 0) return true;
    if (view.getInt32(at) !== DEFAULT_PREFIX_HI || view.getInt32(at + 4) !== 0) return false;
    for (let i = 8; i < GID_BYTES; i++) if (this.wire.gids[i] !== view.getUint8(at + i)) return false;
    return true;
  }

  /** The QP that a packet's destination QPN names: 0 and 1 stand for the special QPs, whose own numbers are no address. */
  receiver(qpn: number): QueuePair | undefined {
    const { qps } = this.adapter;
    if (qpn === Qpn.SMI) return qps.find(this.smiQpn);
    if (qpn === Qpn.GSI) return qps.find(this.gsiQpn);
    return qpn === this.smiQpn || qpn === this.gsiQpn ? undefined : qps.find(qpn);
  }

  /** The port's P_Key at a table index; 0 (never valid) outside the table, and for one that the fabric does not let pass. */
  pkey(index: number): number {
    return this.wire.usablePkeys[index] ?? 0;
  }
}

/** Two P_Keys match if their 15-bit keys are equal and not zero and at least one is a full member (IBA vol 1, 10.9.3). */
export function pkeysMatch(a: number, b: number): boolean {
  return (a & 0x7fff) !== 0 && (a & 0x7fff) === (b & 0x7fff) && ((a | b) & 0x8000) !== 0;
}
