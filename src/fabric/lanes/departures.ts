// Packets leave ports: into the queue of their lane, and out of it when it is their turn, the link is free, and the receiver has room. IBA vol 1, 7.6.6
// (SL to VL), 7.6.9 (arbitration), 7.9 (credits), 18.2.5.4 (lifetimes).

import { PortKind } from "../../mad/attributes.ts";
import { ICRC_BYTES, VCRC_BYTES } from "../../spec/ib/headers.ts";
import { PortCounter } from "../../spec/ib/port-counters.ts";
import type { Port } from "../port.ts";
import { count, countInactiveDiscard } from "../port-counts.ts";
import { LANE_COUNT } from "./arbiter.ts";
import { LaneEvent, type LaneState } from "./lane-state.ts";
import { NO_PACKET } from "./packet-pool.ts";
import { laneOfLevel, type PortLanes } from "./port-lanes.ts";

/** Bytes of a tick of PortXmitWait: the time that the link takes for a word, what PortXmitData counts. */
const TICK_BYTES = 4;
/** A stalled lane stays so for as many times HOQLife (18.2.5.4). */
const STALL_LIVES = 8;

export class Departures {
  readonly #state: LaneState;
  readonly #onHostSent: (lanes: PortLanes, vl: number) => void;

  /** @param onHostSent a packet of that lane begins to leave a host */
  constructor(state: LaneState, onHostSent: (lanes: PortLanes, vl: number) => void) {
    this.#state = state;
    this.#onHostSent = onHostSent;
  }

