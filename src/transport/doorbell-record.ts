// One doorbell record of the UAR context: 8 bytes of guest memory that only the driver writes. Docs "infinihost" 3.5, P-8.

import { loadBig32, type Memory, OUTSIDE } from "../base/bytes.ts";
import type { Icm } from "./icm.ts";

/** Reads one record; the place is found once and kept until ICM or DMA maps change. */
export class DoorbellRecord {
  readonly #icm: Icm;
  readonly #page: number;
  readonly #offset: number;
  #memory: Memory;
  #at = 0;
  #generation = -1;

  /** The record at byte `offset` (a multiple of 8) of ICM page `page`. */
  constructor(icm: Icm, page: number, offset: number) {
    this.#icm = icm;
    this.#page = page;
    this.#offset = offset;
    this.#memory = icm.dma.memory;
  }

  /** First dword, or -1 while no memory backs the record (a consumer index of -1 is then indistinguishable: see `isBacked`). */
  first(): number {
    return this.#locate() ? loadBig32(this.#memory, this.#at) : -1;
  }

  /** Second dword, or 0 while no memory backs the record. */
  second(): number {
    return this.#locate() ? loadBig32(this.#memory, this.#at + 4) : 0;
  }

  /** Count of posted WQEs modulo 2^16, or `fallback` while no memory backs the record. */
  counter(fallback: number): number {
    return this.#locate() ? loadBig32(this.#memory, this.#at) & 0xffff : fallback;
  }

  /** Where in the window the record is, a multiple of 4 as int32; 0 if it does not lie there. */
  windowAt(): number {
    // INIT_HCA takes any base, and compiled code reads aligned words only.
    if (!this.#locate() || this.#memory.windowAt === OUTSIDE || (this.#at & 3) !== 0) return 0;
    return (this.#memory.windowAt + this.#at) | 0;
  }

  isBacked(): boolean {
    return this.#locate();
  }

  #locate(): boolean {
    const { generation } = this.#icm.dma;
    if (this.#generation === generation) return true;
    if (!this.#icm.locate(this.#page, this.#offset)) return false;
    this.#memory = this.#icm.dma.memory;
    this.#at = this.#icm.dma.at;
    this.#generation = generation;
    return true;
  }
}
