// Memory regions and their translation: key → MPT → MTT → guest memory. Docs "infinihost" 4.5, 3.4; IBA vol 1, 10.6.
//
// A virtual address is two 32-bit halves. Only its distance from the start of the region becomes a Number; whatever is
// inside a region is exact (below 2^53), whatever is rounded lies far outside and is refused.

import { type AddressSpace, PAGE_BYTES, PAGE_SHIFT } from "../base/address-space.ts";
import { type Memory, newMemory } from "../base/bytes.ts";
import { SparseRecords } from "../base/sparse-records.ts";
import { ACCESS_MASK, MTT_BYTES, MTT_PRESENT } from "../spec/hca/contexts.ts";
import type { Icm } from "./icm.ts";
import * as Layout from "./plain/layout.ts";
import { rightsOf, TranslationCache } from "./translation-cache.ts";

const PAGE_MASK = PAGE_BYTES - 1;
/** Pages of a region may be at most 1 GiB: larger ones gain nothing and would leave the int range. */
export const LOG_REGION_PAGE_MAX = 30;

/** One entry of the memory protection table, as its driver handed it over. */
export interface MemoryRegion {
  /** MPT key, as int32. */
  readonly key: number;
  /** Bits of `Access`. */
  readonly access: number;
  readonly pd: number;
  readonly startHi: number;
  readonly startLo: number;
  /** Bytes; 2^64 for "everything". */
  readonly length: number;
  /** The address is the DMA address. */
  readonly isPhysical: boolean;
  readonly logPageBytes: number;
  /** ICM address of the first MTT entry, a multiple of 8. */
  readonly mttAddress: number;
}

/** `find` found nothing. */
export const NO_REGION = -1;

/** Words of an entry in the table. A guest may have a hundred thousand: they cost 32 bytes each. */
const Word = { KEY: 0, FLAGS: 1, PD: 2, START_HI: 3, START_LO: 4, LENGTH_HI: 5, LENGTH_LO: 6, MTT_INDEX: 7 } as const;
const WORDS = 8;
/** Besides the access bits (10 to 14) in `Word.FLAGS`. */
const IN_USE = 1 << 0;
const PHYSICAL = 1 << 1;
const LOG_PAGE_SHIFT = 16;
const TWO_31 = 2 ** 31;
const TWO_32 = 2 ** 32;
const MTTS_PER_PAGE = PAGE_BYTES / MTT_BYTES;
const MTTS_PER_PAGE_SHIFT = 9;

/** Where a byte of a region is: set by `translate`, valid until something is mapped or unmapped. */
export class Cursor {
  memory: Memory;
  at = 0;
  /** Contiguous bytes from there. */
  run = 0;
  isWritable = false;
  /** The region, for `translate`, if there is more of the range than `run`. */
  region = NO_REGION;
  // For `follow`: the next entry of the translation table, where its page of the table ends, what an entry stands for.
  mttView: DataView;
  mttAt = 0;
  mttEnd = 0;
  pageBytes = 0;

  readonly #none: Memory;

  constructor(none: Memory) {
    this.#none = none;
    this.memory = none;
    this.mttView = none.view;
  }

  /** Holds no memory any more. */
  forget(): void {
    this.memory = this.#none;
    this.mttView = this.#none.view;
  }
}

/** The memory protection table of one HCA. Regions are named by their index in it. */
export class RegionTable {
  readonly dma: AddressSpace;
  readonly icm: Icm;
  readonly #records = new SparseRecords(WORDS);
  readonly #known: TranslationCache;
  #mask = 0;
  count = 0;
  #registeredPages = 0;

  /** @param tlb memory for the table of known pages, where others shall find it */
  constructor(dma: AddressSpace, icm: Icm, tlb?: Memory) {
    this.dma = dma;
    this.icm = icm;
    this.#known = new TranslationCache(newMemory(8), tlb);
  }

  /** Empties the table and gives it 2^logEntries entries. */
  reset(logEntries: number): void {
    this.#empty(2 ** logEntries);
  }

  /** Empties the table and leaves it without entries. */
  clear(): void {
    this.#empty(0);
  }

