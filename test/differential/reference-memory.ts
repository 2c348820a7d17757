// The memory of one guest as the reference engine sees it: bytes, and regions that are lists of pages. Every byte is looked up on
// its own. Docs "infinihost" 0.1 (byte order), 4.5 (keys, bounds, rights, first page). Imports nothing of `src` on purpose.

/** Rights of a region (4.5). */
export const Right = {
  LOCAL_READ: 1 << 10,
  LOCAL_WRITE: 1 << 11,
  REMOTE_READ: 1 << 12,
  REMOTE_WRITE: 1 << 13,
  REMOTE_ATOMIC: 1 << 14,
};

/** A region as its driver registered it. */
export interface RegionFacts {
  readonly key: number;
  readonly pd: number;
  /** Bits of `Right`. */
  readonly rights: number;
  readonly start: bigint;
  readonly length: number;
  readonly pageBytes: number;
  /** Where each page lies in the guest's bytes; undefined where the table names no page. */
  readonly pages: readonly (number | undefined)[];
}

/** A range of virtual addresses under a key, as a data segment names it. */
export interface Range {
  readonly key: number;
  readonly address: bigint;
  readonly length: number;
}

/** Where nothing is behind a byte. */
export const NOWHERE = -1;

export class ReferenceMemory {
  /** A copy of the guest's memory, renewed before each run. */
  bytes: Buffer;
  readonly #regions = new Map<number, RegionFacts>();

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  register(region: RegionFacts): void {
    this.#regions.set(region.key, region);
  }

  forget(key: number): void {
    this.#regions.delete(key);
  }

  /** True if the range touches nothing, or lies inside a region of this protection domain that grants `right`. */
  allows({ key, address, length }: Range, pd: number, right: number): boolean {
    if (length === 0) return true;
    const region = this.#regions.get(key);
    if (region === undefined || region.pd !== pd || (region.rights & right) === 0) return false;
    return address >= region.start && address + BigInt(length) <= region.start + BigInt(region.length);
  }

  /** Where every byte of the ranges lies, one after another. */
  places(ranges: readonly Range[]): Int32Array {
    const places = new Int32Array(lengthOf(ranges));
    let next = 0;
    for (const range of ranges) {
      for (let i = 0; i < range.length; i++) places[next++] = this.#place(range, i);
    }
    return places;
  }

  #place({ key, address }: Range, index: number): number {
    const region = this.#regions.get(key);
    if (region === undefined) return NOWHERE;
    // Page 0 is the one that contains the start, wherever in it that is.
    const inFirstPage = Number(region.start % BigInt(region.pageBytes));
    const distance = inFirstPage + Number(address - region.start) + index;
    const page = region.pages[Math.floor(distance / region.pageBytes)];
    return page === undefined ? NOWHERE : page + (distance % region.pageBytes);
  }

  /** The bytes of a range that is known to be all there. */
  read(range: Range): Buffer {
    return Buffer.from(Array.from(this.places([range]), (place) => this.bytes[place] ?? 0));
  }

  write(range: Range, bytes: Buffer): void {
    this.places([range]).forEach((place, i) => {
      this.bytes[place] = bytes[i] ?? 0;
    });
  }
}

export const lengthOf = (ranges: readonly Range[]): number => ranges.reduce((sum, { length }) => sum + length, 0);

/** What stopped a copy. */
export type Fault = "source" | "target" | undefined;

/** Copies byte by byte until the source ends or either side has no memory. */
export function copy(from: Buffer, sources: Int32Array, to: Buffer, targets: Int32Array, skip = 0): Fault {
  for (let i = 0; i < sources.length; i++) {
    const source = sources[i] ?? NOWHERE;
    const target = targets[i + skip] ?? NOWHERE;
    if (source === NOWHERE) return "source";
    if (target === NOWHERE) return "target";
    to[target] = from[source] ?? 0;
  }
  return undefined;
}

/** Places of bytes that lie one after another from the start of a buffer. */
export const straight = (length: number): Int32Array => Int32Array.from({ length }, (_, i) => i);
