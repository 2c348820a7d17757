// The send ring of a queue pair: WQEs written field by field, linked, published. Nothing is allocated after construction and
// nothing is thrown: mistakes are numbers. Docs "infinihost" 5.1-5.3.

import { type Memory, publishWord, swap32 } from "../base/bytes.ts";
import {
  ATOMIC_SEGMENT_BYTES,
  DATA_SEGMENT_BYTES,
  INLINE_FLAG,
  REMOTE_ADDRESS_BYTES,
  UD_SEGMENT_BYTES,
  WQE_NEXT_BYTES,
  WQE_UNIT_BYTES,
} from "../spec/hca/queues.ts";
import type { Doorbell } from "./doorbell.ts";

/** Bits of the control dword of a WQE (5.2.1). */
export const SendControl = { ALWAYS: 1, SOLICITED: 2, SIGNALED: 8 } as const;
const DOORBELL_DONE = 0x80;
const FENCE = 0x40;
const COUNTER_MASK = 0xffff;
const TWO_32 = 2 ** 32;

export interface SendRingPlace {
  readonly memory: Memory;
  /** Where slot 0 lies in `memory`. */
  readonly at: number;
  /** Offset of slot 0 in the QP's region, which is what links and completions name. */
  readonly base: number;
  readonly logSize: number;
  readonly logStride: number;
  /** Where the doorbell record lies in `memory`. */
  readonly recordAt: number;
  readonly doorbell: Doorbell;
  readonly qpn: number;
}

export class SendQueue {
  /** WQEs written so far, modulo 2^16. */
  posted = 0;
  /** Slots. */
  readonly size: number;
  readonly #place: SendRingPlace;
  readonly #view: DataView;
  readonly #mask: number;
  #start = 0;
  #at = 0;
  #end = 0;
  #opcode = 0;
  #fence = 0;
  #hasRoom = true;

  constructor(place: SendRingPlace) {
    this.#place = place;
    this.#view = place.memory.view;
    this.size = 1 << place.logSize;
    this.#mask = this.size - 1;
    this.reset();
  }

  /** Back to an empty ring whose slots link to their successors (5.2.2). */
  reset(): void {
    this.posted = 0;
    this.#view.setUint32(this.#place.recordAt, 0, false);
    for (let i = 0; i < this.size; i++) {
      this.#view.setInt32(this.slotAt(i), this.offsetOf(i + 1), false);
      this.#view.setInt32(this.slotAt(i) + 4, 0, false);
    }
  }

  /** Offset in the QP's region of WQE number `counter`: what its completion names. */
  offsetOf(counter: number): number {
    return this.#place.base + ((counter & this.#mask) << this.#place.logStride);
  }

  /** Place in memory of WQE number `counter`. */
  slotAt(counter: number): number {
    return this.#place.at + ((counter & this.#mask) << this.#place.logStride);
  }

