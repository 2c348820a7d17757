// Memory that the device can reach: what takes the place of malloc.

import type { DmaBlock } from "../driver/dma-heap.ts";
import type { Context } from "./context.ts";
import { asVerb } from "./error.ts";
import { VerbsObject } from "./object.ts";

/** A run of whole 4 KiB pages, zeroed. Register it with `pd.regMr` before the device may use it. */
export class DmaMemory extends VerbsObject {
  /** The bytes, `length` of them. */
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Bytes asked for. */
  readonly length: number;
  /** @internal */
  readonly block: DmaBlock;
  readonly #context: Context;

  /** Use `context.allocMemory`. */
  constructor(context: Context, length: number) {
    super([context]);
    const { device } = context;
    this.#context = context;
    this.length = length;
    this.block = asVerb(() => device.heap.allocate(length));
    const { memory } = device.access;
    this.bytes = memory.bytes.subarray(this.block.at, this.block.at + length);
    this.view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset + this.block.at, length);
    this.holdOwners();
  }

  get label(): string {
    return `memory of ${this.length} bytes`;
  }

  /** Where it lies for the device: the address of a region made of it, unless that says otherwise. */
  get addr(): number {
    return this.block.dmaAddress;
  }

  protected release(): void {
    this.#context.device.heap.free(this.block);
  }
}
