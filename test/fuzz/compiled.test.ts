// The compiled program alone (src/transport/plain/assembly): requests, rings, records, regions and translation tables of two hostile guests,
// right and wrong. Whatever they say, nothing but the guests' own pages is written, what may not be written stays, and nothing throws.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import * as Layout from "../../src/transport/plain/layout.ts";
import { GUEST_PAGES, type LoneGuest, type LoneRegion, LoneWorld } from "./compiled-world.ts";
import { type Budget, fuzz } from "./kit.ts";

const PAGE = 4096;
const ALL_RIGHTS = 0x1f;
const ALL_ONES = 2n ** 64n - 1n;
const KEYS = [0x100, 0x200, 0x10100, 0x4300] as const;
const RING_KEY = 0x500;
const CQ_KEY = 0x600;
const ROUNDS = 12;
// Pages of a guest: rings, records, completions, data, and its translation table last.
const RING = 2;
const RECORDS = 3;
const CQES = 4;
const TABLE = 7;

const world = new LoneWorld();
/** Chance that any one value of the case is wrong: in most cases few are, or nothing would be carried out. */
let wrongness = 0;
/** All addresses are at the beginning of a page: long messages go by whole pages then. */
let isPaged = false;
const isOdd = (random: Random, chance = 1): boolean => random.chance(wrongness * chance);

/** An address, mostly at a region's edges or at those of pages. */
function address(random: Random, region: LoneRegion | undefined): bigint {
  const { start, length } = region ?? { start: 0n, length: 0x8000n };
  if (isPaged) return BigInt.asUintN(64, start + BigInt(PAGE * random.below(4)));
  if (!isOdd(random)) {
    const isNearEnd = random.chance(0.3);
    const off = BigInt(isNearEnd ? random.pick([0x1010, 0x1fff, random.below(0x3000)]) : random.below(0x3000));
    return BigInt.asUintN(64, isNearEnd ? start + length - off : start + off);
  }
  const base = random.pick([start, start, start + length, start + BigInt(PAGE * random.below(4)), ALL_ONES]);
  const off = BigInt(random.pick([0, 1, 8, 4088, 0x1010, 0x2001, random.below(0x4000)]));
  return BigInt.asUintN(64, random.chance(0.5) ? base + off : base - off);
}

const lengthOf = (random: Random): number =>
  isOdd(random, 0.3) ? random.u32() : random.pick([1, 8, 64, 65, 0x1000, 0x1001, 0x100f, 0x2000, 1 + random.below(0x6000)]);

function drawRegion(random: Random): LoneRegion {
  const starts = [0n, 0n, 0x1000n, 2n ** 64n - 0x3000n];
  const start = random.pick(isPaged ? starts : [...starts, 0x800n, 0x7ffff800n, BigInt(random.u32())]);
  const length = random.pick([ALL_ONES, ALL_ONES - start, 0x8000n, 0x3001n, BigInt(random.u32())]);
  const logPage = random.pick([12, 12, 12, 13, 14, 30]);
  const rights = isOdd(random) ? random.below(32) : ALL_RIGHTS;
  return { rights: (1 << 5) | rights, start, length, mtt: isOdd(random) ? random.u32() : random.pick([0, 2, 500]), logPage };
}

/** Entries of the guest's translation table, most of them of pages that it has. */
function fillTable(random: Random, guest: LoneGuest): void {
  const isRight = !isOdd(random);
  for (let i = 0; i < PAGE / 8; i++) {
    const page = guest.firstPfn + (isRight ? random.below(GUEST_PAGES) : random.below(GUEST_PAGES + 4) - 2);
    const isHuge = !isRight && random.chance(0.05);
    const isPresent = isRight || random.chance(0.95);
    guest.bytes.writeUInt32BE(isHuge ? random.u32() : page >>> 20, TABLE * PAGE + i * 8);
    guest.bytes.writeUInt32BE(((page << 12) | (isPresent ? 1 : 0)) >>> 0, TABLE * PAGE + i * 8 + 4);
  }
}