  #empty(entries: number): void {
    this.#records.reset(entries);
    this.#mask = Math.max(0, entries - 1);
    this.count = 0;
    this.#registeredPages = 0;
    this.dma.generation++;
    this.#known.clear();
    scratch?.forget();
  }

  /** The memory for the table of known pages goes to somebody else: it is touched no more. */
  leaveTlb(): void {
    this.#known.leave();
  }

  /** Changes whenever a kept translation may have become wrong. */
  get generation(): number {
    return this.dma.generation;
  }

  /** Bytes in all regions that translate, in whole pages; a region counts for 256 TiB at most. */
  get registeredBytes(): number {
    return this.#registeredPages * PAGE_BYTES;
  }

  /** How many entries the table has. */
  get size(): number {
    return this.#records.length;
  }

  /** The entry at a table index, whatever its key; undefined if it is free. */
  at(index: number): MemoryRegion | undefined {
    if (index >= this.size) return undefined;
    const words = this.#records.block(index);
    const at = this.#records.wordsAt(index);
    const flags = words[at + Word.FLAGS]!;
    if ((flags & IN_USE) === 0) return undefined;
    return {
      key: words[at + Word.KEY]!,
      access: flags & ACCESS_MASK,
      pd: words[at + Word.PD]!,
      startHi: words[at + Word.START_HI]! >>> 0,
      startLo: words[at + Word.START_LO]! >>> 0,
      length: lengthOf(words, at),
      isPhysical: (flags & PHYSICAL) !== 0,
      logPageBytes: flags >>> LOG_PAGE_SHIFT,
      mttAddress: words[at + Word.MTT_INDEX]! * MTT_BYTES,
    };
  }

  /**
   * Fills the entry, which must be free.
   * @param lengthHi the length in two halves; all ones mean "everything"
   */
  set(index: number, region: Omit<MemoryRegion, "length">, lengthHi: number, lengthLo: number): void {
    const words = this.#records.blockForWriting(index);
    const at = this.#records.wordsAt(index);
    const flags = IN_USE | (region.isPhysical ? PHYSICAL : 0) | (region.logPageBytes << LOG_PAGE_SHIFT);
    words[at + Word.KEY] = region.key;
    words[at + Word.FLAGS] = (region.access & ACCESS_MASK) | flags;
    words[at + Word.PD] = region.pd;
    words[at + Word.START_HI] = region.startHi;
    words[at + Word.START_LO] = region.startLo;
    words[at + Word.LENGTH_HI] = lengthHi;
    words[at + Word.LENGTH_LO] = lengthLo;
    words[at + Word.MTT_INDEX] = region.mttAddress / MTT_BYTES;
    this.count++;
    if (!region.isPhysical) this.#registeredPages += pagesOf(lengthOf(words, at));
  }

  remove(index: number): boolean {
    const region = this.at(index);
    if (region === undefined) return false;
    this.#records.blockForWriting(index)[this.#records.wordsAt(index) + Word.FLAGS] = 0;
    this.count--;
    if (!region.isPhysical) this.#registeredPages -= pagesOf(region.length);
    this.dma.generation++;
    return true;
  }

  /** The region that an lkey or rkey names, or `NO_REGION`. A key is the MPT key rotated left by 8 (4.5). */
  find(memoryKey: number): number {
    const key = (memoryKey >>> 8) | (memoryKey << 24);
    const index = key & this.#mask;
    if (index >= this.size) return NO_REGION;
    const words = this.#records.block(index);
    const at = this.#records.wordsAt(index);
    return words[at + Word.KEY] === key && (words[at + Word.FLAGS]! & IN_USE) !== 0 ? index : NO_REGION;
  }

  /**
   * Writes the region that a key names into `words` from index `at`, as compiled requests want it (plain/layout.ts).
   * @returns false if there is none, or if it has no translation table
   */
  describe(memoryKey: number, words: Int32Array, at: number): boolean {
    const index = this.find(memoryKey);
    if (index === NO_REGION) return false;
    const region = this.#records.block(index);
    const from = this.#records.wordsAt(index);
    const flags = region[from + Word.FLAGS]!;
    if ((flags & PHYSICAL) !== 0) return false;
    words[at + (Layout.REGION_KEY >> 2)] = memoryKey;
    words[at + (Layout.REGION_RIGHTS >> 2)] = rightsOf(region[from + Word.PD]!, flags & ACCESS_MASK);
    words[at + (Layout.REGION_START >> 2)] = region[from + Word.START_LO]!;
    words[at + (Layout.REGION_START >> 2) + 1] = region[from + Word.START_HI]!;
    words[at + (Layout.REGION_LENGTH >> 2)] = region[from + Word.LENGTH_LO]!;
    words[at + (Layout.REGION_LENGTH >> 2) + 1] = region[from + Word.LENGTH_HI]!;
    words[at + (Layout.REGION_MTT >> 2)] = region[from + Word.MTT_INDEX]!;
    words[at + (Layout.REGION_LOG_PAGE >> 2)] = flags >>> LOG_PAGE_SHIFT;
    return true;
  }

  /** True if [hi:lo, + length) lies inside the region that a key names, and that grants all of `access` to protection domain `pd`. */
  isAllowed(memoryKey: number, pd: number, access: number, hi: number, lo: number, length: number): boolean {
    if (this.#known.find(memoryKey, pd, access, hi, lo, length, this.generation)) return true;
    const index = this.find(memoryKey);
    return index !== NO_REGION && this.allows(index, pd, access, hi, lo, length);
  }

  /**
   * Finds the byte `done` bytes after virtual address hi:lo, if `isAllowed` grants all of [hi:lo, + length) and memory backs it.
   * `cursor.run` is at most what is left of the range.
   * @param wanted bytes from there on that the caller can use
   */
  locate(
    memoryKey: number,
    pd: number,
    access: number,
    hi: number,
    lo: number,
    length: number,
    done: number,
    wanted: number,
    cursor: Cursor,
  ): boolean {
    const known = this.#known;
    const left = length - done;
    if (known.find(memoryKey, pd, access, hi, lo, length, this.generation)) {
      cursor.memory = known.memory;
      cursor.at = known.at + done;
      cursor.run = left;
      cursor.isWritable = true;
      return true;
    }
    const index = this.find(memoryKey);
    if (index === NO_REGION || !this.allows(index, pd, access, hi, lo, length)) return false;
    if (!this.translate(index, hi, lo, done, wanted < left ? wanted : left, cursor)) return false;
    if (cursor.run > left) cursor.run = left;
    cursor.region = index;
    if (done === 0 && cursor.isWritable && (lo & PAGE_MASK) + length <= PAGE_BYTES)
      this.#keep(index, memoryKey, pd, access, hi, lo, cursor);
    return true;
  }

  /** Keeps the page of hi:lo, which `cursor` points into: where a region begins in a page, so does its memory. */
  #keep(index: number, memoryKey: number, pd: number, access: number, hi: number, lo: number, cursor: Cursor): void {
    const words = this.#records.block(index);
    const at = this.#records.wordsAt(index);
    const inPage = lo & PAGE_MASK;
    const before = distance(words, at, hi, lo - inPage);
    const begin = before < 0 ? -before | 0 : 0;
    const end = Math.min(PAGE_BYTES, lengthOf(words, at) - before) | 0;
    this.#known.keep(memoryKey, pd, access, hi, lo, begin, end, cursor.memory, cursor.at - inPage, this.generation);
  }

  /** True if [hi:lo, + length) lies inside the region and the region grants all of `access` to protection domain `pd`. */
  allows(index: number, pd: number, access: number, hi: number, lo: number, length: number): boolean {
    const words = this.#records.block(index);
    const at = this.#records.wordsAt(index);
    if (words[at + Word.PD] !== pd || (words[at + Word.FLAGS]! & access) !== access) return false;
    const offset = distance(words, at, hi, lo);
    return offset >= 0 && offset + length <= lengthOf(words, at);
  }

  /**
   * Finds the byte `done` bytes after virtual address hi:lo. The caller has checked that it lies inside the region.
   * @param wanted bytes that the caller can use; `cursor.run` reaches over pages that follow each other in memory only as far as that
   * @returns false if no memory backs it (MTT missing or not present, DMA address not mapped).
   */
  translate(index: number, hi: number, lo: number, done: number, wanted: number, cursor: Cursor): boolean {
    const dma = this.dma;
    const words = this.#records.block(index);
    const at = this.#records.wordsAt(index);
    const flags = words[at + Word.FLAGS]!;
    if ((flags & PHYSICAL) !== 0) {
      const low = (lo >>> 0) + done;
      if (!dma.locate(low >= TWO_32 ? hi + 1 : hi, low | 0)) return false;
      cursor.run = dma.run;
      cursor.mttEnd = 0;
    } else {
      const logPageBytes = flags >>> LOG_PAGE_SHIFT;
      const pageBytes = 1 << logPageBytes;
      // The first MTT describes the page that contains the start.
      const startInPage = words[at + Word.START_LO]! & (pageBytes - 1);
      const offset = distance(words, at, hi, lo) + done + startInPage;
      // Integers from here on, as fields of objects that hot code reads: where it once was a double, V8 keeps one.
      const page = offset < TWO_31 ? offset >>> logPageBytes : Math.floor(offset / pageBytes) | 0;
      const inPage = offset < TWO_31 ? offset & (pageBytes - 1) : (offset - page * pageBytes) | 0;
      const entry = (words[at + Word.MTT_INDEX]! + page) | 0;
      const contiguous = this.#locateMtt(entry, inPage, pageBytes, wanted, cursor);
      if (contiguous === 0) return false;
      cursor.run = contiguous;
      if (dma.run < contiguous) {
        cursor.run = dma.run;
        cursor.mttEnd = 0;
      }
    }
    cursor.memory = dma.memory;
    cursor.at = dma.at;
    cursor.isWritable = dma.writable;
    return true;
  }

  /**
   * Goes on behind the bytes that `translate` or `follow` has found, all of which have been used: the next entries of the same page of the
   * table name them. To be called in one go with `translate`, before anything is mapped or unmapped.
   * @param wanted as for `translate`
   * @returns false if that has to be asked: another page of the table, a physical region, or no memory
   */
  follow(cursor: Cursor, wanted: number): boolean {
    const at = cursor.mttAt;
    if (at >= cursor.mttEnd) return false;
    const { mttView, pageBytes } = cursor;
    const pageHi = mttView.getInt32(at, false);
    const pageLo = mttView.getInt32(at + 4, false);
    if ((pageLo & MTT_PRESENT) === 0 || pageHi >>> 11 !== 0) return false;
    const { dma } = this;
    const run = runOf(cursor, at, pageHi, pageLo, pageBytes, wanted);
    if (!dma.locatePage((pageHi << (32 - PAGE_SHIFT)) | (pageLo >>> PAGE_SHIFT), 0) || dma.run < run) return false;
    cursor.memory = dma.memory;
    cursor.at = dma.at;
    cursor.run = run;
    cursor.isWritable = dma.writable;
    return true;
  }

  /**
   * Reads MTT entry number `entry` and locates offset `inPage` of the page it names.
   * @returns bytes from there on that the entry and those behind it show to follow each other, as far as `wanted`; 0 if nothing is there
   */
  #locateMtt(entry: number, inPage: number, pageBytes: number, wanted: number, cursor: Cursor): number {
    const dma = this.dma;
    const inTable = entry & (MTTS_PER_PAGE - 1);
    if (!this.icm.locate(entry >>> MTTS_PER_PAGE_SHIFT, inTable * MTT_BYTES)) return 0;
    const { view } = dma.memory;
    const { at } = dma;
    const pageHi = view.getInt32(at, false);
    const pageLo = view.getInt32(at + 4, false);
    if ((pageLo & MTT_PRESENT) === 0 || pageHi >>> 11 !== 0) return 0;
    cursor.mttView = view;
    // What lies in another ICM page is left to the next call.
    cursor.mttEnd = at + (MTTS_PER_PAGE - inTable) * MTT_BYTES;
    cursor.pageBytes = pageBytes;
    const run = runOf(cursor, at, pageHi, pageLo, pageBytes - inPage, wanted);
    const pfn = (pageHi << (32 - PAGE_SHIFT)) | (pageLo >>> PAGE_SHIFT);
    return dma.locatePage(pfn + (inPage >>> PAGE_SHIFT), inPage & PAGE_MASK) ? run : 0;
  }
}

