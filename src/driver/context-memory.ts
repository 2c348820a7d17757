// The driver's side of ICM: where tables lie, which pages back them, MTT entries and doorbell records. The layout is the
// driver's choice (docs "infinihost" 3.2); only MTTs and doorbell records are ever read by the device.

import { Command, MAP_ENTRIES_MAX, MapEntry } from "../spec/hca/commands.ts";
import { MTT_BYTES, MTT_PRESENT } from "../spec/hca/contexts.ts";
import { DB_RECORD_BYTES, DB_RECORDS_PER_PAGE } from "../spec/hca/registers.ts";
import { type DeviceAccess, DriverError } from "./access.ts";
import type { CommandPort } from "./command-port.ts";
import { type DmaBlock, type DmaHeap, PAGE_BYTES } from "./dma-heap.ts";

/** Pages of one UAR's doorbell records, 2^6 as Linux has it. */
export const LOG_UARC_PAGES = 6;
const UARC_BYTES = PAGE_BYTES << LOG_UARC_PAGES;

export class ContextMemory {
  readonly mttBase: number;
  readonly uarcBase: number;
  readonly #access: DeviceAccess;
  readonly #heap: DmaHeap;
  readonly #commands: CommandPort;
  readonly #mttCount: number;
  readonly #mttUsed: Uint8Array;
  /** ICM page → the block behind it. */
  readonly #pages = new Map<number, DmaBlock>();
  /** Records in use, by ICM address. */
  readonly #records = new Set<number>();

  constructor(access: DeviceAccess, heap: DmaHeap, commands: CommandPort, uars: number, mttCount: number) {
    this.#access = access;
    this.#heap = heap;
    this.#commands = commands;
    this.uarcBase = 0;
    this.mttBase = uars * UARC_BYTES;
    this.#mttCount = mttCount;
    this.#mttUsed = new Uint8Array(mttCount);
  }

  /** End of the tables: what SET_ICM_SIZE is told. */
  get bytes(): number {
    return this.mttBase + this.#mttCount * MTT_BYTES;
  }

  /**
   * Writes MTT entries for `count` pages of `pageBytes` that follow each other, the first at DMA address `first`.
   * @returns the ICM address of the first entry
   */
  writeMttRun(first: number, pageBytes: number, count: number): number {
    const index = this.#takeMtts(count);
    const { view } = this.#access.memory;
    let address = this.mttBase + index * MTT_BYTES;
    for (let done = 0; done < count; ) {
      const inPage = address % PAGE_BYTES;
      const some = Math.min(count - done, (PAGE_BYTES - inPage) / MTT_BYTES);
      const at = this.#locate(address);
      for (let i = 0; i < some; i++) {
        const page = first + (done + i) * pageBytes;
        view.setInt32(at + i * MTT_BYTES, Math.floor(page / 2 ** 32), false);
        view.setInt32(at + i * MTT_BYTES + 4, page | MTT_PRESENT, false);
      }
      done += some;
      address += some * MTT_BYTES;
    }
    return this.mttBase + index * MTT_BYTES;
  }

  /** Writes `pages` (DMA addresses) to consecutive MTT entries; returns the ICM address of the first. */
  writeMtts(pages: readonly number[]): number {
    const index = this.#takeMtts(pages.length);
    pages.forEach((page, i) => {
      const at = this.#locate(this.mttBase + (index + i) * MTT_BYTES);
      this.#access.memory.view.setUint32(at, Math.floor(page / 2 ** 32), false);
      this.#access.memory.view.setUint32(at + 4, (page % 2 ** 32) | MTT_PRESENT, false);
    });
    return this.mttBase + index * MTT_BYTES;
  }