  /** A packet that came by port `input` of its node, 0 at a host, is to leave by `egress`. */
  enqueue(egress: Port, input: number, slot: number): void {
    const { pool, timeNs, fabric, counts } = this.#state;
    pool.arrivedNs[slot] = timeNs;
    if (!egress.isActive || egress.link === undefined) {
      countInactiveDiscard(egress);
      this.#state.drop(slot);
      return;
    }
    const lanes = this.#state.lanesOf(egress);
    lanes.refresh(fabric.epoch);
    const vl = laneOfLevel(egress.slToVlFrom(input), this.#state.levelOf(slot));
    if (vl >= lanes.laneCount) {
      // VL 15 is for management, and the link has no others.
      counts.withoutLane++;
      this.#discard(lanes, slot, vl);
      return;
    }
    if (timeNs < lanes.stalledUntilNs[vl]!) {
      counts.stalled++;
      this.#discard(lanes, slot, vl);
      return;
    }
    lanes.append(pool, slot, vl);
    this.#state.getReady(lanes);
  }

  /** Sends the next packet of a port, if its link is free and one may go. */
  send(lanes: PortLanes): void {
    if (lanes.sending !== NO_PACKET || lanes.queued === 0 || lanes.port.isFrozen) return;
    lanes.refresh(this.#state.fabric.epoch);
    this.#discardOld(lanes);
    const vl = lanes.bytesPerNs > 0 ? lanes.choose(this.#state.pool) : -1;
    if (vl < 0) {
      if (lanes.queued > 0) this.#block(lanes);
      return;
    }
    this.countWait(lanes);
    lanes.blockedSinceNs = -1;
    this.#start(lanes, vl);
  }

  #start(lanes: PortLanes, vl: number): void {
    const { pool, timeNs } = this.#state;
    const slot = lanes.head(vl);
    const bytes = pool.length[slot]! + ICRC_BYTES + VCRC_BYTES;
    const endNs = timeNs + bytes / lanes.bytesPerNs;
    const waitedNs = timeNs - lanes.headSinceNs[vl]!;
    if (waitedNs > 0) lanes.port.vlXmitWait[vl]! += Math.round((waitedNs * lanes.bytesPerNs) / TICK_BYTES);
    lanes.shift(pool, vl);
    lanes.headSinceNs[vl] = endNs;
    lanes.charge(bytes);
    lanes.sent[vl]! += 1;
    lanes.tooOldInRow[vl] = 0;
    lanes.credits[vl]! -= pool.blocks[slot]!;
    lanes.sending = slot;
    lanes.busyUntilNs = endNs;
    pool.generation[slot] = lanes.generation;
    this.#state.events.addedDueNs = endNs;
    this.#state.plan(LaneEvent.SENT, lanes.index);
    if (lanes.port.kind === PortKind.CA) this.#onHostSent(lanes, vl);
    else this.#state.countPacket(lanes.port, "xmit", slot);
  }

  /** There is something to send, and nothing may go: looked at again when credits come, or when a packet is too old. */
  #block(lanes: PortLanes): void {
    if (lanes.blockedSinceNs < 0) lanes.blockedSinceNs = this.#state.timeNs;
    const { deadlineNs } = lanes;
    if (deadlineNs >= lanes.timerNs || deadlineNs === Number.POSITIVE_INFINITY) return;
    lanes.timerNs = deadlineNs;
    this.#state.events.addedDueNs = deadlineNs;
    this.#state.plan(LaneEvent.TIMER, lanes.index);
  }

  /** A packet may have become too old. */
  timerEnds(lanes: PortLanes): void {
    if (this.#state.timeNs >= lanes.timerNs) lanes.timerNs = Number.POSITIVE_INFINITY;
    this.send(lanes);
  }

  /** Counts what a port has waited for credits until now. */
  countWait(lanes: PortLanes): void {
    if (lanes.blockedSinceNs < 0) return;
    const { timeNs } = this.#state;
    const ticks = Math.round(((timeNs - lanes.blockedSinceNs) * lanes.bytesPerNs) / TICK_BYTES);
    count(lanes.port, PortCounter.xmitWait, ticks);
    lanes.blockedSinceNs = timeNs;
  }

  /** The link at a port has gone down or come up: what waits there is lost, and the other end's buffers are empty. */
  relink(lanes: PortLanes): void {
    const { pool, bufferBlocks } = this.#state;
    lanes.tooOldInRow.fill(0);
    lanes.stalledUntilNs.fill(0);
    lanes.generation++;
    for (let vl = 0; vl < LANE_COUNT; vl++)
      while (lanes.head(vl) !== NO_PACKET) this.discardInactive(lanes, lanes.shift(pool, vl));
    lanes.credits.fill(bufferBlocks);
    lanes.blockedSinceNs = -1;
  }

  discardInactive(lanes: PortLanes, slot: number): void {
    lanes.discarded[this.#state.pool.vl[slot]!]! += 1;
    countInactiveDiscard(lanes.port);
    this.#state.drop(slot);
  }

  /** Discards what is too old at the heads of the lanes, and finds when the next one will be. */
  #discardOld(lanes: PortLanes): void {
    const { pool, timeNs } = this.#state;
    lanes.findDeadline(pool);
    if (lanes.deadlineNs > timeNs) return;
    for (let vl = 0; vl < lanes.laneCount; vl++) while (lanes.hasTooOld(pool, vl, timeNs)) this.#discardHead(lanes, vl);
    lanes.findDeadline(pool);
  }

  #discardHead(lanes: PortLanes, vl: number): void {
    const { pool, timeNs, counts } = this.#state;
    counts.tooOld++;
    const isStalling = lanes.isHeadTooOld(vl, timeNs) && this.#isLastStraw(lanes, vl);
    this.#discard(lanes, lanes.shift(pool, vl), vl);
    lanes.headSinceNs[vl] = timeNs;
    if (isStalling) this.#stall(lanes, vl);
  }

  /** One more packet in a row was first in its queue for too long: as many as stall the lane? */
  #isLastStraw(lanes: PortLanes, vl: number): boolean {
    if (lanes.stallCount === 0) return false;
    lanes.tooOldInRow[vl]! += 1;
    return lanes.tooOldInRow[vl]! >= lanes.stallCount;
  }

  /** The receiver of a lane seems to be gone: what is for it is discarded at once for a while, so that it keeps no buffers from others (18.2.5.4). */
  #stall(lanes: PortLanes, vl: number): void {
    const { pool, timeNs, counts } = this.#state;
    lanes.tooOldInRow[vl] = 0;
    lanes.stalledUntilNs[vl] = timeNs + STALL_LIVES * lanes.headLifeNs;
    while (lanes.head(vl) !== NO_PACKET) {
      counts.stalled++;
      this.#discard(lanes, lanes.shift(pool, vl), vl);
    }
  }

  #discard(lanes: PortLanes, slot: number, vl: number): void {
    lanes.discarded[vl]! += 1;
    count(lanes.port, PortCounter.xmitDiscards);
    this.#state.drop(slot);
  }
}