/**
 * Bytes that follow each other in memory, as far as `wanted`: `first` of the entry at `at`, which names pageHi:pageLo, and the pages of the
 * entries behind it. `cursor` is left at the first entry that is not among them.
 */
function runOf(cursor: Cursor, at: number, pageHi: number, pageLo: number, first: number, wanted: number): number {
  const { mttView, mttEnd, pageBytes } = cursor;
  let run = first;
  let lo = pageLo;
  let next = at + MTT_BYTES;
  for (; run < wanted && next < mttEnd; next += MTT_BYTES) {
    lo = (lo + pageBytes) | 0;
    // Beyond 4 GiB the upper half would have to differ.
    if (lo >>> 0 < pageBytes) break;
    if (mttView.getInt32(next + 4, false) !== lo || mttView.getInt32(next, false) !== pageHi) break;
    run += pageBytes;
  }
  cursor.mttAt = next;
  return run;
}

/** Bounded, so that sums of them are exact. */
const REGION_PAGES_MAX = 2 ** 36;
const pagesOf = (bytes: number): number => Math.min(REGION_PAGES_MAX, Math.ceil(bytes / PAGE_BYTES));

const lengthOf = (words: Int32Array, at: number): number =>
  (words[at + Word.LENGTH_HI]! >>> 0) * TWO_32 + (words[at + Word.LENGTH_LO]! >>> 0);

