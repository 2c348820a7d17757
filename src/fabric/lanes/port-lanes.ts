// The virtual lanes of one port. IBA vol 1, 7.6 and 7.9. What leaves: a queue for each lane, the credits that the receiver at the other end
// has given, an arbiter. What comes in: how much of the receive buffer each lane occupies.
//
//   from other ports ──► queue of VL 0 ─┐
//                        queue of VL 1 ─┼─ arbiter ── link, one packet at a time ──► receive buffer of VL n at the other end
//                        …             ─┘                ◄── credits, when a packet leaves that buffer
//
// Times are kept in fields and arrays and are no parameters or results of what is done for each packet (why: base/late-queue.ts).

import { PortKind } from "../../mad/attributes.ts";
import { PortInfo, SwitchInfo } from "../../spec/mad/sm-attributes.ts";
import type { Port } from "../port.ts";
import { Arbiter, LANE_COUNT } from "./arbiter.ts";
import { bytesPerNs, dataLanes, lifeNs } from "./link-rate.ts";
import { NO_PACKET, type PacketPool } from "./packet-pool.ts";

export class PortLanes {
  readonly port: Port;
  /** Dense number among ports with lanes. */
  readonly index: number;

  // --- what leaves
  readonly #heads = new Int32Array(LANE_COUNT).fill(NO_PACKET);
  readonly #tails = new Int32Array(LANE_COUNT).fill(NO_PACKET);
  /** Packets and blocks of 64 bytes in each queue. */
  readonly packets = new Int32Array(LANE_COUNT);
  readonly blocks = new Int32Array(LANE_COUNT);
  /** Blocks that the other end has room for. */
  readonly credits: Int32Array;
  /** Packets of each lane that have left, and that were discarded instead. */
  readonly sent = new Float64Array(LANE_COUNT);
  readonly discarded = new Float64Array(LANE_COUNT);
  /** Packets of each lane in a row that were first in its queue for too long, and until when it is stalled. */
  readonly tooOldInRow = new Uint8Array(LANE_COUNT);
  readonly stalledUntilNs = new Float64Array(LANE_COUNT);
  readonly headSinceNs = new Float64Array(LANE_COUNT);
  readonly #eligible = new Uint8Array(LANE_COUNT);
  readonly #arbiter = new Arbiter();
  /** Packets in all queues. */
  queued = 0;
  /** The packet on its way out, or NO_PACKET. */
  sending = NO_PACKET;
  /** When that has left. */
  busyUntilNs = 0;
  /** Since when there is something to send and nothing may; -1 if that is not so. */
  blockedSinceNs = -1;
  /** When the first of the packets at the heads of the lanes will have been there, or in this switch, too long (`findDeadline`). */
  deadlineNs: number = Number.POSITIVE_INFINITY;
  /** When it is looked at again for packets that are too old. */
  timerNs = Number.POSITIVE_INFINITY;
  /** Is in the list of ports to look at. */
  isReady = false;
  /** Lives of the link: what was under way in an earlier one is gone. */
  generation = 0;

  // --- what comes in
  /** Blocks that are occupied of each lane's buffer. */
  readonly buffered = new Int32Array(LANE_COUNT);
  /** Packets that a host's frozen HCA has not taken. */
  firstHeld = NO_PACKET;
  lastHeld = NO_PACKET;

  // --- what the subnet manager has set
  #epoch = -1;
  laneCount = 1;
  bytesPerNs = 0;
  /** How long a packet may be the first of its queue, and in this switch at all; hosts let theirs wait. */
  headLifeNs = Number.POSITIVE_INFINITY;
  switchLifeNs = Number.POSITIVE_INFINITY;
  /** How many packets in a row that were first for too long stall a lane; 0: none do. */
  stallCount = 0;

  /** @param bufferBlocks receive buffer of each lane at the other end */
  constructor(port: Port, index: number, bufferBlocks: number) {
    this.port = port;
    this.index = index;
    this.credits = new Int32Array(LANE_COUNT).fill(bufferBlocks);
  }

  /** Reads again what may have been set. */
  refresh(epoch: number): void {
    if (this.#epoch === epoch) return;
    this.#epoch = epoch;
    this.#read();
  }

  // A function of its own: the closure in it would cost something even where it is not made.
  #read(): void {
    const { port } = this;
    this.laneCount = dataLanes(port.info);
    this.bytesPerNs = bytesPerNs(port.info);
    this.#arbiter.program((block) => port.vlArbitrationBlock(block), PortInfo.vlHighLimit.get(port.info, 0), this.laneCount);
    if (port.kind === PortKind.CA) return;
    this.stallCount = PortInfo.vlStallCount.get(port.info, 0);
    this.headLifeNs = lifeNs(PortInfo.hoqLife.get(port.info, 0));
    const { switch: tables } = port.node;
    if (tables !== undefined) this.switchLifeNs = lifeNs(SwitchInfo.lifeTime.get(tables.info, 0));
  }

