// Static rates: packets of a host's port to one destination are spaced, so that they come no faster than the slowest link of their way takes them.
// IBA vol 1, 9.11.
//
// A packet with an inter-packet delay of n goes into the queue of its lane, and the next one of that port to the same DLID not before the port's link
// could have carried n + 1 of it. Meanwhile others pass. Packets without a delay neither wait nor make others wait. Those that wait here have no part in
// the race for room in that queue, which who sends all he can would always win.

import { ICRC_BYTES, VCRC_BYTES } from "../../spec/ib/headers.ts";
import type { CaPort } from "../ca-port.ts";
import { LaneEvent, type LaneState } from "./lane-state.ts";
import { BLOCK_BYTES, HOST_QUEUE_BYTES, SPACED_DESTINATIONS, SPACED_PACKETS } from "./limits.ts";
import { NO_PACKET } from "./packet-pool.ts";
import { laneOfLevel } from "./port-lanes.ts";

const QUEUE_BLOCKS = HOST_QUEUE_BYTES / BLOCK_BYTES;

/** Packets of one port to one destination. While it is in use, exactly one event of it is to come: then the next packet may go. */
class Spacing {
  readonly index: number;
  key = 0;
  port: CaPort | undefined = undefined;
  first = NO_PACKET;
  last = NO_PACKET;
  waiting = 0;
  /** Somebody has found no room. */
  isFull = false;

  constructor(index: number) {
    this.index = index;
  }
}

const DLID_VALUES = 1 << 16;
const keyOf = (port: CaPort, dlid: number): number => port.index * DLID_VALUES + dlid;

export class StaticRates {
  readonly #state: LaneState;
  readonly #inject: (port: CaPort, slot: number) => void;
  readonly #onRoom: () => void;
  /** Those in use, by port and DLID; all that were ever needed, by index; and those that are free. */
  readonly #byKey = new Map<number, Spacing>();
  readonly #all: Spacing[] = [];
  readonly #free: Spacing[] = [];
  /** Somebody has found none free. */
  #isStarved = false;

  /**
   * @param inject a packet goes into the queue of its lane
   * @param onRoom senders that have found no room may find some
   */
  constructor(state: LaneState, inject: (port: CaPort, slot: number) => void, onRoom: () => void) {
    this.#state = state;
    this.#inject = inject;
    this.#onRoom = onRoom;
  }

  /** Whether one more packet of `port` to `dlid` may wait here; if not, `onRoom` is called when that may have changed. */
  hasRoom(port: CaPort, dlid: number): boolean {
    const spacing = this.#byKey.get(keyOf(port, dlid));
    if (spacing === undefined) {
      this.#isStarved ||= this.#byKey.size >= SPACED_DESTINATIONS;
      return this.#byKey.size < SPACED_DESTINATIONS;
    }
    if (spacing.waiting < SPACED_PACKETS) return true;
    spacing.isFull = true;
    return false;
  }

  /** Sends a packet with an inter-packet delay, of a port that has room for it. */
  send(port: CaPort, dlid: number, delay: number, slot: number): void {
    const { pool } = this.#state;
    pool.delay[slot] = delay;
    pool.next[slot] = NO_PACKET;
    const key = keyOf(port, dlid);
    const known = this.#byKey.get(key);
    const spacing = known ?? this.#open(key, port);
    if (spacing.waiting === 0) spacing.first = slot;
    else pool.next[spacing.last] = slot;
    spacing.last = slot;
    spacing.waiting++;
    if (known === undefined) this.spaceEnds(spacing.index);
  }

  /** The time of a packet has passed: the next one may go. */
  spaceEnds(index: number): void {
    const spacing = this.#all[index]!;
    const { port } = spacing;
    if (port === undefined) throw new Error("invariant: a spacing in use is of a port");
    if (spacing.waiting === 0) {
      this.#close(spacing);
      return;
    }
    const { pool, timeNs, fabric } = this.#state;
    const slot = spacing.first;
    const lanes = this.#state.lanesOf(port);
    lanes.refresh(fabric.epoch);
    const bytes = pool.length[slot]! + ICRC_BYTES + VCRC_BYTES;
    const ownNs = lanes.bytesPerNs > 0 ? bytes / lanes.bytesPerNs : 0;
    const vl = laneOfLevel(port.slToVlFrom(0), this.#state.levelOf(slot));
    if (ownNs > 0 && lanes.blocks[vl]! > QUEUE_BLOCKS) {
      // More is spaced than the link carries.
      this.#state.events.addedDueNs = timeNs + ownNs;
      this.#state.plan(LaneEvent.SPACE, index);
      return;
    }
    spacing.first = pool.next[slot]!;
    spacing.waiting--;
    this.#state.events.addedDueNs = timeNs + (pool.delay[slot]! + 1) * ownNs;
    this.#state.plan(LaneEvent.SPACE, index);
    this.#inject(port, slot);
    if (!spacing.isFull) return;
    spacing.isFull = false;
    this.#onRoom();
  }

  #open(key: number, port: CaPort): Spacing {
    let spacing = this.#free.pop();
    if (spacing === undefined) {
      spacing = new Spacing(this.#all.length);
      this.#all.push(spacing);
    }
    spacing.key = key;
    spacing.port = port;
    this.#byKey.set(key, spacing);
    return spacing;
  }

  #close(spacing: Spacing): void {
    this.#byKey.delete(spacing.key);
    spacing.port = undefined;
    this.#free.push(spacing);
    if (!this.#isStarved) return;
    this.#isStarved = false;
    this.#onRoom();
  }
}
