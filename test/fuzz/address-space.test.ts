// DMA addresses, ICM and memory regions against a model that knows one thing only: which byte of which memory an address means,
// in a map of pages. Maps, unmaps, overlaps, the ends of 2^32, of 8 TiB and of 2^64, chains of MTTs; every answer must be equal.

import assert from "node:assert/strict";
import { AddressSpace, PAGE_BYTES } from "../../src/base/address-space.ts";
import { type Memory, newMemory } from "../../src/base/bytes.ts";
import type { Random } from "../../src/base/random.ts";
import { Icm } from "../../src/transport/icm.ts";
import { Cursor, type MemoryRegion, RegionTable } from "../../src/transport/memory.ts";
import { fuzz } from "./kit.ts";

const PAGE = BigInt(PAGE_BYTES);
const MEMORY_PAGES = 32;
const TIB8 = 2n ** 43n;
const STEPS = 60;
const LOOKUPS = 20;
/** Where maps begin: around these pages things go wrong if they go wrong. */
const CORNERS = [0n, 2n ** 32n / PAGE - 8n, 2n ** 31n - 8n, 2n ** 30n, 4096n];

/** Page number → the byte of a memory where the page begins. The truth. */
type Pages = Map<bigint, { memory: Memory; at: number; writable: boolean; range: number }>;

class Model {
  readonly pages: Pages = new Map();
  #ranges = 0;

  map(first: bigint, count: number, memory: Memory, offset: number, writable: boolean): boolean {
    const wanted = Array.from({ length: count }, (_, i) => first + BigInt(i));
    if (count === 0 || wanted.some((page) => this.pages.has(page) || page * PAGE >= TIB8)) return false;
    if (offset + count * PAGE_BYTES > memory.bytes.length) return false;
    const range = this.#ranges++;
    wanted.forEach((page, i) => {
      this.pages.set(page, { memory, at: offset + i * PAGE_BYTES, writable, range });
    });
    return true;
  }

  /** Ranges wholly inside go; returns bytes. */
  unmap(first: bigint, count: number): number {
    const isInside = (page: bigint): boolean => page >= first && page < first + BigInt(count);
    const partly = new Set([...this.pages].filter(([page]) => !isInside(page)).map(([, { range }]) => range));
    const gone = [...this.pages].filter(([, { range }]) => !partly.has(range));
    for (const [page] of gone) this.pages.delete(page);
    return gone.length * PAGE_BYTES;
  }

  locate(address: bigint): { memory: Memory; at: number; run: number; writable: boolean } | undefined {
    const found = this.pages.get(address / PAGE);
    if (found === undefined) return undefined;
    let run = PAGE_BYTES - Number(address % PAGE);
    for (let page = address / PAGE + 1n; this.pages.get(page)?.range === found.range; page++) run += PAGE_BYTES;
    return { memory: found.memory, at: found.at + Number(address % PAGE), run, writable: found.writable };
  }
}

/** What the model takes from a region. */
type Described = Pick<MemoryRegion, "key" | "isPhysical" | "mttAddress">;

const hiOf = (address: bigint): number => Number((address >> 32n) & 0xffffffffn);
const loOf = (address: bigint): number => Number(address & 0xffffffffn);

class World {
  readonly random: Random;
  readonly memories = [newMemory(MEMORY_PAGES * PAGE_BYTES), newMemory(MEMORY_PAGES * PAGE_BYTES)];
  readonly model = new Model();
  readonly space = new AddressSpace(newMemory(8));
  readonly icm = new Icm(this.space);
  readonly table = new RegionTable(this.space, this.icm);
  /** ICM page → DMA page. */
  readonly icmPages = new Map<number, bigint>();

  constructor(random: Random) {
    this.random = random;
    this.table.reset(6);
  }

  anyPage(): bigint {
    const { random, model } = this;
    if (model.pages.size > 0 && random.chance(0.6)) return random.pick([...model.pages.keys()]) + BigInt(random.below(3) - 1);
    return random.pick(CORNERS) + BigInt(random.below(24));
  }

  anyAddress(): bigint {
    const page = BigInt.asUintN(52, this.anyPage());
    const inPage = this.random.pick([0, 1, PAGE_BYTES - 1, this.random.below(PAGE_BYTES)]);
    return this.random.chance(0.05) ? 2n ** 64n - 1n - BigInt(this.random.below(9000)) : page * PAGE + BigInt(inPage);
  }