  /** Takes entries, and maps the pages they lie on with as few commands as that takes. */
  #takeMtts(count: number): number {
    const first = this.#findMtts(count);
    this.#mttUsed.fill(1, first, first + count);
    const firstPage = Math.floor((this.mttBase + first * MTT_BYTES) / PAGE_BYTES);
    const lastPage = Math.floor((this.mttBase + (first + count) * MTT_BYTES - 1) / PAGE_BYTES);
    let missing: (readonly [page: number, block: DmaBlock])[] = [];
    for (let page = firstPage; page <= lastPage; page++) {
      if (!this.#pages.has(page)) missing.push([page, this.#heap.allocate(PAGE_BYTES)]);
      if (missing.length < MAP_ENTRIES_MAX && page < lastPage) continue;
      if (missing.length > 0) this.#map(missing);
      missing = [];
    }
    return first;
  }

  /** Where the MTT entry at an ICM address lies in the driver's memory. */
  mttAt(address: number): number {
    return this.#locate(address);
  }

  freeMtts(address: number, count: number): void {
    const first = (address - this.mttBase) / MTT_BYTES;
    this.#mttUsed.fill(0, first, first + count);
  }

  /** A free doorbell record of a UAR: `up` for SQ and CQ-arm records, which grow from the start, else from the end. */
  allocateRecord(uar: number, up: boolean): DoorbellRecordSlot {
    const total = DB_RECORDS_PER_PAGE << LOG_UARC_PAGES;
    for (let i = 0; i < total; i++) {
      const index = up ? i : total - 1 - i;
      const address = this.uarcBase + uar * UARC_BYTES + index * DB_RECORD_BYTES;
      if (this.#records.has(address)) continue;
      this.#records.add(address);
      return { index, address, at: this.#locate(address) };
    }
    throw new DriverError("ENOMEM", `UAR ${uar}: no free doorbell record`);
  }

  freeRecord(slot: DoorbellRecordSlot): void {
    this.#access.memory.bytes.fill(0, slot.at, slot.at + DB_RECORD_BYTES);
    this.#records.delete(slot.address);
  }

  /** Unmaps everything (after CLOSE_HCA). */
  release(): void {
    for (const [page, block] of this.#pages) {
      const address = page * PAGE_BYTES;
      this.#commands.run(Command.UNMAP_ICM, {
        modifier: 1,
        inputValue: { hi: Math.floor(address / 2 ** 32), lo: address % 2 ** 32 },
      });
      this.#heap.free(block);
    }
    this.#pages.clear();
  }

  #findMtts(count: number): number {
    let run = 0;
    for (let i = 0; i < this.#mttCount; i++) {
      run = this.#mttUsed[i] === 0 ? run + 1 : 0;
      if (run === count) return i - count + 1;
    }
    throw new DriverError("ENOMEM", `MTT table: no ${count} consecutive entries free`);
  }

  /** Offset in DMA memory of an ICM byte; maps the page on first use. */
  #locate(address: number): number {
    const page = Math.floor(address / PAGE_BYTES);
    let block = this.#pages.get(page);
    if (block === undefined) {
      block = this.#heap.allocate(PAGE_BYTES);
      this.#map([[page, block]]);
    }
    return block.at + (address % PAGE_BYTES);
  }

  #map(entries: readonly (readonly [page: number, block: DmaBlock])[]): void {
    if (entries.length > MAP_ENTRIES_MAX) throw new Error("invariant: too many ICM pages in one command");
    this.#commands.run(Command.MAP_ICM, {
      modifier: entries.length,
      input: (view, at) => {
        entries.forEach(([page, block], i) => {
          MapEntry.icmAddress.setBig(view, at + i * MapEntry.byteLength, BigInt(page * PAGE_BYTES));
          MapEntry.dmaAddress.setBig(view, at + i * MapEntry.byteLength, BigInt(block.dmaAddress));
        });
      },
    });
    for (const [page, block] of entries) this.#pages.set(page, block);
  }
}

/** A doorbell record: its index in the UAR, its ICM address, and where it lies in DMA memory. */
export interface DoorbellRecordSlot {
  readonly index: number;
  readonly address: number;
  readonly at: number;
}
