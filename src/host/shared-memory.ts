// Memory shared with other processes: sealed memfds, our own and those a VMM hands us.
//
// Only memory that cannot shrink is accepted (F_SEAL_SHRINK): touching a page behind the end of a truncated file is SIGBUS,
// which would let one VMM take the whole process down. Each memfd is mapped once for its whole size, known by its device and
// inode, however many ranges and sessions point into it.
//
// Huge pages (hugetlbfs) are refused whatever their seals: no seal forbids punching holes (fallocate(2)), and a hole whose page
// somebody else has taken meanwhile is SIGBUS too. Ordinary memfds get a fresh zero page there.

import { fstatSync, statfsSync } from "node:fs";
import type { MemorySource } from "../base/address-space.ts";
import { type Memory, sliceOf } from "../base/bytes.ts";
import type { Window } from "../base/window.ts";
import { check, closeDescriptor, Fcntl, fcntl, ftruncate, MfdFlag, memfdCreate, OpenFlag, Seal } from "./libc.ts";
import { Mapping } from "./mapping.ts";
import { Errno, SystemError } from "./system-error.ts";

/** Largest stretch of memory behind one `Memory`: indices above 2^31 are slow in V8, and Node 20 dies on views over 4 GiB. */
export const CHUNK_BYTES = 2 ** 30;
/** What an AddressSpace can reach; more than any VM has. */
export const MAX_SHARED_MEMORY_BYTES = 2 ** 43;
const PAGE_BYTES = 4096;
/** statfs(2), f_type. */
const HUGETLBFS_MAGIC = 0x958458f6;

/** A mapped memfd, shown in chunks of at most 1 GiB. */
export class SharedMemory {
  readonly byteLength: number;
  readonly isWritable: boolean;
  readonly #mapping: Mapping;
  readonly #chunks: Memory[] = [];

  constructor(mapping: Mapping, isWritable: boolean) {
    this.#mapping = mapping;
    this.byteLength = mapping.byteLength;
    this.isWritable = isWritable;
  }

  /** Memory of chunk `index`, which starts at byte `index * CHUNK_BYTES`. The same object each time. */
  chunk(index: number): Memory {
    const known = this.#chunks[index];
    if (known !== undefined) return known;
    const start = index * CHUNK_BYTES;
    const memory = this.#mapping.memory(start, Math.min(CHUNK_BYTES, this.byteLength - start));
    this.#chunks[index] = memory;
    return memory;
  }

