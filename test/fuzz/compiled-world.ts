// The compiled program alone on a small memory: two HCAs' tables, the words of one connection, two guests' pages, and marked bytes everywhere
// else, which belong to nobody it may serve. What the engine would answer comes from simple maps.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { loadPlainProgram } from "../../src/domain/plain-program.ts";
import * as Layout from "../../src/transport/plain/layout.ts";
import { instantiate, type PlainProgram } from "../../src/transport/plain/program.ts";

const PAGE = 4096;
const BYTES = 8 * 65536;
/** Static data of the program: its scratch lists and nothing else. */
const STATIC = [1024, 2048] as const;
const TABLES = [0x10000, 0x1c000] as const;
const WORDS = 0x28000;
const GUESTS = [0x30000, 0x58000] as const;
export const GUEST_PAGES = 8;
/** Nobody's. */
const MARK = 0xee;
/** So many of them in a row come from nowhere else. */
const LEAK = Buffer.alloc(16, MARK);
const TABLE_PAGE = 7;

/** What `describeRegion` writes down. */
export interface LoneRegion {
  rights: number;
  start: bigint;
  length: bigint;
  mtt: number;
  logPage: number;
}

/** One guest with its HCA. */
export class LoneGuest {
  readonly at: number;
  readonly tables: number;
  readonly bytes: Buffer;
  /** First page frame of its memory. */
  firstPfn = 0;
  /** Pages from there that may not be written. */
  readOnlyPages = 0;
  pd = 1;
  /** By key; a key without one cannot be described. */
  readonly regions = new Map<number, LoneRegion>();
  /** By key: where in a page a region begins and ends, as `translate` writes it down, and the access it grants. */
  readonly pages = new Map<number, { begin: number; end: number; access: number }>();

  constructor(memory: Buffer, number: number) {
    this.at = GUESTS[number as 0 | 1];
    this.tables = TABLES[number as 0 | 1];
    this.bytes = memory.subarray(this.at, this.at + GUEST_PAGES * PAGE);
  }

  get writableAt(): number {
    return this.at + this.readOnlyPages * PAGE;
  }

  get end(): number {
    return this.at + GUEST_PAGES * PAGE;
  }
}

const bytesOfProgram = loadPlainProgram();

export class LoneWorld {
  readonly program: PlainProgram;
  readonly guests: readonly [LoneGuest, LoneGuest];
  /** Words of queue pairs and completion queues, of both guests. */
  readonly qps = [WORDS, WORDS + 256] as const;
  readonly cqs = [WORDS + 512, WORDS + 768] as const;
  readonly list = WORDS + 1024;
  readonly view: DataView;
  readonly memory: Buffer;

