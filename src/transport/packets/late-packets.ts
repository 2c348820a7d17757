// Packets of data in cables that take a while: copies, and who gets them when. When there is no room the sender is held back, as it
// would be without credits (IBA vol 1, 7.9).

import { type Memory, newMemory } from "../../base/bytes.ts";
import { LateQueue } from "../../base/late-queue.ts";

const SLOTS = 4096;
/** The largest payload with all headers. */
const SLOT_BYTES = 4096 + 128;

export class LatePackets {
  readonly memory: Memory = newMemory(SLOTS * SLOT_BYTES);
  readonly #queue = new LateQueue<number>();
  readonly #lengths = new Int32Array(SLOTS);
  readonly #targets = new Int32Array(SLOTS);
  /** Changes when there is room that was not there. */
  roomEpoch = 0;
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, i) => i);

  get length(): number {
    return this.#queue.length;
  }

  get isFull(): boolean {
    return this.#free.length === 0;
  }

  get dueNs(): number {
    return this.#queue.dueNs;
  }

  /** Keeps a copy for end port `target`; false if there is no room. */
  keep(from: Memory, at: number, length: number, target: number, dueNs: number): boolean {
    const slot = length > SLOT_BYTES ? undefined : this.#free.pop();
    if (slot === undefined) return false;
    from.bytes.copy(this.memory.bytes, slot * SLOT_BYTES, at, at + length);
    this.#lengths[slot] = length;
    this.#targets[slot] = target;
    this.#queue.push(dueNs, slot);
    return true;
  }

  /** The next one that is due, until `release`; -1 if there is none. */
  take(nowNs: number): number {
    return this.#queue.dueNs <= nowNs ? (this.#queue.shift() ?? -1) : -1;
  }

  release(slot: number): void {
    this.#free.push(slot);
    this.roomEpoch++;
  }

  /** Where the packet begins in `memory`. */
  at(slot: number): number {
    return slot * SLOT_BYTES;
  }

  lengthOf(slot: number): number {
    return this.#lengths[slot]!;
  }

  targetOf(slot: number): number {
    return this.#targets[slot]!;
  }
}
