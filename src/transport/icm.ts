// InfiniHost context memory: the HCA's private address space, whose pages the driver backs with guest memory by MAP_ICM.
// Two of its areas are read by the device: MTTs and doorbell records. Docs "infinihost" 3.1, 3.4, 3.5, P-13.

import { type AddressSpace, PAGE_BYTES } from "../base/address-space.ts";
import { OUTSIDE } from "../base/bytes.ts";

/** Most ICM pages a driver may map or name: 16 GiB of address space, 26 times what Linux uses by default. */
export const ICM_PAGES_MAX = 1 << 22;
const UNMAPPED = -1;

/** ICM page → DMA page. `locate` leaves its answer in the fields of the address space. */
export class Icm {
  readonly dma: AddressSpace;
  /** Pages mapped at the moment. */
  mappedPages = 0;
  #pages = new Int32Array(0);

  constructor(dma: AddressSpace) {
    this.dma = dma;
  }

  /** True if `map` would accept the range. */
  canMap(firstPage: number, firstPfn: number, count: number): boolean {
    return firstPage + count <= ICM_PAGES_MAX && firstPfn + count <= 0x7fffffff;
  }

  /**
   * Backs `count` pages from ICM page `firstPage` with the DMA pages from `firstPfn`; the newest map of a page wins.
   * @returns false if the range lies outside what this device can address.
   */
  map(firstPage: number, firstPfn: number, count: number): boolean {
    if (!this.canMap(firstPage, firstPfn, count)) return false;
    this.#grow(firstPage + count);
    for (let i = 0; i < count; i++) {
      if (this.#pages[firstPage + i] === UNMAPPED) this.mappedPages++;
      this.#pages[firstPage + i] = firstPfn + i;
    }
    this.dma.generation++;
    return true;
  }

  /** Forgets `count` pages; pages that were not mapped are no error (the driver names more than it mapped). */
  unmap(firstPage: number, count: number): void {
    const end = Math.min(firstPage + count, this.#pages.length);
    for (let page = firstPage; page < end; page++) {
      if (this.#pages[page] !== UNMAPPED) this.mappedPages--;
      this.#pages[page] = UNMAPPED;
    }
    this.dma.generation++;
  }

  clear(): void {
    this.#pages = new Int32Array(0);
    this.mappedPages = 0;
    this.dma.generation++;
  }

  /** Finds the byte at `offset` of ICM page `page` in guest memory; the answer is in `dma.memory`, `dma.at`, `dma.run`. */
  locate(page: number, offset: number): boolean {
    if (page >= this.#pages.length) return false;
    const pfn = this.#pages[page]!;
    return pfn !== UNMAPPED && this.dma.locatePage(pfn, offset);
  }

  /** Where in the window ICM page `page` is, as int32; 0 if it does not lie there. */
  windowAt(page: number): number {
    if (!this.locate(page, 0)) return 0;
    const { memory, at } = this.dma;
    return memory.windowAt === OUTSIDE ? 0 : (memory.windowAt + at) | 0;
  }

  #grow(pages: number): void {
    if (pages <= this.#pages.length) return;
    const size = Math.min(ICM_PAGES_MAX, Math.max(pages, this.#pages.length * 2, 1024));
    const grown = new Int32Array(size).fill(UNMAPPED);
    grown.set(this.#pages);
    this.#pages = grown;
  }
}

/** The page of a byte address in ICM (a Number below 2^38). */
export const icmPageOf = (address: number): number => Math.floor(address / PAGE_BYTES);
/** The offset of a byte address inside its ICM page. */
export const icmOffsetOf = (address: number): number => address % PAGE_BYTES;
