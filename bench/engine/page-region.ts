// A memory region made of any pages in any order, as a program's memory is that has been in use for a while. The driver's own
// regions are contiguous. Docs "infinihost" 4.5, 3.4.

import type { Device } from "../../src/driver/device.ts";
import { PAGE_BYTES } from "../../src/driver/dma-heap.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, Mpt } from "../../src/spec/hca/contexts.ts";

export const ALL_ACCESS = Access.LOCAL_READ | Access.LOCAL_WRITE | Access.REMOTE_READ | Access.REMOTE_WRITE;
const MPT_HEAD = 0xf0000000;
const START = 0x10_0000_0000;

export class PageRegion {
  readonly device: Device;
  readonly pd: number;
  readonly access = ALL_ACCESS;
  /** Virtual address of the first byte. */
  readonly start = START;
  readonly length: number;
  readonly index: number;
  /** lkey and rkey. */
  readonly key: number;
  /** ICM address of the first MTT entry. */
  readonly mttAddress: number;
  /** DMA addresses of the pages. */
  readonly pages: readonly number[];

  /** Registers `pages` (DMA addresses) as one range for local and remote reads and writes. */
  constructor(device: Device, pd: number, pages: readonly number[]) {
    this.device = device;
    this.pd = pd;
    this.pages = pages;
    this.length = pages.length * PAGE_BYTES;
    this.mttAddress = device.icm.writeMtts(pages);
    this.index = device.mptIndexes.allocate();
    this.key = ((this.index << 8) | (this.index >>> 24)) >>> 0;
    device.commands.run(Command.SW2HW_MPT, { modifier: this.index, input: (view, at) => this.#fill(view, at) });
  }

  /** Where byte `offset` of the region lies in the guest's memory. */
  placeOf(offset: number): number {
    const page = this.pages[Math.floor(offset / PAGE_BYTES)];
    if (page === undefined) throw new Error(`invariant: byte ${offset} of a region of ${this.length}`);
    return page - this.device.access.dmaBase + (offset % PAGE_BYTES);
  }

  #fill(view: DataView, at: number): void {
    view.setUint32(at, (MPT_HEAD | this.access) >>> 0, false);
    Mpt.region.set(view, at, 1);
    Mpt.key.set(view, at, this.index);
    Mpt.pd.set(view, at, this.pd);
    Mpt.start.setBig(view, at, BigInt(this.start));
    Mpt.length.setBig(view, at, BigInt(this.length));
    Mpt.mttAddress.setBig(view, at, BigInt(this.mttAddress));
  }
}

/** DMA addresses of the pages of fresh memory, in ascending order. */
export function newPages(device: Device, bytes: number): number[] {
  const block = device.heap.allocate(bytes);
  return Array.from({ length: block.bytes / PAGE_BYTES }, (_, i) => block.dmaAddress + i * PAGE_BYTES);
}

/** The same elements in an order that depends on `seed` alone. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const order = [...items];
  let state = seed >>> 0;
  for (let i = order.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = (state >>> 8) % (i + 1);
    const [a, b] = [order[i] as T, order[j] as T];
    order[i] = b;
    order[j] = a;
  }
  return order;
}
