// The data segments of one WQE, read once from the ring, checked, and then walked piece by piece. IBA vol 1, 10.6;
// docs "infinihost" 5.2.3, 5.2.4.

import { copyBytes, type Memory } from "../base/bytes.ts";
import { DATA_SEGMENT_BYTES, INLINE_LENGTH_MASK, INVALID_LKEY, Syndrome } from "../spec/hca/queues.ts";
import { Cursor, type RegionTable } from "./memory.ts";
import { MESSAGE_BYTES_MAX } from "./queue-pair-attributes.ts";

const WORDS_PER_SGE = 4;
/** A WQE holds at most 63 units of 16 bytes, one of them the control segment. */
export const SGES_MAX = 62;

const NO_SGES = new Int32Array(0);

/** A gather or scatter list. Filled by `decode…` or `setRemote`, walked by `moveBytes`. */
export class ScatterList {
  /** Bytes in all entries. */
  total = 0;
  count = 0;
  /** [lkey, addressHi, addressLo, length] for each entry. */
  #sges: Int32Array = NO_SGES;
  readonly #capacity: number;
  /** Inline data lie in the WQE itself. */
  #inlineMemory: Memory | undefined;
  #inlineAt = 0;
  #index = 0;
  #offsetInSge = 0;

  constructor(capacity: number) {
    this.#capacity = Math.min(capacity, SGES_MAX);
  }

  clear(): void {
    this.total = 0;
    this.count = 0;
    this.#inlineMemory = undefined;
    this.rewind();
  }

  rewind(): void {
    this.#index = 0;
    this.#offsetInSge = 0;
  }

