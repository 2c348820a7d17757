// Memory regions and their translation: key → MPT → MTT → guest memory. Docs "infinihost" 4.5, 3.4; IBA vol 1, 10.6.
//
// A virtual address is two 32-bit halves. Only its distance from the start of the region becomes a Number; whatever is
// inside a region is exact (below 2^53), whatever is rounded lies far outside and is refused.

import { type AddressSpace, PAGE_BYTES, PAGE_SHIFT } from "../base/address-space.ts";
import type { Memory } from "../base/bytes.ts";
import { SparseSlots } from "../base/sparse-slots.ts";
import { ACCESS_MASK, MTT_BYTES, MTT_PRESENT } from "../spec/hca/contexts.ts";
import type { Icm } from "./icm.ts";

const PAGE_MASK = PAGE_BYTES - 1;
/** Pages of a region may be at most 1 GiB: larger ones gain nothing and would leave the int range. */
export const LOG_REGION_PAGE_MAX = 30;

/** One entry of the memory protection table, decoded when the driver handed it over. Never changed afterwards. */
export class MemoryRegion {
  readonly key: number;
  readonly access: number;
  readonly pd: number;
  readonly startHi: number;
  readonly startLo: number;
  /** Bytes; 2^64 for "everything". */
  readonly length: number;
  readonly isPhysical: boolean;
  readonly pageBytes: number;
  /** `start` modulo the page size: the first MTT describes the page that contains `start`. */
  readonly startInPage: number;
  /** ICM address of the first MTT entry, a multiple of 8. */
  readonly mttAddress: number;

  constructor(fields: {
    key: number;
    access: number;
    pd: number;
    startHi: number;
    startLo: number;
    length: number;
    isPhysical: boolean;
    logPageBytes: number;
    mttAddress: number;
  }) {
    this.key = fields.key | 0;
    this.access = fields.access & ACCESS_MASK;
    this.pd = fields.pd;
    this.startHi = fields.startHi >>> 0;
    this.startLo = fields.startLo >>> 0;
    this.length = fields.length;
    this.isPhysical = fields.isPhysical;
    this.pageBytes = 2 ** fields.logPageBytes;
    this.startInPage = this.startLo % this.pageBytes;
    this.mttAddress = fields.mttAddress;
  }
}

/** Where a byte of a region is: set by `translate`, valid until something is mapped or unmapped. */
export class Cursor {
  memory: Memory;
  at = 0;
  /** Contiguous bytes from there. */
  run = 0;
  isWritable = false;

  constructor(none: Memory) {
    this.memory = none;
  }
}

/** The memory protection table of one HCA. */
export class RegionTable {
  readonly dma: AddressSpace;
  readonly icm: Icm;
  readonly #regions = new SparseSlots<MemoryRegion>();
  #mask = 0;
  #removals = 0;
  count = 0;
  /** Bytes in all regions that translate. */
  registeredBytes = 0;

  constructor(dma: AddressSpace, icm: Icm) {
    this.dma = dma;
    this.icm = icm;
  }

  /** Empties the table and gives it 2^logEntries entries. */
  reset(logEntries: number): void {
    this.#regions.reset(2 ** logEntries);
    this.#mask = 2 ** logEntries - 1;
    this.count = 0;
    this.registeredBytes = 0;
    this.#removals++;
  }

  /** Empties the table and leaves it without entries. */
  clear(): void {
    this.#regions.reset(0);
    this.#mask = 0;
    this.count = 0;
    this.registeredBytes = 0;
    this.#removals++;
  }

  /** Changes whenever a kept translation may have become wrong. */
  get generation(): number {
    return this.#removals + this.icm.generation + this.dma.generation;
  }

  /** How many entries the table has. */
  get size(): number {
    return this.#regions.length;
  }

  /** The entry at a table index, whatever its key. */
  at(index: number): MemoryRegion | undefined {
    return this.#regions.get(index);
  }

  /** Fills the entry, which must be free. */
  set(index: number, region: MemoryRegion): void {
    this.#regions.set(index, region);
    this.count++;
    if (!region.isPhysical) this.registeredBytes += region.length;
  }

  remove(index: number): boolean {
    const region = this.#regions.get(index);
    if (region === undefined) return false;
    this.#regions.set(index, undefined);
    this.count--;
    if (!region.isPhysical) this.registeredBytes -= region.length;
    this.#removals++;
    return true;
  }

  /** The region that an lkey or rkey names, or undefined. A key is the MPT key rotated left by 8 (4.5). */
  find(memoryKey: number): MemoryRegion | undefined {
    const key = (memoryKey >>> 8) | (memoryKey << 24);
    const region = this.#regions.get(key & this.#mask);
    return region !== undefined && region.key === key ? region : undefined;
  }

  /** True if [hi:lo, + length) lies inside the region and the region grants all of `access` to protection domain `pd`. */
  allows(region: MemoryRegion, pd: number, access: number, hi: number, lo: number, length: number): boolean {
    if (region.pd !== pd || (region.access & access) !== access) return false;
    const offset = ((hi >>> 0) - region.startHi) * 2 ** 32 + ((lo >>> 0) - region.startLo);
    return offset >= 0 && offset + length <= region.length;
  }

