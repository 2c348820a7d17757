// Registering memory. Docs "infinihost" 4.5, 3.4.

import { Command } from "../spec/hca/commands.ts";
import { Access, Mpt } from "../spec/hca/contexts.ts";
import type { Device } from "./device.ts";
import { type DmaBlock, PAGE_BYTES } from "./dma-heap.ts";

export interface RegionOptions {
  pd: number;
  /** Bits of `Access`; local read is always granted. */
  access: number;
  /** Virtual address of the first byte; the DMA address of the block by default. */
  virtualAddress?: bigint;
  /** Bytes; the whole block by default. */
  length?: number;
  /** Bytes of each page, a power of two ≥ 4096. */
  pageBytes?: number;
}

/** A registered region, until `deregister`. */
export class Region {
  readonly device: Device;
  readonly block: DmaBlock;
  readonly lkey: number;
  readonly rkey: number;
  readonly virtualAddress: bigint;
  readonly length: number;
  /** Index of its entry in the memory protection table. */
  readonly index: number;
  readonly #mtt: { address: number; count: number };

  constructor(device: Device, block: DmaBlock, options: RegionOptions) {
    const pageBytes = options.pageBytes ?? PAGE_BYTES;
    this.device = device;
    this.block = block;
    this.virtualAddress = options.virtualAddress ?? BigInt(block.dmaAddress);
    this.length = options.length ?? block.bytes;
    const count = Math.ceil(block.bytes / pageBytes);
    this.#mtt = { address: device.icm.writeMttRun(block.dmaAddress, pageBytes, count), count };
    this.index = device.mptIndexes.allocate();
    const key = this.index;
    this.lkey = ((key << 8) | (key >>> 24)) >>> 0;
    this.rkey = this.lkey;
    device.commands.run(Command.SW2HW_MPT, {
      modifier: this.index,
      input: (view, at) => {
        view.setUint32(at, 0xf0000000 | (options.access & ~0x1ff) | Access.LOCAL_READ, false);
        Mpt.region.set(view, at, 1);
        Mpt.logPageSize.set(view, at, Math.log2(pageBytes) - 12);
        Mpt.key.set(view, at, key);
        Mpt.pd.set(view, at, options.pd);
        Mpt.start.setBig(view, at, this.virtualAddress);
        Mpt.length.setBig(view, at, BigInt(this.length));
        Mpt.mttAddress.setBig(view, at, BigInt(this.#mtt.address));
      },
    });
  }

  /** ICM address of its first MTT entry. */
  get mttAddress(): number {
    return this.#mtt.address;
  }

  deregister(): void {
    this.device.commands.run(Command.HW2SW_MPT, { modifier: this.index, opcodeModifier: 1 });
    this.device.icm.freeMtts(this.#mtt.address, this.#mtt.count);
    this.device.mptIndexes.free(this.index);
  }
}