  head(vl: number): number {
    return this.#heads[vl]!;
  }

  /** Appends a packet, which has just come to this node, to the queue of a lane. */
  append(pool: PacketPool, slot: number, vl: number): void {
    pool.vl[slot] = vl;
    pool.next[slot] = NO_PACKET;
    if (this.#heads[vl] === NO_PACKET) {
      this.#heads[vl] = slot;
      const isBehindOwn = this.sending !== NO_PACKET && pool.vl[this.sending] === vl;
      const nowNs = pool.arrivedNs[slot]!;
      this.headSinceNs[vl] = isBehindOwn ? Math.max(nowNs, this.busyUntilNs) : nowNs;
    } else pool.next[this.#tails[vl]!] = slot;
    this.#tails[vl] = slot;
    this.packets[vl]! += 1;
    this.blocks[vl]! += pool.blocks[slot]!;
    this.queued++;
  }

  /** Takes the first packet of a lane out of its queue; since when the next one waits is for the caller to say in `headSinceNs`. */
  shift(pool: PacketPool, vl: number): number {
    const slot = this.#heads[vl]!;
    const next = pool.next[slot]!;
    this.#heads[vl] = next;
    if (next === NO_PACKET) this.#tails[vl] = NO_PACKET;
    this.packets[vl]! -= 1;
    this.blocks[vl]! -= pool.blocks[slot]!;
    this.queued--;
    return slot;
  }

  /** Finds `deadlineNs`. */
  findDeadline(pool: PacketPool): void {
    let deadlineNs = Number.POSITIVE_INFINITY;
    for (let vl = 0; vl < this.laneCount; vl++) {
      const slot = this.#heads[vl]!;
      if (slot === NO_PACKET) continue;
      deadlineNs = Math.min(deadlineNs, this.headSinceNs[vl]! + this.headLifeNs, pool.arrivedNs[slot]! + this.switchLifeNs);
    }
    this.deadlineNs = deadlineNs;
  }

  /** Whether there is a packet at the head of a lane that has been there, or in its switch, too long. */
  hasTooOld(pool: PacketPool, vl: number, nowNs: number): boolean {
    const slot = this.#heads[vl]!;
    return slot !== NO_PACKET && (this.isHeadTooOld(vl, nowNs) || pool.arrivedNs[slot]! + this.switchLifeNs <= nowNs);
  }

  /** Whether the packet at the head of a lane has been there too long, rather than in its switch. */
  isHeadTooOld(vl: number, nowNs: number): boolean {
    return this.headSinceNs[vl]! + this.headLifeNs <= nowNs;
  }

  /** The lane that sends next, or -1 while none has both a packet and the credits for it. */
  choose(pool: PacketPool): number {
    let any = 0;
    for (let vl = 0; vl < LANE_COUNT; vl++) {
      const slot = this.#heads[vl]!;
      const mayGo = slot !== NO_PACKET && pool.blocks[slot]! <= this.credits[vl]! ? 1 : 0;
      this.#eligible[vl] = mayGo;
      any |= mayGo;
    }
    return any === 0 ? -1 : this.#arbiter.choose(this.#eligible);
  }

  /** The lane that `choose` has named sends `bytes`. */
  charge(bytes: number): void {
    this.#arbiter.charge(bytes);
  }

  /** A receiver that has not taken a packet yet. */
  hold(pool: PacketPool, slot: number): void {
    pool.next[slot] = NO_PACKET;
    if (this.firstHeld === NO_PACKET) this.firstHeld = slot;
    else pool.next[this.lastHeld] = slot;
    this.lastHeld = slot;
  }

  /** The first of them, or NO_PACKET. */
  takeHeld(pool: PacketPool): number {
    const slot = this.firstHeld;
    if (slot !== NO_PACKET) this.firstHeld = pool.next[slot]!;
    return slot;
  }
}

/** The lane of a service level in an SLtoVL table of 16 nibbles. */
export const laneOfLevel = (table: Uint8Array, sl: number): number => {
  const both = table[sl >> 1]!;
  return (sl & 1) === 0 ? both >> 4 : both & 0xf;
};
