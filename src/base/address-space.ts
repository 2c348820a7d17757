// A device's view of guest memory: DMA addresses (IOVAs) to bytes. The table is small (a dozen ranges of RAM), so a lookup
// is a compare with the range that was hit last and, failing that, a scan.
//
// Addresses come as two 32-bit halves, as the hardware formats have them. Inside, a page is known by its 31-bit page frame
// number, so nothing becomes a heap number: addresses of 2^43 (8 TiB) and above are not memory here.

import { type Memory, OUTSIDE } from "./bytes.ts";

export const PAGE_SHIFT = 12;
export const PAGE_BYTES = 1 << PAGE_SHIFT;
const PAGE_MASK = PAGE_BYTES - 1;
/** Upper half of the first address that has no 31-bit page frame number. */
const HI_LIMIT = 1 << 11;
const ADDRESS_LIMIT = HI_LIMIT * 2 ** 32;
/** More ranges than any VMM maps; bounds the scan and what a hostile peer can make us keep. */
export const MAX_RANGES = 4096;
/** Longest range, so that `run` and the distance from a range's start are 32-bit integers. */
export const MAX_RANGE_BYTES = 2 ** 30;

/** Memory whose views are made when a device first comes there. */
export interface MemorySource {
  readonly byteLength: number;
  /** Where its first byte lies in the window, as int32, or OUTSIDE. */
  readonly windowAt: number;
  /** The memory, the same object each time. */
  open(): Memory;
}

/** All numbers are 32-bit integers, so that what `locate` computes from them is too: hot code keeps it as such. */
interface Range {
  firstPfn: number;
  pages: number;
  source: MemorySource;
  /** What `source` has opened. */
  memory: Memory | undefined;
  /** Where the first page lies in `memory`. */
  offset: number;
  writable: boolean;
}

/**
 * Guest memory by DMA address. `locate` leaves its answer in the fields `memory`, `at`, `run` and `writable`, which hold
 * until the next call; this keeps the hot path free of allocation.
 */
export class AddressSpace {
  /** Memory that holds the located byte. */
  memory: Memory;
  /** Offset of the located byte in `memory`. */
  at = 0;
  /** Bytes from there to the end of the contiguous range. */
  run = 0;
  /** Whether the device may write there. */
  writable = false;
  /**
   * Changes with every map and unmap; whoever keeps an answer of `locate` compares it. Tables that lead here count up, too, when they
   * change: one number then tells of all that may have become wrong.
   */
  generation = 0;

  readonly #none: Memory;
  #ranges: Range[] = [];
  #last: Range | undefined;

  /** @param none any memory; stands in `memory` while nothing has been located. */
  constructor(none: Memory) {
    this.#none = none;
    this.memory = none;
  }

  /**
   * Maps `length` bytes (at most 1 GiB) of `memory` from `offset` at DMA address `start`. All three are multiples of the page
   * size.
   * @returns undefined, or what is wrong: overlap with an existing range, misalignment, out of range, too many ranges.
   */
  map(start: number, length: number, memory: Memory, offset: number, writable: boolean): string | undefined {
    const { bytes, windowAt } = memory;
    return this.mapSource(start, length, { byteLength: bytes.length, windowAt, open: () => memory }, offset, writable);
  }

