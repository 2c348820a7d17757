// The HCA's multicast table: half hash buckets, half overflow entries; the driver writes it entry by entry.
// Docs "infinihost" 7.1, 4.6.

import { newMemory } from "../base/bytes.ts";
import { MGM_BYTES, MGM_QP_VALID, MGM_QPN_MASK, MGM_QPS_AT, MGM_QPS_MAX, Mgm } from "../spec/hca/contexts.ts";

const MGID_AT = Mgm.mgid.offset;
/** With 4096 buckets for 8192 groups, chains are short; this bounds a hostile one. */
const CHAIN_MAX = 256;

export class MulticastTable {
  #entries = 0;
  #hashEntries = 0;
  /** Entries are made when first written; an unwritten one reads as zeros. */
  readonly #written = new Map<number, DataView>();

  reset(entries: number, hashEntries: number): void {
    this.#entries = entries;
    this.#hashEntries = hashEntries;
    this.#written.clear();
  }

  get isEmpty(): boolean {
    return this.#written.size === 0;
  }

  /** The entries that have been written, by index. */
  get written(): ReadonlyMap<number, DataView> {
    return this.#written;
  }

  /** True if `index` names an entry. */
  has(index: number): boolean {
    return index < this.#entries;
  }

  /** Copies an entry out. */
  read(index: number, target: DataView, at: number): void {
    const entry = this.#written.get(index);
    for (let i = 0; i < MGM_BYTES; i += 4) target.setInt32(at + i, entry === undefined ? 0 : entry.getInt32(i));
  }

  /** Copies an entry in. */
  write(index: number, source: DataView, at: number): void {
    let entry = this.#written.get(index);
    if (entry === undefined) {
      entry = newMemory(MGM_BYTES).view;
      this.#written.set(index, entry);
    }
    for (let i = 0; i < MGM_BYTES; i += 4) entry.setInt32(i, source.getInt32(at + i));
  }

  /** The bucket of an MGID (MGID_HASH): any stable function below the number of buckets will do. */
  hash(view: DataView, at: number): number {
    let sum = 0;
    for (let i = 0; i < 16; i += 4) sum = (Math.imul(sum, 31) + view.getInt32(at + i)) | 0;
    sum ^= sum >>> 16;
    return this.#hashEntries === 0 ? 0 : (sum & 0x7fffffff) % this.#hashEntries;
  }

  /**
   * Writes the QPNs attached to an MGID to `out` and returns how many. The chain is the driver's and may loop: it is followed
   * for `CHAIN_MAX` entries at most; -1 if it has not ended by then.
   */
  members(view: DataView, at: number, out: Int32Array): number {
    let index = this.hash(view, at);
    for (let steps = 0; steps < CHAIN_MAX; steps++) {
      const entry = this.#written.get(index);
      if (entry === undefined) return 0;
      if (isSameGid(entry, MGID_AT, view, at)) return qpsOf(entry, out);
      index = Mgm.next.get(entry, 0);
      if (index === 0) return 0;
    }
    return -1;
  }
}

function isSameGid(a: DataView, aAt: number, b: DataView, bAt: number): boolean {
  for (let i = 0; i < 16; i += 4) if (a.getInt32(aAt + i) !== b.getInt32(bAt + i)) return false;
  return true;
}

function qpsOf(entry: DataView, out: Int32Array): number {
  let count = 0;
  for (let i = 0; i < MGM_QPS_MAX && count < out.length; i++) {
    const word = entry.getUint32(MGM_QPS_AT + 4 * i);
    if (word < MGM_QP_VALID) break;
    out[count++] = word & MGM_QPN_MASK;
  }
  return count;
}