function prepare(random: Random): void {
  wrongness = random.pick([0.02, 0.1, 0.5]);
  isPaged = random.chance(0.3);
  world.clear(random);
  for (const [i, guest] of world.guests.entries()) {
    guest.firstPfn = random.pick([0x100, 0x100000, 0x7ffffff7, random.below(0x7ffffff0)]);
    guest.readOnlyPages = random.pick([0, 0, 1, 2]);
    world.describeMemory(guest);
    fillTable(random, guest);
    for (const key of KEYS) {
      if (!isOdd(random)) guest.regions.set(key, drawRegion(random));
      const begin = isOdd(random) ? random.below(PAGE) : 0;
      const end = !isOdd(random) ? PAGE : begin + random.below(PAGE - begin);
      guest.pages.set(key, { begin, end, access: isOdd(random) ? random.u32() & 0x7c00 : 0x7c00 });
    }
    for (const key of [RING_KEY, CQ_KEY]) guest.pages.set(key, { begin: 0, end: PAGE, access: 0x7c00 });
    prepareQueues(random, i as 0 | 1);
  }
}

function prepareQueues(random: Random, number: 0 | 1): void {
  const [qp, cq, guest] = [world.qps[number], world.cqs[number], world.guests[number]];
  for (const words of [qp, cq]) {
    world.set(words, Layout.TLB, guest.tables);
    world.set(words, Layout.GENERATION, 1);
    world.set(words, Layout.TABLE, number);
    world.set(words, Layout.PD, guest.pd);
  }
  const records = guest.at + RECORDS * PAGE;
  const qpWords: [number, number][] = [
    [Layout.PEER, world.qps[1 - number]!],
    [Layout.QP_NUMBER, 0x400 + number],
    [Layout.WQE_LKEY, RING_KEY],
    [Layout.WQE_BASE_HI, random.pick([0, 0xffffffff])],
    [Layout.SEND_CQ, world.cqs[number]],
    [Layout.RECEIVE_CQ, world.cqs[number]],
    [Layout.FLAGS, isOdd(random) ? random.below(16) : 6 | random.below(2)],
    [Layout.MOST_BYTES, isOdd(random) ? 64 : 65536],
    [Layout.LOG_MTU, 11],
    [Layout.SQ_RECORD, records],
    [Layout.RQ_RECORD, records + 8],
    [Layout.SQ_BASE, RING * PAGE + (isOdd(random) ? 4000 : 2048)],
    [Layout.LOG_SQ_SIZE, random.below(5)],
    [Layout.LOG_SQ_STRIDE, isOdd(random) ? 4 : 6],
    [Layout.RQ_BASE, RING * PAGE + (isOdd(random) ? random.pick([3000, 4080]) : 1024)],
    [Layout.LOG_RQ_SIZE, random.below(5)],
    [Layout.LOG_RQ_STRIDE, isOdd(random) ? 4 : random.pick([5, 6])],
  ];
  for (const [offset, value] of qpWords) world.set(qp, offset, value);
  world.set(cq, Layout.CQ_LKEY, CQ_KEY);
  world.set(cq, Layout.CQ_START_HI, random.pick([0, 0xffffffff]));
  world.set(cq, Layout.CQ_START_LO, CQES * PAGE + (isOdd(random) ? random.pick([4, 4080, 1]) : 0));
  world.set(cq, Layout.CQ_LOG_SIZE, random.below(4));
  world.set(cq, Layout.CQ_CI_RECORD, isOdd(random) ? 0 : records + 16);
  world.set(cq, Layout.CQ_PRODUCER, random.pick([0, 0xfffffffe]));
  world.set(cq, Layout.CQ_CONSUMER, world.get(cq, Layout.CQ_PRODUCER));
}

const bytesOf = (segment: { length: number; key: number; address: bigint }): number[] => [
  segment.length,
  segment.key,
  Number(segment.address >> 32n),
  Number(segment.address & 0xffffffffn),
];

/** Stores big-endian words at an offset of a guest's memory, as far as they are inside. */
function store(guest: LoneGuest, at: number, words: readonly number[]): void {
  words.forEach((word, i) => {
    if (at + 4 * i + 4 <= guest.bytes.length) guest.bytes.writeUInt32BE(word >>> 0, at + 4 * i);
  });
}

const slotOf = (words: number, base: number, size: number, stride: number, counter: number): number =>
  world.get(words, base) + ((counter & ((1 << world.get(words, size)) - 1)) << world.get(words, stride));