  /** The same for memory that is opened when a device first comes there: a VM may map far more than its device ever touches. */
  mapSource(start: number, length: number, source: MemorySource, offset: number, writable: boolean): string | undefined {
    if (start % PAGE_BYTES !== 0 || length % PAGE_BYTES !== 0 || offset % PAGE_BYTES !== 0) return "not page aligned";
    if (!(length > 0) || start < 0 || start + length > ADDRESS_LIMIT) return "beyond 8 TiB or empty";
    if (length > MAX_RANGE_BYTES) return "longer than 1 GiB";
    if (offset < 0 || offset + length > source.byteLength) return "outside its memory";
    if (this.#ranges.length >= MAX_RANGES) return "too many ranges";
    const firstPfn = (start / PAGE_BYTES) | 0;
    const pages = (length / PAGE_BYTES) | 0;
    const overlaps = (r: Range): boolean => r.firstPfn < firstPfn + pages && firstPfn < r.firstPfn + r.pages;
    if (this.#ranges.some(overlaps)) return "overlaps a mapped range";
    this.#ranges.push({ firstPfn, pages, source, memory: undefined, offset: offset | 0, writable });
    this.#changed();
    return undefined;
  }

  /** Unmaps every range that lies wholly inside [start, start + length); returns how many bytes went. */
  unmap(start: number, length: number): number {
    const firstPfn = start / PAGE_BYTES;
    const endPfn = firstPfn + length / PAGE_BYTES;
    let bytes = 0;
    this.#ranges = this.#ranges.filter((r) => {
      const inside = r.firstPfn >= firstPfn && r.firstPfn + r.pages <= endPfn;
      if (inside) bytes += r.pages * PAGE_BYTES;
      return !inside;
    });
    this.#changed();
    return bytes;
  }

  unmapAll(): void {
    this.#ranges = [];
    this.#changed();
  }

  /** The mapped ranges, for printing. */
  describe(): { start: number; length: number; writable: boolean }[] {
    return this.#ranges.map((r) => ({
      start: r.firstPfn * PAGE_BYTES,
      length: r.pages * PAGE_BYTES,
      writable: r.writable,
    }));
  }

  /** The largest ranges whose memory is in the window, at most `count` of them, and where there. */
  windowRanges(count: number): { firstPfn: number; pages: number; windowAt: number; writable: boolean }[] {
    const inWindow = this.#ranges.filter(({ source }) => source.windowAt !== OUTSIDE);
    inWindow.sort((a, b) => b.pages - a.pages);
    return inWindow.slice(0, count).map(({ firstPfn, pages, source, offset, writable }) => {
      return { firstPfn, pages, windowAt: (source.windowAt + offset) | 0, writable };
    });
  }

  /** Bytes of memory mapped that are in the window. */
  get windowBytes(): number {
    return this.#ranges.reduce((sum, { pages, source }) => (source.windowAt === OUTSIDE ? sum : sum + pages * PAGE_BYTES), 0);
  }

  /** Bytes of memory mapped in all. */
  get mappedBytes(): number {
    return this.#ranges.reduce((sum, r) => sum + r.pages * PAGE_BYTES, 0);
  }

  /**
   * Finds the byte at DMA address hi:lo (each taken as 32 bits, signed or not).
   * @returns false if no memory is mapped there.
   */
  locate(hi: number, lo: number): boolean {
    if (hi >>> 0 >= HI_LIMIT) return false;
    return this.locatePage((hi << (32 - PAGE_SHIFT)) | (lo >>> PAGE_SHIFT), lo & PAGE_MASK);
  }

  /** The same for a page frame number and an offset inside that page. */
  locatePage(pfn: number, offsetInPage: number): boolean {
    let range = this.#last;
    if (range === undefined || !holds(range, pfn)) {
      range = this.#find(pfn);
      if (range === undefined) return false;
      this.#last = range;
    }
    this.memory = range.memory ??= range.source.open();
    const inRange = (((pfn - range.firstPfn) << PAGE_SHIFT) + offsetInPage) | 0;
    this.at = (range.offset + inRange) | 0;
    this.run = ((range.pages << PAGE_SHIFT) - inRange) | 0;
    this.writable = range.writable;
    return true;
  }

  /** True if all of [hi:lo, + length) lies in one range; `memory` and `at` are then set. For mailboxes and records. */
  locateRun(hi: number, lo: number, length: number): boolean {
    return this.locate(hi, lo) && this.run >= length;
  }

  #find(pfn: number): Range | undefined {
    const ranges = this.#ranges;
    for (let i = 0; i < ranges.length; i++) {
      const range = ranges[i]!;
      if (holds(range, pfn)) return range;
    }
    return undefined;
  }

  #changed(): void {
    this.generation++;
    this.#last = undefined;
    this.memory = this.#none;
    this.run = 0;
  }
}

/** A page before the range is far behind it, taken as unsigned. */
const holds = (range: Range, pfn: number): boolean => (pfn - range.firstPfn) >>> 0 < range.pages;