  mapOrUnmap(): void {
    const { random, space, model } = this;
    const first = BigInt.asUintN(52, this.anyPage());
    const count = random.below(9);
    if (random.chance(0.7)) {
      const memory = random.pick(this.memories);
      const offset = random.below(MEMORY_PAGES + 2) * PAGE_BYTES;
      const writable = random.chance(0.8);
      const refused = space.map(Number(first * PAGE), count * PAGE_BYTES, memory, offset, writable);
      assert.equal(refused === undefined, model.map(first, count, memory, offset, writable), `map ${first}+${count}: ${refused}`);
    } else {
      assert.equal(space.unmap(Number(first * PAGE), count * PAGE_BYTES), model.unmap(first, count), "bytes unmapped");
    }
    assert.equal(space.mappedBytes, model.pages.size * PAGE_BYTES);
  }

  look(): void {
    const address = this.anyAddress();
    const expected = this.model.locate(address);
    const found = this.space.locate(hiOf(address) | 0, loOf(address) | 0);
    assert.equal(found, expected !== undefined, `locate ${address.toString(16)}`);
    if (expected === undefined) return;
    const { memory, at, run, writable } = this.space;
    assert.deepEqual({ at, run, writable }, { at: expected.at, run: expected.run, writable: expected.writable });
    assert.equal(memory, expected.memory);
    assert.equal(this.space.locateRun(hiOf(address), loOf(address), expected.run), true);
    assert.equal(this.space.locateRun(hiOf(address), loOf(address), expected.run + 1), false);
  }

  icmMapOrUnmap(): void {
    const { random, icm, icmPages } = this;
    const first = random.chance(0.8) ? random.below(40) : (1 << 22) - 6 + random.below(12);
    const count = 1 + random.below(6);
    if (random.chance(0.7)) {
      const pfn = Number(BigInt.asUintN(31, this.anyPage()));
      const fits = first + count <= 1 << 22 && pfn + count <= 0x7fffffff;
      assert.equal(icm.map(first, pfn, count), fits, `ICM map ${first}+${count} to ${pfn}`);
      for (let i = 0; fits && i < count; i++) icmPages.set(first + i, BigInt(pfn + i));
    } else {
      icm.unmap(first, count);
      for (let i = 0; i < count; i++) icmPages.delete(first + i);
    }
    assert.equal(icm.mappedPages, icmPages.size);
  }

  /** The byte that the model finds behind an ICM address. */
  icmByte(address: number): { memory: Memory; at: number } | undefined {
    const page = this.icmPages.get(Math.floor(address / PAGE_BYTES));
    return page === undefined ? undefined : this.model.locate(page * PAGE + BigInt(address % PAGE_BYTES));
  }

  // ---- regions ------------------------------------------------------------------------------------------------------

  /** A region whose MTTs are partly written, partly whatever memory holds, read through a model of both steps. */
  region(): void {
    const { random } = this;
    const logPage = 12 + random.pick([0, 0, 1, 2, 18]);
    const start =
      random.pick([0n, 2n ** 32n - 5000n, 2n ** 64n - 50_000n, BigInt(random.u32()) << 20n]) + BigInt(random.below(9000));
    const length = 1 + random.below(40_000);
    const mttAddress = random.below(40 * 512) * 8;
    const isPhysical = random.chance(0.15);
    const region = {
      key: random.below(64),
      access: 0x1f << 10,
      pd: 5,
      startHi: hiOf(start),
      startLo: loOf(start),
      isPhysical,
      logPageBytes: logPage,
      mttAddress,
    };
    this.table.set(region.key, region, 0, length);
    const index = this.table.find(region.key << 8);
    assert.equal(index, region.key, "the key finds the region");
    for (let entry = 0; entry < 12; entry++) this.#writeMtt(mttAddress + entry * 8, logPage);
    for (let i = 0; i < LOOKUPS; i++) this.#checkRegion(region, start, length, logPage);
    assert.ok(this.table.remove(index));
  }

