// The receive ring of a queue pair. Nothing is allocated after construction and nothing is thrown. Docs "infinihost" 5.2.4, 5.3.

import { type Memory, publishWord, swap32 } from "../base/bytes.ts";
import { DATA_SEGMENT_BYTES, INVALID_LKEY, WQE_NEXT_BYTES } from "../spec/hca/queues.ts";

const COUNTER_MASK = 0xffff;
const TWO_32 = 2 ** 32;

export interface ReceiveRingPlace {
  readonly memory: Memory;
  /** Where slot 0 lies in `memory`; it is the first byte of the QP's region. */
  readonly at: number;
  readonly logSize: number;
  readonly logStride: number;
  /** Where the doorbell record lies in `memory`. */
  readonly recordAt: number;
}

export class ReceiveQueue {
  /** WQEs written so far, modulo 2^16. */
  posted = 0;
  /** Slots. */
  readonly size: number;
  readonly #place: ReceiveRingPlace;
  readonly #view: DataView;
  readonly #mask: number;
  #at = 0;
  #end = 0;
  #hasRoom = true;

  constructor(place: ReceiveRingPlace) {
    this.#place = place;
    this.#view = place.memory.view;
    this.size = 1 << place.logSize;
    this.#mask = this.size - 1;
    this.reset();
  }

  /** Back to an empty ring of empty lists. */
  reset(): void {
    this.posted = 0;
    this.#view.setUint32(this.#place.recordAt, 0, false);
    for (let i = 0; i < this.size; i++) {
      this.begin();
      while (this.#at < this.#end) this.#writeEnd();
      this.posted = i + 1;
    }
    this.posted = 0;
  }

  /** Offset in the QP's region of WQE number `counter`: what its completion names. */
  offsetOf(counter: number): number {
    return (counter & this.#mask) << this.#place.logStride;
  }

  /** Slot of the WQE that a completion names. */
  slotOf(offset: number): number {
    return (offset >>> this.#place.logStride) & this.#mask;
  }

  /** Begins the next WQE. */
  begin(): void {
    const start = this.#place.at + this.offsetOf(this.posted);
    this.#at = start + WQE_NEXT_BYTES;
    this.#end = start + (1 << this.#place.logStride);
    this.#hasRoom = true;
  }

  /** Where bytes go. Addresses are exact below 2^53; beyond, `dataHalves`. */
  data(address: number, length: number, lkey: number): void {
    this.dataHalves(Math.floor(address / TWO_32), address, length, lkey);
  }

  /** The same with the address in two halves. */
  dataHalves(hi: number, lo: number, length: number, lkey: number): void {
    const at = this.#at;
    if (at + DATA_SEGMENT_BYTES > this.#end) {
      this.#hasRoom = false;
      return;
    }
    this.#view.setInt32(at, length, false);
    this.#view.setInt32(at + 4, lkey, false);
    this.#view.setInt32(at + 8, hi, false);
    this.#view.setInt32(at + 12, lo, false);
    this.#at = at + DATA_SEGMENT_BYTES;
  }

  /** Ends the WQE. False if its segments did not fit: then nothing was posted. */
  end(): boolean {
    if (!this.#hasRoom) return false;
    if (this.#at < this.#end) this.#writeEnd();
    this.posted = (this.posted + 1) & COUNTER_MASK;
    return true;
  }

  /** Stores the doorbell record: from here on the device may see the WQEs. */
  publish(): void {
    publishWord(this.#place.memory, this.#place.recordAt, swap32(this.posted));
  }

  /** A segment that ends the list (5.2.4). */
  #writeEnd(): void {
    this.dataHalves(0, 0, 0, INVALID_LKEY);
  }
}