  constructor() {
    assert.ok(bytesOfProgram);
    const memory = new WebAssembly.Memory({ initial: BYTES / 65536 });
    this.memory = Buffer.from(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.guests = [new LoneGuest(this.memory, 0), new LoneGuest(this.memory, 1)];
    this.program = instantiate(memory, bytesOfProgram, {
      translate: (...asked) => this.#translate(...asked),
      describeRegion: (table, key) => this.#describe(this.guests[table as 0 | 1], key),
      findIcm: (table, page) => (page < 0x10000 ? this.guests[table as 0 | 1].at + TABLE_PAGE * PAGE : 0),
    });
  }

  /** Everything marked, tables empty, guests' memory of bytes that are no marks. */
  clear(random: Random): void {
    const { memory } = this;
    memory.fill(MARK);
    memory.fill(0, 0, STATIC[1]);
    for (const guest of this.guests) {
      memory.fill(0, guest.tables, guest.tables + Layout.HCA_BYTES);
      guest.bytes.fill(random.below(MARK));
      guest.regions.clear();
      guest.pages.clear();
    }
    memory.fill(0, WORDS, WORDS + 1028);
  }

  set(words: number, offset: number, value: number): void {
    this.view.setUint32(words + offset, value >>> 0, true);
  }

  get(words: number, offset: number): number {
    return this.view.getUint32(words + offset, true);
  }

  /** Writes down where a guest's memory is. */
  describeMemory(guest: LoneGuest): void {
    const { tables, firstPfn, readOnlyPages, at } = guest;
    const ranges = [
      [firstPfn, readOnlyPages, at, 0],
      [firstPfn + readOnlyPages, GUEST_PAGES - readOnlyPages, at + readOnlyPages * PAGE, 1],
    ].filter(([, pages]) => (pages ?? 0) > 0);
    ranges.flat().forEach((word, i) => {
      this.set(tables, Layout.HCA_RANGES + 4 * i, word);
    });
  }

  /** Nothing but what the program may write has changed, and nobody has been given what is nobody's. */
  check(): void {
    const { memory } = this;
    const open = [
      STATIC,
      ...this.guests.map(({ tables }) => [tables + Layout.HCA_MTT_PAGES, tables + Layout.HCA_RANGES] as const),
      ...this.guests.map(({ tables }) => [tables, tables + Layout.HCA_BYTES] as const),
      [WORDS, WORDS + 1028] as const,
      ...this.guests.map((guest) => [guest.at, guest.end] as const),
    ].sort(([a], [b]) => a - b);
    let from: number = STATIC[1];
    for (const [start, end] of [...open, [BYTES, BYTES] as const]) {
      if (start > from) assert.ok(isMarked(memory, from, start), `something was written between ${from} and ${start}`);
      from = Math.max(from, end);
    }
    for (const { bytes } of this.guests) assert.equal(bytes.indexOf(LEAK), -1, "bytes of nobody in a guest's memory");
  }

  #translate(table: number, key: number, pd: number, access: number, hi: number, lo: number, length: number): boolean {
    const guest = this.guests[table as 0 | 1];
    const kept = guest.pages.get(key);
    const inPage = lo & (PAGE - 1);
    if (kept === undefined || pd !== guest.pd || (kept.access & access) !== access) return false;
    if (inPage < kept.begin || inPage + length > kept.end) return false;
    const page = (lo >>> 12) % GUEST_PAGES;
    // Only pages that may be written are known (RegionTable).
    if (page < guest.readOnlyPages) return false;
    const entry = guest.tables + (((lo >>> 12) ^ (key >>> 8) ^ (key << 3)) & (Layout.TLB_ENTRIES - 1)) * 32;
    this.set(entry, Layout.TLB_KEY, key);
    this.set(entry, Layout.TLB_HI, hi);
    this.set(entry, Layout.TLB_PAGE, lo >>> 12);
    this.set(entry, Layout.TLB_RIGHTS, (pd << 5) | (access >>> 10));
    this.set(entry, Layout.TLB_WINDOW, guest.at + page * PAGE);
    this.set(entry, Layout.TLB_BOUNDS, (kept.begin << 16) | kept.end);
    this.set(entry, Layout.TLB_GENERATION, 1);
    return true;
  }

  #describe(guest: LoneGuest, key: number): boolean {
    const region = guest.regions.get(key);
    if (region === undefined) return false;
    const slot = (key ^ (key >>> 8)) & (Layout.REGION_ENTRIES - 1);
    const at = guest.tables + Layout.HCA_REGIONS + (slot << Layout.LOG_REGION_BYTES);
    this.set(at, Layout.REGION_KEY, key);
    this.set(at, Layout.REGION_RIGHTS, region.rights);
    this.view.setBigUint64(at + Layout.REGION_START, region.start, true);
    this.view.setBigUint64(at + Layout.REGION_LENGTH, region.length, true);
    this.set(at, Layout.REGION_MTT, region.mtt);
    this.set(at, Layout.REGION_LOG_PAGE, region.logPage);
    return true;
  }
}

const marks = Buffer.alloc(BYTES, MARK);
const isMarked = (memory: Buffer, from: number, end: number): boolean => memory.compare(marks, 0, end - from, from, end) === 0;
