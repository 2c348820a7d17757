// Registered memory. IBA vol 1, 10.6.

import { PAGE_BYTES } from "../driver/dma-heap.ts";
import { Region } from "../driver/memory-region.ts";
import { deviceAccess } from "./access-flag.ts";
import type { DmaMemory } from "./dma-memory.ts";
import { asVerb, VerbsError } from "./error.ts";
import { VerbsObject } from "./object.ts";
import type { ProtectionDomain } from "./protection-domain.ts";

export interface RegionOptions {
  /** First byte of the memory that belongs to the region; 0 if left out. */
  readonly offset?: number;
  /** Bytes; up to the end of the memory if left out. */
  readonly length?: number;
  /** Address of the first byte, as work requests will name it: its place in a page must be that of `offset`. */
  readonly iova?: bigint;
}

export class MemoryRegion extends VerbsObject {
  readonly pd: ProtectionDomain;
  readonly memory: DmaMemory;
  /** The registered bytes. */
  readonly bytes: Buffer;
  /** Address of the first byte; exact below 2^53, else use `iova`. */
  readonly addr: number;
  readonly iova: bigint;
  readonly length: number;
  readonly #region: Region;

  /** Use `pd.regMr`. */
  constructor(pd: ProtectionDomain, memory: DmaMemory, access: number, options: RegionOptions) {
    super([pd, memory]);
    const { offset = 0 } = options;
    const { length = memory.length - offset } = options;
    if (!(offset >= 0 && length > 0 && offset + length <= memory.length)) {
      throw new VerbsError("EINVAL", `region of ${length} bytes at ${offset}: outside ${memory.label}`);
    }
    this.pd = pd;
    this.memory = memory;
    this.length = length;
    this.bytes = memory.bytes.subarray(offset, offset + length);
    this.iova = options.iova ?? BigInt(memory.addr + offset);
    this.addr = Number(this.iova);
    if (Number(this.iova & BigInt(PAGE_BYTES - 1)) !== offset % PAGE_BYTES) {
      throw new VerbsError(
        "EINVAL",
        `iova 0x${this.iova.toString(16)}: not at byte ${offset % PAGE_BYTES} of a page, as the memory is`,
      );
    }
    const first = offset - (offset % PAGE_BYTES);
    const { block } = memory;
    const part = {
      at: block.at + first,
      bytes: Math.ceil((offset + length - first) / PAGE_BYTES) * PAGE_BYTES,
      dmaAddress: block.dmaAddress + first,
    };
    const fields = { pd: pd.number, access: deviceAccess(access), virtualAddress: this.iova, length };
    this.#region = asVerb(() => new Region(pd.context.device, part, fields));
    this.holdOwners();
  }

  get label(): string {
    return `MR 0x${this.lkey.toString(16)}`;
  }

  get lkey(): number {
    return this.#region.lkey;
  }

  get rkey(): number {
    return this.#region.rkey;
  }

  protected release(): void {
    asVerb(() => this.#region.deregister());
  }
}