  /** The same, opened later: making a view of a GiB costs V8 a full garbage collection. */
  chunkSource(index: number): MemorySource {
    const byteLength = Math.min(CHUNK_BYTES, this.byteLength - index * CHUNK_BYTES);
    return { byteLength, windowAt: this.#mapping.windowAt(index * CHUNK_BYTES), open: () => this.chunk(index) };
  }

  /** Memory of `length` bytes from `offset`, which must lie in one chunk. */
  slice(offset: number, length: number): Memory {
    const index = Math.floor(offset / CHUNK_BYTES);
    const start = offset - index * CHUNK_BYTES;
    if (!(length > 0 && start + length <= CHUNK_BYTES && offset + length <= this.byteLength))
      throw new SystemError("mmap", Errno.EINVAL, `${length} bytes at ${offset} cross a GiB or the end`);
    return sliceOf(this.chunk(index), start, length);
  }

  /** Views that are still held show zeros from now on (mapping.ts). */
  release(): void {
    this.#chunks.length = 0;
    this.#mapping.release();
  }
}

/** Memory made here to be given to others. */
export interface OwnedSharedMemory {
  /** The memfd, sealed against shrinking and growing. Send it; close it with `close`. */
  readonly descriptor: number;
  readonly byteLength: number;
  readonly shared: SharedMemory;
  /** The first chunk, which is all of it up to 1 GiB. */
  readonly memory: Memory;
  /** Closes the descriptor and releases the mapping. */
  close(): void;
}

/** A memfd of `byteLength` bytes, all zero, that can neither shrink nor grow. The caller closes it. */
export function createSealedMemfd(name: string, byteLength: number): number {
  const descriptor = check(memfdCreate(name, MfdFlag.CLOEXEC | MfdFlag.ALLOW_SEALING), "memfd_create", name);
  try {
    check(ftruncate(descriptor, byteLength), "ftruncate", `${byteLength} bytes`);
    check(fcntl(descriptor, Fcntl.ADD_SEALS, Seal.SHRINK | Seal.GROW | Seal.SEAL), "fcntl", "F_ADD_SEALS");
    return descriptor;
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
}

/**
 * Creates a sealed memfd of `byteLength` bytes (rounded up to pages) and maps it.
 * @param name shown in /proc/…/maps.
 */
export function createSharedMemory(name: string, byteLength: number): OwnedSharedMemory {
  const length = Math.ceil(byteLength / PAGE_BYTES) * PAGE_BYTES;
  const descriptor = createSealedMemfd(name, length);
  try {
    const shared = new SharedMemory(Mapping.ofDescriptor(descriptor, length, true), true);
    const close = (): void => {
      closeDescriptor(descriptor);
      shared.release();
    };
    return { descriptor, byteLength: length, shared, memory: shared.chunk(0), close };
  } catch (error) {
    closeDescriptor(descriptor);
    throw error;
  }
}

interface Entry {
  readonly shared: SharedMemory;
  users: number;
}

/** The memfds of other processes that are mapped here, each once. */
export class SharedMemoryRegistry {
  readonly #entries = new Map<string, Entry>();
  readonly #window: Window | undefined;

  /** @param window where memory is mapped as long as there is room, for compiled code to see it */
  constructor(window?: Window) {
    this.#window = window;
  }

  /** How many memfds are mapped. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Maps the memory behind `fd`, or finds it mapped already. The descriptor stays the caller's.
   * @throws SystemError if it is not a memfd that is sealed against shrinking, or cannot be mapped.
   */
  acquire(fd: number): SharedMemory {
    const isWritable = assertSealed(fd);
    const stat = fstatSync(fd, { bigint: true });
    const byteLength = Number(stat.size);
    // a mapping lets its holder write, so one made from a read-only descriptor must not be shared with one that was not
    const key = `${stat.dev}:${stat.ino}:${isWritable ? "rw" : "ro"}:${byteLength}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (!(byteLength > 0 && byteLength <= MAX_SHARED_MEMORY_BYTES)) {
        throw new SystemError("mmap", Errno.EINVAL, `memory of ${byteLength} bytes; expected 1 to ${MAX_SHARED_MEMORY_BYTES}`);
      }
      assertOrdinaryPages(fd);
      const mapping = Mapping.ofDescriptor(fd, byteLength, isWritable, this.#window);
      entry = { shared: new SharedMemory(mapping, isWritable), users: 0 };
      this.#entries.set(key, entry);
    }
    entry.users++;
    return entry.shared;
  }

  /** Gives back one `acquire`. After the last one the memory is let go: the caller vouches that nothing uses it any more. */
  release(shared: SharedMemory): void {
    for (const [key, entry] of this.#entries) {
      if (entry.shared !== shared) continue;
      entry.users--;
      if (entry.users > 0) return;
      this.#entries.delete(key);
      shared.release();
      return;
    }
    throw new Error("invariant: released memory was acquired");
  }
}

/** @returns whether the descriptor may be mapped writable. */
function assertSealed(fd: number): boolean {
  const seals = fcntl(fd, Fcntl.GET_SEALS, 0);
  if (seals < 0 || (seals & Seal.SHRINK) === 0) {
    throw new SystemError(
      "DMA memory",
      Errno.EPERM,
      `expected a memfd sealed with F_SEAL_SHRINK, got ${seals < 0 ? "a file that has no seals" : `seals 0x${seals.toString(16)}`}` +
        "; give the VM -object memory-backend-memfd,share=on (its seal=on is the default)",
    );
  }
  const access = check(fcntl(fd, Fcntl.GETFL, 0), "fcntl", "F_GETFL") & OpenFlag.ACCMODE;
  return access === OpenFlag.RDWR && (seals & (Seal.WRITE | Seal.FUTURE_WRITE)) === 0;
}

function assertOrdinaryPages(fd: number): void {
  if (statfsSync(`/proc/self/fd/${fd}`).type !== HUGETLBFS_MAGIC) return;
  const advice = "give the VM -object memory-backend-memfd,share=on without hugetlb=on";
  throw new SystemError("DMA memory", Errno.EPERM, `expected ordinary pages, got huge ones, which can be taken away; ${advice}`);
}