/** Posts a request of one guest, and a receive of the other. */
function post(random: Random, number: 0 | 1): void {
  const [guest, peer] = [world.guests[number], world.guests[1 - number] as LoneGuest];
  const [qp, far] = [world.qps[number], world.qps[1 - number]!];
  const head = world.get(qp, Layout.SQ_HEAD);
  const isWrite = random.chance(0.5);
  const at = slotOf(qp, Layout.SQ_BASE, Layout.LOG_SQ_SIZE, Layout.LOG_SQ_STRIDE, head);
  const before = slotOf(qp, Layout.SQ_BASE, Layout.LOG_SQ_SIZE, Layout.LOG_SQ_STRIDE, head - 1);
  const length = lengthOf(random);
  const keys = [random.pick(KEYS), random.pick(KEYS), random.pick(KEYS)] as const;
  const local = { length, key: keys[0], address: address(random, guest.regions.get(keys[0])) };
  const [remote, room] = [1, 2].map((i) => address(random, peer.regions.get(keys[i as 1 | 2]))) as [bigint, bigint];
  const inline = (0x80000000 | (isOdd(random) ? random.below(1024) : random.pick([1, 12, 16]))) >>> 0;
  const data = random.chance(0.3) ? [inline] : bytesOf(local);
  const opcode = isOdd(random) ? random.below(32) : isWrite ? SendOpcode.RDMA_WRITE : SendOpcode.SEND;
  const isShort = data.length === 1;
  const units = (isWrite ? 3 : 2) + (isShort ? 1 : 0);
  const size = isOdd(random) ? random.below(64) : units;
  store(guest, at, [0, 0, random.pick([8, 10, 0]), 0]);
  const remoteWords = bytesOf({ length: 0, key: keys[1], address: remote });
  store(guest, at + 16, isWrite ? [remoteWords[2]!, remoteWords[3]!, keys[1], 0, ...data] : data);
  store(guest, before, [opcode, size]);
  store(guest, RECORDS * PAGE, [isOdd(random) ? random.u32() : (head + 1) & 0xffff]);
  const rqHead = world.get(far, Layout.RQ_HEAD);
  const receiveAt = slotOf(far, Layout.RQ_BASE, Layout.LOG_RQ_SIZE, Layout.LOG_RQ_STRIDE, rqHead);
  const most = isOdd(random) ? random.u32() : random.pick([length, length, 0x7000, 128 * 1024]);
  store(peer, receiveAt + 16, [...bytesOf({ length: most, key: keys[2], address: room }), 0, 0x100]);
  store(peer, RECORDS * PAGE + 8, [isOdd(random) ? random.u32() : (rqHead + 1) & 0xffff]);
  for (const [i, one] of world.guests.entries()) {
    if (!isOdd(random)) store(one, RECORDS * PAGE + 16, [world.get(world.cqs[i as 0 | 1], Layout.CQ_PRODUCER)]);
  }
}

/** Counts what has been carried out, by kind. */
function noteMessage(budget: Budget, qp: number, work: number): void {
  if (work <= 0) return;
  const sends = world.get(qp, Layout.SENDS);
  const bytes = world.get(qp, Layout.BYTES);
  budget.note(`${sends > 0 ? "send" : "write"} ${bytes > PAGE ? "of pages" : bytes > 64 ? "of bytes" : "short"}`);
  world.set(qp, Layout.SENDS, 0);
  world.set(qp, Layout.BYTES, 0);
}

fuzz("compiled", (random: Random, budget: Budget) => {
  prepare(random);
  const before = world.guests.map(({ bytes, readOnlyPages }) => Buffer.from(bytes.subarray(0, readOnlyPages * PAGE)));
  for (let round = 0; round < ROUNDS; round++) {
    budget.step();
    const number = random.below(2) as 0 | 1;
    post(random, number);
    world.guests.forEach((guest, i) => {
      // What the guests stored there just now is theirs.
      before[i] = Buffer.from(guest.bytes.subarray(0, guest.readOnlyPages * PAGE));
    });
    world.set(world.list, 0, world.qps[number]);
    const work = random.chance(0.5) ? world.program.run(world.qps[number], 131072) : world.program.spin(world.list, 1, 2, 131072);
    noteMessage(budget, world.qps[number], work);
    world.check();
    for (const [i, guest] of world.guests.entries())
      assert.ok(guest.bytes.subarray(0, guest.readOnlyPages * PAGE).equals(before[i]!), "a page that may not be written was");
  }
});
