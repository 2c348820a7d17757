// Ringing doorbells: two stores to the UAR page if it is mapped, a call otherwise. Docs "infinihost" 5.1.

import type { DeviceAccess } from "./access.ts";

/** One doorbell of one UAR page. */
export class Doorbell {
  readonly #access: DeviceAccess;
  readonly #page: number;
  readonly #offset: number;
  readonly #view: DataView | undefined;

  constructor(access: DeviceAccess, page: number, offset: number) {
    this.#access = access;
    this.#page = page;
    this.#offset = offset;
    this.#view = access.uarPage(page)?.view;
  }

  /** Stores both dwords, the high one first. */
  ring(hi: number, lo: number): void {
    const view = this.#view;
    if (view === undefined) {
      this.#access.writeDoorbell(this.#page, this.#offset, hi >>> 0, lo >>> 0);
      return;
    }
    view.setInt32(this.#offset, hi, false);
    view.setInt32(this.#offset + 4, lo, false);
  }
}
