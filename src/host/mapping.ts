// Mapped memory, and how it goes away without anyone falling over it.
//
// JavaScript cannot take a view back: whoever still holds an ArrayBuffer after munmap dies of SIGSEGV, or worse, writes to
// whatever was mapped there next. So `release` first puts private zero pages over the range (the shared memory is gone at
// once, a late access finds zeros and harms nobody) and gives the addresses back only when the garbage collector has seen
// the last view die. Inside a window (window.ts) the zero pages stay, and what is given back is the room.

import { type Memory, memoryOf, OUTSIDE } from "../base/bytes.ts";
import type { Window } from "../base/window.ts";
import { check, lastErrno, MapFlag, mmap, munmap, Protection, viewOf } from "./libc.ts";
import { SystemError } from "./system-error.ts";
import { Room } from "./window.ts";

const FOUR_GIB = 2 ** 32;
const PAGE_BYTES = 4096;

/** Bytes [from, end) of a mapping, whole pages. */
interface Extent {
  readonly from: number;
  readonly end: number;
}

const deadViews = new FinalizationRegistry<Mapping>((mapping) => mapping.viewDied());

/** A range of mapped addresses. */
export class Mapping {
  readonly address: number;
  readonly byteLength: number;
  /** Absent outside windows. */
  readonly #room: Room | undefined;
  /** What views have been made of, in ascending order and apart from each other. */
  #viewed: Extent[] = [];
  #liveViews = 0;
  #isReleased = false;

  private constructor(address: number, byteLength: number, room?: Room) {
    this.address = address;
    this.byteLength = byteLength;
    this.#room = room;
  }

  /** Private zeroed memory; pages cost nothing until they are touched. */
  static anonymous(byteLength: number): Mapping {
    const flags = MapFlag.PRIVATE | MapFlag.ANONYMOUS | MapFlag.NORESERVE;
    return new Mapping(map(0, byteLength, Protection.READ | Protection.WRITE, flags, -1), byteLength);
  }

  /**
   * The first `byteLength` bytes of a file, shared; inside `window` if there is one that has room. The descriptor may be closed
   * afterwards.
   */
  static ofDescriptor(fd: number, byteLength: number, isWritable: boolean, window?: Window): Mapping {
    const protection = isWritable ? Protection.READ | Protection.WRITE : Protection.READ;
    const room = window && Room.in(window, byteLength);
    if (room === undefined) return new Mapping(map(0, byteLength, protection, MapFlag.SHARED, fd), byteLength);
    try {
      return new Mapping(map(room.address, byteLength, protection, MapFlag.SHARED | MapFlag.FIXED, fd), byteLength, room);
    } catch (error) {
      room.leave();
      throw error;
    }
  }

  /** Views of `length` bytes from `offset`; at most 1 GiB, because larger indices are slow in V8. */
  memory(offset: number, length: number): Memory {
    if (this.#isReleased) throw new Error("invariant: no view of a released mapping");
    if (offset < 0 || offset + length > this.byteLength) throw new Error("invariant: a view lies inside its mapping");
    const buffer = viewOf(this.address + offset, length);
    this.#viewed = withExtent(this.#viewed, pagesAround(offset, length));
    this.#liveViews++;
    deadViews.register(buffer, this);
    return memoryOf(buffer, 0, length, this.windowAt(offset));
  }

  /** Where in its window byte `offset` lies, as int32, or OUTSIDE. */
  windowAt(offset: number): number {
    return this.#room === undefined ? OUTSIDE : (this.#room.offset + offset) | 0;
  }

  /** Lets go of the memory now, of addresses nobody has seen too, and of the others when no view is left. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#liveViews === 0) this.#giveBack([{ from: 0, end: this.byteLength }]);
    else if (this.#room === undefined) this.#clearViewed();
    else this.#room.leaveSoon();
  }

  /** Called by the garbage collector. */
  viewDied(): void {
    this.#liveViews--;
    if (this.#isReleased && this.#liveViews === 0) this.#giveBack(this.#viewed);
  }

  /** Of addresses outside windows only `extents`. */
  #giveBack(extents: readonly Extent[]): void {
    if (this.#room === undefined) for (const extent of extents) this.#unmap(extent);
    else this.#room.leave();
  }

  #clearViewed(): void {
    const flags = MapFlag.PRIVATE | MapFlag.ANONYMOUS | MapFlag.NORESERVE | MapFlag.FIXED;
    let seen = 0;
    for (const { from, end } of this.#viewed) {
      // under strict overcommit this may fail; then the memory stays until the last view dies
      mmap(this.address + from, end - from, Protection.READ | Protection.WRITE, flags, -1, 0);
      this.#unmap({ from: seen, end: from });
      seen = end;
    }
    this.#unmap({ from: seen, end: this.byteLength });
  }

  #unmap({ from, end }: Extent): void {
    if (end > from) check(munmap(this.address + from, end - from), "munmap");
  }
}

const pagesAround = (offset: number, length: number): Extent => ({
  from: Math.floor(offset / PAGE_BYTES) * PAGE_BYTES,
  end: Math.ceil((offset + length) / PAGE_BYTES) * PAGE_BYTES,
});

/** `extents` and one more, which swallows those it touches. */
function withExtent(extents: readonly Extent[], { from, end }: Extent): Extent[] {
  const before = extents.filter((extent) => extent.end < from);
  const after = extents.filter((extent) => extent.from > end);
  const touched = extents.slice(before.length, extents.length - after.length);
  const merged = { from: Math.min(from, touched[0]?.from ?? from), end: Math.max(end, touched.at(-1)?.end ?? end) };
  return [...before, merged, ...after];
}

function map(address: number, byteLength: number, protection: number, flags: number, fd: number): number {
  const result = mmap(address, byteLength, protection, flags, fd, 0);
  if (result === -1) throw new SystemError("mmap", lastErrno(), `${byteLength} bytes`);
  return result;
}

/** Memory that native code can be pointed at: it never moves. */
export interface NativeMemory extends Memory {
  readonly address: number;
  /** The address as two 32-bit halves (signed). The memory crosses no multiple of 4 GiB, so `addressLo + offset` needs no carry. */
  readonly addressLo: number;
  readonly addressHi: number;
  readonly mapping: Mapping;
}

/** Zeroed memory of `byteLength` bytes for system calls to read and write. */
export function allocateNative(byteLength: number): NativeMemory {
  const mapping = anonymousWithoutCarry(byteLength);
  const { address } = mapping;
  const halves = { addressLo: address | 0, addressHi: Math.floor(address / FOUR_GIB) | 0 };
  return { ...mapping.memory(0, byteLength), address, ...halves, mapping };
}

/** Tries until the range lies between two multiples of 4 GiB. */
function anonymousWithoutCarry(byteLength: number): Mapping {
  const mapping = Mapping.anonymous(byteLength);
  if (Math.floor(mapping.address / FOUR_GIB) === Math.floor((mapping.address + byteLength - 1) / FOUR_GIB)) return mapping;
  // keep the unlucky range until a better one is found, else the kernel would offer it again
  const better = anonymousWithoutCarry(byteLength);
  mapping.release();
  return better;
}

/** Points a structure at `memory` from byte `at`. Whole numbers only: a 64-bit sum could be a heap number. */
export function setPointer(view: DataView, field: number, memory: NativeMemory, at: number): void {
  view.setInt32(field, (memory.addressLo + at) | 0, true);
  view.setInt32(field + 4, memory.addressHi, true);
}

/** Writes a 64-bit length (below 2^53) into a structure. */
export function setWord64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / FOUR_GIB), true);
}
