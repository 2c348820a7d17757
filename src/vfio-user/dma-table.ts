// The DMA ranges of a session ("VFIO_USER_DMA_MAP", "VFIO_USER_DMA_UNMAP"): from messages to the device's AddressSpace.
//
// A VMM maps and unmaps ranges of the same memfd dozens of times while a VM boots. So a memfd stays mapped here until the
// session ends, and only the address table changes.

import type { AddressSpace } from "../base/address-space.ts";
import { CHUNK_BYTES, type SharedMemory, type SharedMemoryRegistry } from "../host/shared-memory.ts";
import { Errno } from "../host/system-error.ts";
import { VfioUserError } from "./error.ts";
import { MAX_DMA_MAPS, MAX_MEMORIES, MAX_MEMORY_BYTES } from "./limits.ts";

interface DmaRange {
  readonly address: number;
  readonly sizeBytes: number;
  /** Absent for a range that came without a descriptor: such memory is out of reach and the device does not see it. */
  readonly shared: SharedMemory | undefined;
}

export class DmaTable {
  readonly #space: AddressSpace;
  readonly #registry: SharedMemoryRegistry;
  #ranges: DmaRange[] = [];
  readonly #memories = new Set<SharedMemory>();

  constructor(space: AddressSpace, registry: SharedMemoryRegistry) {
    this.#space = space;
    this.#registry = registry;
  }

  get rangeCount(): number {
    return this.#ranges.length;
  }

  /** Adds a range that the device cannot reach, so that it can be unmapped again. */
  mapUnreachable(address: number, sizeBytes: number): void {
    this.#checkFree(address, sizeBytes);
    this.#ranges.push({ address, sizeBytes, shared: undefined });
  }

  /**
   * Maps `sizeBytes` from `offset` of the memory behind `fd`, which stays the caller's.
   * @throws VfioUserError or SystemError with the errno for the peer.
   */
  map(address: number, sizeBytes: number, fd: number, offset: number, isWritable: boolean): void {
    this.#checkFree(address, sizeBytes);
    const shared = this.#acquire(fd);
    if (offset + sizeBytes > shared.byteLength) {
      throw invalid(`range of ${sizeBytes} bytes at ${offset} of memory that has ${shared.byteLength}`);
    }
    if (isWritable && !shared.isWritable) throw new VfioUserError(Errno.EACCES, "writable range of read-only memory");
    for (let done = 0; done < sizeBytes; ) {
      const chunk = Math.floor((offset + done) / CHUNK_BYTES);
      const from = offset + done - chunk * CHUNK_BYTES;
      const length = Math.min(sizeBytes - done, CHUNK_BYTES - from);
      const wrong = this.#space.mapSource(address + done, length, shared.chunkSource(chunk), from, isWritable);
      if (wrong !== undefined) {
        if (done > 0) this.#space.unmap(address, done);
        throw invalid(wrong);
      }
      done += length;
    }
    this.#ranges.push({ address, sizeBytes, shared });
  }

  /**
   * Forgets a range, which must be exactly as it was mapped.
   * @throws VfioUserError ENOENT if there is none.
   */
  unmap(address: number, sizeBytes: number): void {
    const at = this.#ranges.findIndex((range) => range.address === address && range.sizeBytes === sizeBytes);
    if (at < 0) throw new VfioUserError(Errno.ENOENT, `no range of ${sizeBytes} bytes at 0x${address.toString(16)}`);
    if (this.#ranges[at]?.shared !== undefined) this.#space.unmap(address, sizeBytes);
    this.#ranges.splice(at, 1);
  }

  unmapAll(): void {
    this.#ranges = [];
    this.#space.unmapAll();
  }

  /** Unmaps everything and lets the memory go; the device has been reset. */
  close(): void {
    this.unmapAll();
    for (const shared of this.#memories) this.#registry.release(shared);
    this.#memories.clear();
  }

  #checkFree(address: number, sizeBytes: number): void {
    if (!(sizeBytes > 0) || !Number.isSafeInteger(address + sizeBytes)) throw invalid(`range of ${sizeBytes} bytes`);
    if (this.#ranges.length >= MAX_DMA_MAPS) throw new VfioUserError(Errno.ENOSPC, `more than ${MAX_DMA_MAPS} DMA ranges`);
    if (this.#ranges.some((range) => range.address < address + sizeBytes && address < range.address + range.sizeBytes)) {
      throw new VfioUserError(Errno.EEXIST, `range at 0x${address.toString(16)} overlaps a mapped one`);
    }
  }

  #acquire(fd: number): SharedMemory {
    const shared = this.#registry.acquire(fd);
    if (this.#memories.has(shared)) {
      this.#registry.release(shared);
      return shared;
    }
    if (!this.#hasRoomFor(shared)) this.#releaseUnused();
    if (!this.#hasRoomFor(shared)) {
      this.#registry.release(shared);
      throw new VfioUserError(Errno.ENOSPC, `more than ${MAX_MEMORIES} memory descriptors or ${MAX_MEMORY_BYTES} bytes mapped`);
    }
    this.#memories.add(shared);
    return shared;
  }

  #hasRoomFor(shared: SharedMemory): boolean {
    let bytes = shared.byteLength;
    for (const other of this.#memories) bytes += other.byteLength;
    return this.#memories.size < MAX_MEMORIES && bytes <= MAX_MEMORY_BYTES;
  }

  #releaseUnused(): void {
    for (const shared of this.#memories) {
      if (this.#ranges.some((range) => range.shared === shared)) continue;
      this.#memories.delete(shared);
      this.#registry.release(shared);
    }
  }
}

const invalid = (message: string): VfioUserError => new VfioUserError(Errno.EINVAL, message);
