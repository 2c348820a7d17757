// Page-grained allocation of DMA memory: first fit over a bitmap. Small and predictable; the driver allocates rarely.

import { type DeviceAccess, DriverError } from "./access.ts";

export const PAGE_BYTES = 4096;

/** A run of whole pages. */
export interface DmaBlock {
  /** Offset in the access's memory. */
  readonly at: number;
  readonly bytes: number;
  /** Address the device uses. */
  readonly dmaAddress: number;
}

export class DmaHeap {
  readonly #access: DeviceAccess;
  readonly #used: Uint8Array;

  constructor(access: DeviceAccess) {
    this.#access = access;
    this.#used = new Uint8Array(Math.floor(access.memory.bytes.length / PAGE_BYTES));
  }

  /** Pages not handed out. */
  get freePages(): number {
    return this.#used.reduce((sum, used) => sum + (used === 0 ? 1 : 0), 0);
  }

  /** Zeroed memory of at least `bytes`, aligned to a page, or to `align` bytes if that is more. */
  allocate(bytes: number, align = PAGE_BYTES): DmaBlock {
    const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
    const step = Math.max(1, align / PAGE_BYTES);
    for (let first = 0; first + pages <= this.#used.length; ) {
      const taken = this.#lastTaken(first, pages);
      if (taken < 0) return this.#take(first, pages);
      first = Math.ceil((taken + 1) / step) * step;
    }
    throw new DriverError("ENOMEM", `DMA memory: no ${pages} contiguous pages left of ${this.#used.length}`);
  }

  free(block: DmaBlock): void {
    this.#used.fill(0, block.at / PAGE_BYTES, (block.at + block.bytes) / PAGE_BYTES);
  }

  #take(first: number, pages: number): DmaBlock {
    this.#used.fill(1, first, first + pages);
    const at = first * PAGE_BYTES;
    const bytes = pages * PAGE_BYTES;
    this.#access.memory.bytes.fill(0, at, at + bytes);
    return { at, bytes, dmaAddress: this.#access.dmaBase + at };
  }

  /** The last page of a run that is not free; -1 if all are. */
  #lastTaken(first: number, pages: number): number {
    for (let i = first + pages - 1; i >= first; i--) if (this.#used[i] !== 0) return i;
    return -1;
  }
}
