// Ringing doorbells: two stores to the UAR page if it is mapped, a call otherwise. Docs "infinihost" 5.1.

import { type Memory, storeBig32 } from "../base/bytes.ts";
import type { DeviceAccess } from "./access.ts";

/** One doorbell of one UAR page. */
export class Doorbell {
  readonly #access: DeviceAccess;
  readonly #page: number;
  readonly #offset: number;
  readonly #memory: Memory | undefined;

  constructor(access: DeviceAccess, page: number, offset: number) {
    this.#access = access;
    this.#page = page;
    this.#offset = offset;
    this.#memory = access.uarPage(page);
  }

  /** Stores both dwords, the high one first. */
  ring(hi: number, lo: number): void {
    const memory = this.#memory;
    if (memory === undefined) {
      this.#access.writeDoorbell(this.#page, this.#offset, hi >>> 0, lo >>> 0);
      return;
    }
    storeBig32(memory, this.#offset, hi);
    storeBig32(memory, this.#offset + 4, lo);
  }
}