  /** Slot of the WQE that a completion names. */
  slotOf(offset: number): number {
    return ((offset - this.#place.base) >>> this.#place.logStride) & this.#mask;
  }

  /**
   * Begins the next WQE.
   * @param control bits of `SendControl`
   * @param immediate 32 bits, in the byte order in which the receiver will see them
   */
  begin(opcode: number, control: number, immediate: number, isFenced = false): void {
    this.#start = this.slotAt(this.posted);
    this.#end = this.#start + (1 << this.#place.logStride);
    this.#at = this.#start + WQE_NEXT_BYTES;
    this.#opcode = opcode;
    this.#fence = isFenced ? FENCE : 0;
    this.#hasRoom = true;
    this.#view.setInt32(this.#start + 8, control, false);
    this.#view.setInt32(this.#start + 12, immediate, false);
  }

  /** Remote address segment. Addresses are exact below 2^53; beyond, `remoteHalves`. */
  remote(address: number, rkey: number): void {
    this.remoteHalves(Math.floor(address / TWO_32), address, rkey);
  }

  /** The same with the address in two halves. */
  remoteHalves(hi: number, lo: number, rkey: number): void {
    const at = this.#take(REMOTE_ADDRESS_BYTES);
    if (at < 0) return;
    this.#view.setInt32(at, hi, false);
    this.#view.setInt32(at + 4, lo, false);
    this.#view.setInt32(at + 8, rkey, false);
    this.#view.setInt32(at + 12, 0, false);
  }

  /** Atomic segment: swap or addend, then compare. */
  atomic(swapAddHi: number, swapAddLo: number, compareHi: number, compareLo: number): void {
    const at = this.#take(ATOMIC_SEGMENT_BYTES);
    if (at < 0) return;
    this.#view.setInt32(at, swapAddHi, false);
    this.#view.setInt32(at + 4, swapAddLo, false);
    this.#view.setInt32(at + 8, compareHi, false);
    this.#view.setInt32(at + 12, compareLo, false);
  }

  /** UD segment: an address vector of 32 bytes as the driver prepared it, QPN, Q_Key (5.2.4). */
  datagram(vector: Memory, qpn: number, qkey: number): void {
    const at = this.#take(UD_SEGMENT_BYTES);
    if (at < 0) return;
    for (let i = 0; i < 32; i += 4) this.#view.setInt32(at + i, vector.view.getInt32(i, true), true);
    this.#view.setInt32(at + 32, qpn, false);
    this.#view.setInt32(at + 36, qkey, false);
    this.#view.setInt32(at + 40, 0, false);
    this.#view.setInt32(at + 44, 0, false);
  }

  /** Data segment. */
  data(address: number, length: number, lkey: number): void {
    this.dataHalves(Math.floor(address / TWO_32), address, length, lkey);
  }

  /** The same with the address in two halves. */
  dataHalves(hi: number, lo: number, length: number, lkey: number): void {
    const at = this.#take(DATA_SEGMENT_BYTES);
    if (at < 0) return;
    this.#view.setInt32(at, length, false);
    this.#view.setInt32(at + 4, lkey, false);
    this.#view.setInt32(at + 8, hi, false);
    this.#view.setInt32(at + 12, lo, false);
  }

  /** Copies bytes into the WQE itself; their source may change at once. */
  inline(bytes: Uint8Array): void {
    const { length } = bytes;
    const at = this.#take(Math.ceil((4 + length) / WQE_UNIT_BYTES) * WQE_UNIT_BYTES);
    if (at < 0) return;
    this.#view.setInt32(at, INLINE_FLAG | length, false);
    for (let i = 0; i < length; i++) this.#view.setUint8(at + 4 + i, bytes[i]!);
  }

  /** Room of the WQE not yet used, in bytes. */
  get room(): number {
    return this.#end - this.#at;
  }

  /** Ends the WQE and links it behind the one before. False if its segments did not fit: then nothing was posted. */
  end(): boolean {
    if (!this.#hasRoom) return false;
    const previous = this.slotAt(this.posted - 1);
    this.#view.setInt32(previous, this.offsetOf(this.posted) | this.#opcode, false);
    this.#view.setInt32(previous + 4, DOORBELL_DONE | this.#fence | ((this.#at - this.#start) / WQE_UNIT_BYTES), false);
    this.posted = (this.posted + 1) & COUNTER_MASK;
    return true;
  }

  /** Stores the doorbell record: from here on the device may see the WQEs. */
  publish(): void {
    publishWord(this.#place.memory, this.#place.recordAt, swap32(this.posted));
  }

  /** Tells the device where to look (5.1). */
  ring(): void {
    const { doorbell, qpn } = this.#place;
    doorbell.ring((1 << 24) | (((this.posted - 1) & COUNTER_MASK) << 8) | this.#opcode, qpn << 8);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#end) {
      this.#hasRoom = false;
      return -1;
    }
    this.#at = at + bytes;
    return at;
  }
}
