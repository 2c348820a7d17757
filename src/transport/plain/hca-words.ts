// What one HCA has in the window besides its guest's memory: its table of known pages, and the words of its queues.

import type { Memory } from "../../base/bytes.ts";
import { OUTSIDE } from "../../base/bytes.ts";
import type { Window } from "../../base/window.ts";
import type { RegionTable } from "../memory.ts";
import * as Layout from "./layout.ts";

const PAGE_BYTES = 4096;

export class HcaWords {
  readonly window: Window;
  /** Number of its region table among those that compiled requests ask. */
  readonly table: number;
  /** Begins with the table of known pages. */
  readonly memory: Memory;
  /** Of the regions, when ranges and regions were written down. */
  #generation = -1;
  readonly #pages: number[] = [];
  readonly #free: number[] = [];

  private constructor(window: Window, table: number, memory: Memory) {
    this.window = window;
    this.table = table;
    this.memory = memory;
    this.#addPage(this.#firstPage);
  }

  /** Undefined if the window has no room. */
  static take(window: Window, table: number): HcaWords | undefined {
    const at = window.take(Layout.HCA_BYTES + PAGE_BYTES);
    if (at === OUTSIDE) return undefined;
    const memory = window.memoryAt(at, Layout.HCA_BYTES);
    // What others had there before must not be taken for translations.
    memory.words.fill(0);
    return new HcaWords(window, table, memory);
  }

  /** Forgets what may have become wrong, and writes down where guest memory is. */
  refresh(regions: RegionTable): void {
    if (this.#generation === regions.generation) return;
    this.#generation = regions.generation;
    const { words } = this.memory;
    words.fill(0, Layout.HCA_REGIONS >> 2);
    const ranges = regions.dma.windowRanges(Layout.RANGE_ENTRIES);
    for (const [i, { firstPfn, pages, windowAt, writable }] of ranges.entries()) {
      const at = (Layout.HCA_RANGES + (i << Layout.LOG_RANGE_BYTES)) >> 2;
      words[at + (Layout.RANGE_FIRST >> 2)] = firstPfn;
      words[at + (Layout.RANGE_PAGES >> 2)] = pages;
      words[at + (Layout.RANGE_WINDOW >> 2)] = windowAt;
      words[at + (Layout.RANGE_IS_WRITABLE >> 2)] = writable ? 1 : 0;
    }
  }

  /** Writes a region down for the program. False if its key names none, or one that the program cannot walk. */
  describeRegion(regions: RegionTable, key: number): boolean {
    const entry = (key ^ (key >>> 8)) & (Layout.REGION_ENTRIES - 1);
    return regions.describe(key, this.memory.words, (Layout.HCA_REGIONS + (entry << Layout.LOG_REGION_BYTES)) >> 2);
  }

  /** Offset of the words of one more queue; OUTSIDE if there is no room. */
  takeQueue(): number {
    if (this.#free.length === 0) {
      const page = this.window.take(PAGE_BYTES);
      if (page === OUTSIDE) return OUTSIDE;
      this.#pages.push(page);
      this.#addPage(page);
    }
    return this.#free.pop()!;
  }

  #addPage(page: number): void {
    for (let at = page + PAGE_BYTES - Layout.QUEUE_BYTES; at >= page; at -= Layout.QUEUE_BYTES) this.#free.push(at);
  }

  /** The page behind the tables: low addresses are small integers, which are faster. */
  get #firstPage(): number {
    return (this.memory.windowAt >>> 0) + Layout.HCA_BYTES;
  }

  giveQueue(at: number): void {
    this.#free.push(at);
  }

  /** All queues are gone. */
  clear(): void {
    for (const page of this.#pages) this.window.give(page, PAGE_BYTES);
    this.#pages.length = 0;
    this.#free.length = 0;
    this.#addPage(this.#firstPage);
  }

  /** The HCA is gone. */
  giveBack(): void {
    this.clear();
    this.window.give(this.memory.windowAt >>> 0, Layout.HCA_BYTES + PAGE_BYTES);
  }
}