  /**
   * Adds an entry; false if the list is full or the total too long.
   * @param length bytes, 0 allowed
   */
  add(lkey: number, hi: number, lo: number, length: number): boolean {
    if (length === 0) return true;
    if (this.count >= this.#capacity || this.total + length > MESSAGE_BYTES_MAX) return false;
    // Made when first used: most queue pairs of a guest that has thousands are idle.
    if (this.#sges === NO_SGES) this.#sges = new Int32Array(this.#capacity * WORDS_PER_SGE);
    const sges = this.#sges;
    const at = this.count * WORDS_PER_SGE;
    sges[at] = lkey;
    sges[at + 1] = hi;
    sges[at + 2] = lo;
    sges[at + 3] = length;
    this.count++;
    this.total += length;
    return true;
  }

  /** The list is the single remote range of an RDMA operation. */
  setRemote(rkey: number, hi: number, lo: number, length: number): void {
    this.clear();
    this.add(rkey, hi, lo, length);
  }

  /**
   * Reads the data segments of a send WQE from `at` to `end` of `memory` (inside the WQE, checked by the caller).
   * @returns 0 or a syndrome
   */
  decodeSend(memory: Memory, at: number, end: number): number {
    this.clear();
    const view = memory.view;
    for (let p = at; p + 4 <= end; p += DATA_SEGMENT_BYTES) {
      const head = view.getInt32(p, false);
      if (head < 0) return this.#decodeInline(memory, p, end, head & INLINE_LENGTH_MASK);
      if (p + DATA_SEGMENT_BYTES > end) return Syndrome.LOCAL_QP_OPERATION;
      if (!this.add(view.getInt32(p + 4, false), view.getInt32(p + 8, false), view.getInt32(p + 12, false), head)) {
        return Syndrome.LOCAL_LENGTH;
      }
    }
    return 0;
  }

  /** One inline segment carries everything; behind pointers it is the placeholder for an ICRC (6.1) and ends the list. */
  #decodeInline(memory: Memory, at: number, end: number, length: number): number {
    if (this.count !== 0) return 0;
    if (at + 4 + length > end) return Syndrome.LOCAL_QP_OPERATION;
    this.#inlineMemory = memory;
    this.#inlineAt = at + 4;
    this.total = length;
    return 0;
  }

  /** Reads the data segments of a receive WQE: up to `end` or the end marker (P-32: not the size in the WQE). */
  decodeReceive(memory: Memory, at: number, end: number): number {
    this.clear();
    const view = memory.view;
    for (let p = at; p + DATA_SEGMENT_BYTES <= end; p += DATA_SEGMENT_BYTES) {
      const length = view.getInt32(p, false) & 0x7fffffff;
      const lkey = view.getInt32(p + 4, false);
      if (length === 0 && lkey === INVALID_LKEY) break;
      if (!this.add(lkey, view.getInt32(p + 8, false), view.getInt32(p + 12, false), length)) return Syndrome.LOCAL_LENGTH;
    }
    return 0;
  }

  /** True if every entry lies in a region of `table` that grants `access` to `pd`. */
  isAllowed(table: RegionTable, pd: number, access: number): boolean {
    const sges = this.#sges;
    for (let i = 0; i < this.count; i++) {
      const at = i * WORDS_PER_SGE;
      if (!table.isAllowed(sges[at]!, pd, access, sges[at + 1]!, sges[at + 2]!, sges[at + 3]!)) return false;
    }
    return true;
  }

  /** True if all bytes are in the WQE itself. */
  get isInline(): boolean {
    return this.#inlineMemory !== undefined;
  }

  /**
   * Points `cursor` at the next byte to move, of which `wanted` can be used; `cursor.run` is bounded by the entry. False if key, bounds,
   * access or memory is bad: keys are looked up anew for each piece, since the driver may have taken the region back between two slices.
   */
  locate(table: RegionTable, pd: number, access: number, wanted: number, cursor: Cursor): boolean {
    if (this.#inlineMemory !== undefined) {
      cursor.memory = this.#inlineMemory;
      cursor.at = this.#inlineAt + this.#offsetInSge;
      cursor.run = this.total - this.#offsetInSge;
      cursor.isWritable = false;
      return true;
    }
    const sges = this.#sges;
    const at = this.#index * WORDS_PER_SGE;
    if (this.#index >= this.count) return false;
    const done = this.#offsetInSge;
    return table.locate(sges[at]!, pd, access, sges[at + 1]!, sges[at + 2]!, sges[at + 3]!, done, wanted, cursor);
  }

  /** Moves on by `length` bytes, over as many entries as it takes. */
  skip(length: number): void {
    if (this.#inlineMemory !== undefined) this.#offsetInSge += length;
    let left = length;
    while (left > 0 && this.#index < this.count) {
      const inSge = this.#sges[this.#index * WORDS_PER_SGE + 3]! - this.#offsetInSge;
      const piece = Math.min(inSge, left);
      this.advance(piece);
      left -= piece;
    }
  }

  /** Moves on by `length` bytes, at most to the end of the current entry. */
  advance(length: number): void {
    this.#offsetInSge += length;
    if (this.#inlineMemory === undefined && this.#offsetInSge >= this.#sges[this.#index * WORDS_PER_SGE + 3]!) {
      this.#index++;
      this.#offsetInSge = 0;
    }
  }
}

/** Whose memory a list walks: the table that holds its keys, the protection domain and the access it needs. */
export class MemoryParty {
  table: RegionTable;
  pd = 0;
  access = 0;
  readonly cursor: Cursor;

  readonly #none: RegionTable;

  constructor(none: RegionTable, noMemory: Memory) {
    this.#none = none;
    this.table = none;
    this.cursor = new Cursor(noMemory);
  }

  /** As new. */
  forget(): void {
    this.set(this.#none, 0, 0);
    this.cursor.forget();
  }

  set(table: RegionTable, pd: number, access: number): void {
    this.table = table;
    this.pd = pd;
    this.access = access;
  }
}

/** Results of `moveBytes`. */
export const Moved = { OK: 0, SOURCE_FAULT: 1, TARGET_FAULT: 2 } as const;

/** Copies the next `length` bytes of `source` to `target`; both lists advance. Allocates nothing. */
export function moveBytes(source: ScatterList, from: MemoryParty, target: ScatterList, to: MemoryParty, length: number): number {
  let left = length;
  while (left > 0) {
    if (!source.locate(from.table, from.pd, from.access, left, from.cursor)) return Moved.SOURCE_FAULT;
    if (!target.locate(to.table, to.pd, to.access, from.cursor.run, to.cursor) || !to.cursor.isWritable)
      return Moved.TARGET_FAULT;
    let piece = Math.min(from.cursor.run, to.cursor.run);
    if (piece > left) piece = left;
    copyBytes(from.cursor.memory, from.cursor.at, to.cursor.memory, to.cursor.at, piece);
    source.advance(piece);
    target.advance(piece);
    left -= piece;
  }
  return Moved.OK;
}

/** Copies the next `length` bytes of a list to `memory` at `at`. False on a fault. */
export function gatherBytes(source: ScatterList, from: MemoryParty, memory: Memory, at: number, length: number): boolean {
  let done = 0;
  while (done < length) {
    if (!source.locate(from.table, from.pd, from.access, length - done, from.cursor)) return false;
    const piece = Math.min(from.cursor.run, length - done);
    copyBytes(from.cursor.memory, from.cursor.at, memory, at + done, piece);
    source.advance(piece);
    done += piece;
  }
  return true;
}

/** Copies `length` bytes from `memory` at `at` to the next bytes of a list. False on a fault. */
export function scatterBytes(memory: Memory, at: number, target: ScatterList, to: MemoryParty, length: number): boolean {
  let done = 0;
  while (done < length) {
    if (!target.locate(to.table, to.pd, to.access, length - done, to.cursor) || !to.cursor.isWritable) return false;
    const piece = Math.min(to.cursor.run, length - done);
    copyBytes(memory, at + done, to.cursor.memory, to.cursor.at, piece);
    target.advance(piece);
    done += piece;
  }
  return true;
}