  #writeMtt(address: number, logPage: number): void {
    const { random } = this;
    const entry = this.icmByte(address);
    if (entry === undefined) return;
    const before = this.icmByte(address - 8);
    // Half of the pages follow the one before in memory.
    const next = before === undefined ? 0n : before.memory.view.getBigUint64(before.at) + 2n ** BigInt(logPage);
    const page = random.chance(0.5) ? BigInt.asUintN(64, next) : BigInt.asUintN(52, this.anyPage()) * PAGE;
    const aligned = page & ~(2n ** BigInt(logPage) - 1n);
    const value = random.chance(0.05) ? aligned | (2n ** BigInt(43 + random.below(20))) : aligned;
    entry.memory.view.setBigUint64(entry.at, value | (random.chance(0.9) ? 1n : 0n));
  }

  #checkRegion(region: Described, start: bigint, length: number, logPage: number): void {
    const { random, table } = this;
    const offset = random.pick([0, length - 1, random.below(length)]);
    const done = random.below(length - offset);
    const address = BigInt.asUintN(64, start + BigInt(offset));
    this.#checkAllows(region.key, start, length);
    const expected = this.#translate(region, start, offset + done, logPage);
    const cursor = new Cursor(newMemory(8));
    const found = table.translate(region.key, hiOf(address) | 0, loOf(address) | 0, done, 1, cursor);
    assert.equal(found, expected !== undefined, "translate");
    if (expected === undefined) return;
    assert.equal(cursor.memory, expected.memory);
    assert.deepEqual([cursor.at, cursor.run, cursor.isWritable], [expected.at, expected.run, expected.writable]);
    const wanted = 1 + random.below(length - offset - done);
    assert.ok(table.translate(region.key, hiOf(address) | 0, loOf(address) | 0, done, wanted, cursor));
    assert.ok(cursor.run >= Math.min(wanted, expected.run));
    // Over every page that the run spans the addresses must be what each page says for itself.
    for (let i = 0; i < Math.min(wanted, cursor.run); i += 4096) {
      const there = this.#translate(region, start, offset + done + i, logPage);
      assert.deepEqual(
        [there?.memory === cursor.memory, there?.at],
        [true, cursor.at + i],
        `byte ${i} of a run of ${cursor.run}`,
      );
    }
  }

  #checkAllows(index: number, start: bigint, length: number): void {
    const { random, table } = this;
    const from = BigInt.asUintN(64, start + BigInt(random.below(length + 4) - 2));
    const bytes = random.below(length + 3);
    const isInside = from >= start && from + BigInt(bytes) <= start + BigInt(length);
    assert.equal(table.allows(index, 5, 1 << 10, hiOf(from) | 0, loOf(from) | 0, bytes), isInside, "allows");
    assert.equal(table.allows(index, 6, 1 << 10, hiOf(from), loOf(from), bytes), false, "another protection domain");
  }

  #translate(
    region: Described,
    start: bigint,
    offset: number,
    logPage: number,
  ): { memory: Memory; at: number; run: number; writable: boolean } | undefined {
    const address = start + BigInt(offset);
    if (region.isPhysical) return address >= 2n ** 64n ? undefined : this.model.locate(address);
    const pageBytes = 2n ** BigInt(logPage);
    const entry = this.icmByte(region.mttAddress + Number(address / pageBytes - start / pageBytes) * 8);
    if (entry === undefined) return undefined;
    const mtt = entry.memory.view.getBigUint64(entry.at);
    if ((mtt & 1n) === 0n || mtt >= TIB8) return undefined;
    const inPage = address % pageBytes;
    const found = this.model.locate((mtt / PAGE) * PAGE + inPage);
    return found === undefined ? undefined : { ...found, run: Math.min(found.run, Number(pageBytes - inPage)) };
  }
}

fuzz("address-space", (random, budget) => {
  const world = new World(random);
  for (let i = 0; i < STEPS; i++) {
    const kind = random.below(10);
    budget.note(`${kind} ${Math.min(world.model.pages.size, 40)} ${Math.min(world.icmPages.size, 20)}`);
    if (kind < 3) world.mapOrUnmap();
    else if (kind < 5) world.icmMapOrUnmap();
    else if (kind < 8) for (let n = 0; n < LOOKUPS; n++) world.look();
    else world.region();
  }
});
