// Where the contexts of an HCA's queue pairs lie: blocks of many, since an ArrayBuffer for each would cost more than the context.

import { QpContext } from "../spec/hca/contexts.ts";

const BLOCK_CONTEXTS = 64;

export class ContextStore {
  readonly #blocks: DataView[] = [];
  /** Places given back, to be used again. */
  readonly #free: number[] = [];
  #used = 0;

  /** Takes a place; it may hold an old context. */
  allocate(): number {
    const place = this.#free.pop() ?? this.#used++;
    const block = Math.floor(place / BLOCK_CONTEXTS);
    this.#blocks[block] ??= new DataView(new ArrayBuffer(BLOCK_CONTEXTS * QpContext.byteLength));
    return place;
  }

  release(place: number): void {
    this.#free.push(place);
  }

  /** The view that holds a place, and where in it the context starts. */
  view(place: number): DataView {
    return this.#blocks[Math.floor(place / BLOCK_CONTEXTS)]!;
  }

  at(place: number): number {
    return (place % BLOCK_CONTEXTS) * QpContext.byteLength;
  }

  clear(): void {
    this.#blocks.length = 0;
    this.#free.length = 0;
    this.#used = 0;
  }
}
