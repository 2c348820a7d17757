// What the parts of the lanes share: packets, ports, the time, and what happens when. Buffers and their credits are here, because everything that
// ends a packet's stay somewhere gives some back. IBA vol 1, 7.9.4.

import { LateQueue } from "../../base/late-queue.ts";
import { ICRC_BYTES, Lrh } from "../../spec/ib/headers.ts";
import { isMulticastLid } from "../../spec/ib/numbers.ts";
import type { Fabric } from "../fabric.ts";
import type { Port } from "../port.ts";
import { countData } from "../port-counts.ts";
import { AT_SENDER, NO_PACKET, PacketPool } from "./packet-pool.ts";
import { PortLanes } from "./port-lanes.ts";

/** What happens at a time; the rest of an event's number says where. */
export const LaneEvent = { SENT: 0, ARRIVED: 1, CREDIT: 2, TIMER: 3, SPACE: 4 } as const;
const DLID_AT = Lrh.dlid.offset;
const EVENT_BITS = 3;
const VL_BITS = 4;
const BLOCK_BITS = 7;
const maskOf = (bits: number): number => (1 << bits) - 1;

export const eventKind = (event: number): number => event & maskOf(EVENT_BITS);
export const eventPlace = (event: number): number => event >>> EVENT_BITS;

/** Words of a packet of so many bytes without CRCs, as ports count them: with the ICRC (16.1.3.5). */
export const wordsOf = (bytes: number): number => (bytes + ICRC_BYTES) >>> 2;

/** What the lanes have done to packets of data. */
export interface LaneCounts {
  /** Too long at the head of a queue, or in a switch. */
  tooOld: number;
  /** For a lane that was stalled. */
  stalled: number;
  /** No lane for their service level. */
  withoutLane: number;
  /** No way, or a way that has gone. */
  unroutable: number;
  /** Copies of multicast packets for which the fabric had no room. */
  copiesLost: number;
}

export class LaneState {
  readonly fabric: Fabric;
  readonly pool = new PacketPool();
  readonly counts: LaneCounts = { tooOld: 0, stalled: 0, withoutLane: 0, unroutable: 0, copiesLost: 0 };
  /** Receive buffer of a port for each lane. */
  readonly bufferBlocks: number;
  readonly events = new LateQueue<number>();
  /** Ports that may have something to send. */
  readonly ready: PortLanes[] = [];
  /** The time that it is in the lanes. */
  timeNs = 0;
  readonly #ports: PortLanes[] = [];

  constructor(fabric: Fabric, bufferBlocks: number) {
    this.fabric = fabric;
    this.bufferBlocks = bufferBlocks;
  }

  /** The lanes of a port, made when first needed. */
  lanesOf(port: Port): PortLanes {
    if (port.lanes !== undefined) return port.lanes;
    const lanes = new PortLanes(port, this.#ports.length, this.bufferBlocks);
    this.#ports.push(lanes);
    port.lanes = lanes;
    return lanes;
  }

  /** Those with the number `PortLanes.index`. */
  portAt(index: number): PortLanes {
    return this.#ports[index]!;
  }

  /**
   * Something will happen at `events.addedDueNs`.
   * @param place of a port or of a packet
   */
  plan(kind: number, place: number): void {
    this.events.add((place << EVENT_BITS) | kind);
  }

  /** The port will be asked for its next packet. */
  getReady(lanes: PortLanes): void {
    if (lanes.isReady) return;
    lanes.isReady = true;
    this.ready.push(lanes);
  }

  /** Service level of a packet, as its LRH has it. */
  levelOf(slot: number): number {
    return this.pool.memory.bytes[this.pool.at(slot) + 1]! >> 4;
  }

  /** DLID of a packet. */
  dlidOf(slot: number): number {
    return this.pool.memory.view.getUint16(this.pool.at(slot) + DLID_AT, false);
  }

  /** A port has sent or received a packet (16.1.3.5). */
  countPacket(port: Port, direction: "xmit" | "rcv", slot: number): void {
    countData(port, direction, this.levelOf(slot), wordsOf(this.pool.length[slot]!), 1, isMulticastLid(this.dlidOf(slot)));
  }

  /** The packet goes no further. */
  drop(slot: number): void {
    this.leaveBuffer(slot);
    this.pool.release(slot);
  }

  /** The packet is no longer in the receive buffer that it came into: its sender gets the credits back, as late as the cable is long. */
  leaveBuffer(slot: number): void {
    const { pool } = this;
    const held = pool.heldBy[slot]!;
    if (held === AT_SENDER) {
      this.#leaveOriginal(slot);
      return;
    }
    pool.heldBy[slot] = AT_SENDER;
    const lanes = this.portAt(held);
    const vl = pool.heldVl[slot]!;
    const blocks = pool.blocks[slot]!;
    lanes.buffered[vl]! -= blocks;
    const { link } = lanes.port;
    const sender = link?.other(lanes.port).lanes;
    if (link === undefined || sender === undefined) return;
    const delayNs = link.faults?.delayNs ?? 0;
    if (delayNs === 0) this.giveCredit(sender, vl, blocks);
    else {
      const where = (((sender.index << BLOCK_BITS) | blocks) << VL_BITS) | vl;
      this.events.addedDueNs = this.timeNs + delayNs;
      this.plan(LaneEvent.CREDIT, where);
    }
  }

  /** A copy has left the node where it was made, or is lost: the buffer is free when it was the last. */
  #leaveOriginal(slot: number): void {
    const { copyOf } = this.pool;
    const original = copyOf[slot]!;
    if (original === NO_PACKET) return;
    copyOf[slot] = NO_PACKET;
    this.endCopy(original);
  }

  /** One copy less of the packet in `slot`. */
  endCopy(slot: number): void {
    const { copies } = this.pool;
    copies[slot]! -= 1;
    if (copies[slot] === 0) this.drop(slot);
  }

  /** Credits arrive that `leaveBuffer` has sent. */
  creditArrives(where: number): void {
    const vl = where & maskOf(VL_BITS);
    const blocks = (where >>> VL_BITS) & maskOf(BLOCK_BITS);
    this.giveCredit(this.portAt(where >>> (VL_BITS + BLOCK_BITS)), vl, blocks);
  }

  /** Not more than the whole buffer: a link that came up anew began with that. */
  giveCredit(lanes: PortLanes, vl: number, blocks: number): void {
    lanes.credits[vl] = Math.min(this.bufferBlocks, lanes.credits[vl]! + blocks);
    if (lanes.queued > 0) this.getReady(lanes);
  }
}