/** Bytes from the start of a region to an address. */
const distance = (words: Int32Array, at: number, hi: number, lo: number): number =>
  ((hi >>> 0) - (words[at + Word.START_HI]! >>> 0)) * TWO_32 + ((lo >>> 0) - (words[at + Word.START_LO]! >>> 0));

/** Scratch of `QueueBuffer`: an engine does one thing at a time. */
let scratch: Cursor | undefined;

/**
 * A queue's buffer (WQEs, CQEs or EQEs) behind an lkey. Entries hardly ever straddle a page (their sizes are powers of two of
 * at most a page, and only a hostile driver starts a queue elsewhere), so one remembered page makes the next entry cheap.
 */
export class QueueBuffer {
  memory: Memory;
  at = 0;
  readonly #table: RegionTable;
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
    scratch ??= new Cursor(none);
    this.#lkey = lkey | 0;
    this.#pd = pd;
    this.#access = access;
    this.#baseHi = baseHi;
    this.#baseLo = baseLo | 0;
  }

  /** Finds the entry of `length` bytes at byte `offset`; `memory` and `at` then say where. False if key or memory is bad. */
  locate(offset: number, length: number): boolean {
    const page = offset >>> PAGE_SHIFT;
    const isInPage = (offset & PAGE_MASK) + length <= PAGE_BYTES;
    if (page === this.#page && isInPage && this.#generation === this.#table.generation) {
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
    if (region === NO_REGION) return false;
    const low = (this.#baseLo >>> 0) + offset;
    const hi = this.#baseHi + (low >= 2 ** 32 ? 1 : 0);
    if (!table.allows(region, this.#pd, this.#access, hi, low | 0, length)) return false;
    const cursor = scratch!;
    if (!table.translate(region, hi, low | 0, 0, length, cursor) || cursor.run < length) return false;
    this.memory = cursor.memory;
    this.at = cursor.at;
    this.#rememberPage(region, offset, page);
    return true;
  }

  /** Remembers the whole page if all of it is inside the region and contiguous. */
  #rememberPage(region: number, offset: number, page: number): void {
    const inPage = offset & PAGE_MASK;
    const pageStart = offset - inPage;
    const low = (this.#baseLo >>> 0) + pageStart;
    const hi = this.#baseHi + (low >= 2 ** 32 ? 1 : 0);
    if (!this.#table.allows(region, this.#pd, this.#access, hi, low | 0, PAGE_BYTES)) return;
    const cursor = scratch!;
    if (!this.#table.translate(region, hi, low | 0, 0, PAGE_BYTES, cursor) || cursor.run < PAGE_BYTES) return;
    this.#page = page;
    this.#pageAt = cursor.at;
    this.#pageMemory = cursor.memory;
    this.#generation = this.#table.generation;
  }
}