  /**
   * Finds the byte `done` bytes after virtual address hi:lo. The caller has checked that it lies inside the region.
   * @returns false if no memory backs it (MTT missing or not present, DMA address not mapped).
   */
  translate(region: MemoryRegion, hi: number, lo: number, done: number, cursor: Cursor): boolean {
    const dma = this.dma;
    if (region.isPhysical) {
      const low = (lo >>> 0) + done;
      const carry = low >= 2 ** 32 ? 1 : 0;
      if (!dma.locate(hi + carry, low | 0)) return false;
      cursor.run = dma.run;
    } else {
      const offset = ((hi >>> 0) - region.startHi) * 2 ** 32 + ((lo >>> 0) - region.startLo) + done + region.startInPage;
      const page = Math.floor(offset / region.pageBytes);
      const inPage = offset - page * region.pageBytes;
      if (!this.#locateMtt(region.mttAddress + page * MTT_BYTES, inPage)) return false;
      const left = region.pageBytes - inPage;
      cursor.run = Math.min(dma.run, left);
    }
    cursor.memory = dma.memory;
    cursor.at = dma.at;
    cursor.isWritable = dma.writable;
    return true;
  }

  /** Reads the MTT entry at an ICM address and locates offset `inPage` of the page it names. */
  #locateMtt(mttAddress: number, inPage: number): boolean {
    const icmPage = Math.floor(mttAddress / PAGE_BYTES);
    if (!this.icm.locate(icmPage, mttAddress - icmPage * PAGE_BYTES)) return false;
    const dma = this.dma;
    const pageHi = dma.memory.view.getInt32(dma.at, false);
    const pageLo = dma.memory.view.getInt32(dma.at + 4, false);
    if ((pageLo & MTT_PRESENT) === 0 || pageHi >>> 11 !== 0) return false;
    const pfn = (pageHi << (32 - PAGE_SHIFT)) | (pageLo >>> PAGE_SHIFT);
    return dma.locatePage(pfn + (inPage >>> PAGE_SHIFT), inPage & PAGE_MASK);
  }
}

/**
 * A queue's buffer (WQEs, CQEs or EQEs) behind an lkey. Entries never straddle a page (their sizes are powers of two of at
 * most a page and queues start aligned), so one remembered page makes the next entry cheap.
 */
export class QueueBuffer {
  memory: Memory;
  at = 0;
  readonly #table: RegionTable;
  readonly #cursor: Cursor;
  readonly #lkey: number;
  readonly #pd: number;
  readonly #access: number;
  readonly #baseHi: number;
  readonly #baseLo: number;
  #page = -1;
  #pageAt = 0;
  #pageMemory: Memory;
  #generation = -1;

  /** Entry 0 is at virtual address baseHi:baseLo of the region `lkey`, which must grant `access` to `pd`. */
  constructor(table: RegionTable, none: Memory, lkey: number, pd: number, access: number, baseHi = 0, baseLo = 0) {
    this.#table = table;
    this.memory = none;
    this.#pageMemory = none;
    this.#cursor = new Cursor(none);
    this.#lkey = lkey | 0;
    this.#pd = pd;
    this.#access = access;
    this.#baseHi = baseHi;
    this.#baseLo = baseLo | 0;
  }

  /** Finds the entry of `length` bytes at byte `offset`; `memory` and `at` then say where. False if key or memory is bad. */
  locate(offset: number, length: number): boolean {
    const page = offset >>> PAGE_SHIFT;
    if (page === this.#page && this.#generation === this.#table.generation) {
      this.memory = this.#pageMemory;
      this.at = this.#pageAt + (offset & PAGE_MASK);
      return true;
    }
    return this.#locateSlow(offset, length, page);
  }

  #locateSlow(offset: number, length: number, page: number): boolean {
    const table = this.#table;
    this.#page = -1;
    const region = table.find(this.#lkey);
    if (region === undefined) return false;
    const low = (this.#baseLo >>> 0) + offset;
    const hi = this.#baseHi + (low >= 2 ** 32 ? 1 : 0);
    if (!table.allows(region, this.#pd, this.#access, hi, low | 0, length)) return false;
    const cursor = this.#cursor;
    if (!table.translate(region, hi, low | 0, 0, cursor) || cursor.run < length) return false;
    this.memory = cursor.memory;
    this.at = cursor.at;
    this.#rememberPage(region, offset, page);
    return true;
  }

  /** Remembers the whole page if all of it is inside the region and contiguous. */
  #rememberPage(region: MemoryRegion, offset: number, page: number): void {
    const inPage = offset & PAGE_MASK;
    const pageStart = offset - inPage;
    const low = (this.#baseLo >>> 0) + pageStart;
    const hi = this.#baseHi + (low >= 2 ** 32 ? 1 : 0);
    if (!this.#table.allows(region, this.#pd, this.#access, hi, low | 0, PAGE_BYTES)) return;
    const cursor = this.#cursor;
    if (!this.#table.translate(region, hi, low | 0, 0, cursor) || cursor.run < PAGE_BYTES) return;
    this.#page = page;
    this.#pageAt = cursor.at;
    this.#pageMemory = cursor.memory;
    this.#generation = this.#table.generation;
  }
}
