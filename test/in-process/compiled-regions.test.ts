// What a key opens and what it does not, on connections that the compiled program has taken over and with regions that it knows already: each
// of its checks is tried beside a request that passes it. Short messages are found in the table of known pages, long ones in the
// region's translation table.

import { assertPosted, CompiledBed, type Expected, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command, MapEntry } from "../../src/spec/hca/commands.ts";
import { Access, MTT_BYTES, MTT_PRESENT } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Buffer64, connect, fill, type Guest } from "./pair.ts";

const PAGE = 4096;
const SHORT = 16;
const LONG = 5000;
const REFUSED = { isByProgram: false, near: [Syndrome.REMOTE_ACCESS] };

class Writers {
  readonly bed = new CompiledBed();
  readonly ends: [Guest, Guest] = [this.bed[0], this.bed[1]];
  readonly source = new Buffer64(this.ends[0], 4 * PAGE);
  #qp: DriverQueuePair | undefined;

  constructor() {
    fill(this.source.bytes, 1);
  }

  /** Writes on the same connection each time, so that what the program knows stays known; an error ends it. */
  write(rkey: number, remoteAddress: bigint, length: number, expected: Expected = {}): void {
    this.#qp ??= this.bed.hotPair(...this.ends)[0];
    const request = { opcode: SendOpcode.RDMA_WRITE, sges: [this.source.sge(0, length)], remoteAddress, rkey };
    assertPosted(this.bed, this.ends, this.#qp, request, expected);
    if (expected.near !== undefined) this.#qp = undefined;
  }

  sent(length: number): Buffer {
    return this.source.bytes.subarray(0, length);
  }
}

for (const [name, length] of [
  ["short", SHORT],
  ["long", LONG],
] as const) {
  test(`${name}: a region that begins and ends inside a page`, () => {
    const writers = new Writers();
    const size = length + 100;
    // Its first byte is 100 bytes behind the beginning of its page.
    const start = 0x40_0064n;
    const target = new Buffer64(writers.ends[1], size, { virtualAddress: start });
    const { rkey, block } = target.region;
    const memory = writers.ends[1].node.access.memory.bytes;
    writers.write(rkey, start, length);
    assert.ok(memory.subarray(block.at + 100, block.at + 100 + length).equals(writers.sent(length)));
    memory.fill(0, block.at, block.at + block.bytes);
    writers.write(rkey, start + BigInt(size - length), length);
    for (const off of [-1n, -100n, BigInt(size - length + 1), BigInt(size), BigInt(size + 1), BigInt(PAGE * 4)]) {
      writers.write(rkey, start, length);
      memory.fill(0, block.at, block.at + block.bytes);
      writers.write(rkey, start + off, length, REFUSED);
      assert.ok(memory.subarray(block.at, block.at + block.bytes).every((byte) => byte === 0));
    }
  });

  test(`${name}: rights and protection domain`, () => {
    const writers = new Writers();
    const [a, b] = writers.ends;
    const local = new Buffer64(b, 2 * PAGE, { access: Access.LOCAL_READ | Access.LOCAL_WRITE });
    const foreign = new Buffer64(b, 2 * PAGE, { pd: b.device.allocatePd() });
    const own = new Buffer64(b, 2 * PAGE);
    for (const { bytes } of [local, foreign]) bytes.fill(0);
    // Receives go there: the program knows the region, but not for writes.
    const [sender, receiver] = writers.bed.hotPair(a, b);
    for (let i = 0; i < 2; i++) {
      receiver.postReceive([local.sge()]);
      assertPosted(writers.bed, [a, b], sender, { opcode: SendOpcode.SEND, inline: Uint8Array.of(1) }, { far: [0] });
    }
    receiver.postReceive([local.sge(0, length)]);
    const send = { opcode: SendOpcode.SEND, sges: [writers.source.sge(0, length)] };
    assertPosted(writers.bed, [a, b], sender, send, { far: [0] });
    local.bytes.fill(0);
    writers.write(local.region.rkey, local.region.virtualAddress, length, REFUSED);
    writers.write(own.region.rkey, own.region.virtualAddress, length);
    writers.write(foreign.region.rkey, foreign.region.virtualAddress, length, REFUSED);
    for (const { bytes } of [local, foreign]) assert.ok(bytes.every((byte) => byte === 0));
  });

  test(`${name}: the same address in two protection domains`, () => {
    const { bed, ends, source } = new Writers();
    const [a, b] = ends;
    const pd = b.device.allocatePd();
    const target = new Buffer64(b, 2 * PAGE, { pd });
    const [inside] = connect(a, b, undefined, {}, {}, { pd });
    const [outside] = connect(a, b);
    const domain = { ...b, pd };
    bed.heat(inside, a, domain);
    bed.heat(outside, a, b);
    const request = { opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], ...target.remote() };
    assertPosted(bed, ends, inside, request);
    target.bytes.fill(0);
    assertPosted(bed, ends, outside, request, REFUSED);
    assert.ok(target.bytes.every((byte) => byte === 0));
  });

  test(`${name}: two keys, one place in the tables of pages and of regions`, () => {
    const writers = new Writers();
    const [, b] = writers.ends;
    const start = 0x1000_0000n;
    const buffers = [new Buffer64(b, 2 * PAGE), new Buffer64(b, 2 * PAGE)];
    const keys = buffers.map(({ region }, i) =>
      registerRaw(b, { start, length: BigInt(2 * PAGE), mttAddress: region.mttAddress, index: 2000 + i * 1024 }),
    );
    for (let round = 0; round < 2; round++) {
      for (const [i, { bytes }] of buffers.entries()) {
        for (const buffer of buffers) buffer.bytes.fill(0);
        writers.write(keys[i]!, start, length);
        assert.ok(bytes.subarray(0, length).equals(writers.sent(length)));
        assert.ok(buffers[1 - i]!.bytes.every((byte) => byte === 0));
      }
    }
  });

  test(`${name}: pages 4 MiB and 4 GiB apart, which have one place in the table of pages`, () => {
    const writers = new Writers();
    const [, b] = writers.ends;
    const { device } = b;
    const buffers = [new Buffer64(b, 2 * PAGE), new Buffer64(b, 2 * PAGE), new Buffer64(b, 2 * PAGE)];
    // Pages of 4 MiB, of which only the beginning is looked at.
    const entries = device.icm.writeMtts(
      Array.from({ length: 1026 }, (_, i) => buffers[i === 0 ? 0 : i === 1 ? 1 : 2]!.region.block.dmaAddress),
    );
    const rkey = registerRaw(b, { start: 0n, length: 2n ** 33n, mttAddress: entries, logPage: 22 });
    for (const [address, buffer] of [
      [0n, 0],
      [2n ** 22n, 1],
      [2n ** 32n, 2],
      [0n, 0],
    ] as const) {
      for (const { bytes } of buffers) bytes.fill(0);
      writers.write(rkey!, address, length);
      for (const [i, { bytes }] of buffers.entries())
        assert.equal(bytes.subarray(0, length).equals(writers.sent(length)), i === buffer, `${address}, buffer ${i}`);
    }
  });
}

/** Changes the low or high word of an entry of a region's table. */
function changeEntry(
  { device }: Guest,
  { region }: Buffer64,
  entry: number,
  word: 0 | 4,
  change: (value: number) => number,
): void {
  const { view } = device.access.memory;
  const at = device.icm.mttAt(region.mttAddress + entry * MTT_BYTES) + word;
  view.setUint32(at, change(view.getUint32(at)) >>> 0);
}

for (const [entry, length] of [
  [1, LONG],
  [3, 4 * PAGE],
] as const) {
  test(`entry ${entry} is not present, or names a page beyond 8 TiB or outside memory`, () => {
    for (const [word, change] of [
      [4, (value: number) => value & ~MTT_PRESENT],
      [0, (value: number) => value | (1 << 11)],
      [0, (value: number) => value | (1 << 31)],
      [0, (value: number) => value ^ 1],
      [4, (value: number) => value ^ (1 << 31)],
    ] as const) {
      const writers = new Writers();
      const [, b] = writers.ends;
      const target = new Buffer64(b, 4 * PAGE);
      writers.write(target.region.rkey, target.region.virtualAddress, length);
      target.bytes.fill(0);
      changeEntry(b, target, entry, word, change);
      writers.write(target.region.rkey, target.region.virtualAddress, length, REFUSED);
      assert.ok(target.bytes.subarray(entry * PAGE).every((byte) => byte === 0));
    }
  });
}

test("a table that goes on in another page of ICM, and one 256 pages behind", () => {
  const writers = new Writers();
  const [, b] = writers.ends;
  const { device } = b;
  const order = [3, 2, 1, 0];
  const target = new Buffer64(b, 4 * PAGE);
  const pages = order.map((i) => target.region.block.dmaAddress + i * PAGE);
  // Two entries at the end of a page of the table, two at the beginning of the next.
  let entries = 0;
  do entries = device.icm.writeMtts(Array.from({ length: 1 }, () => 0));
  while ((entries / MTT_BYTES) % 512 !== 509);
  const mttAddress = device.icm.writeMtts(pages);
  assert.equal((mttAddress / MTT_BYTES) % 512, 510);
  const rkey = registerRaw(b, { start: 0n, length: BigInt(4 * PAGE), mttAddress });
  const far = (Math.floor(mttAddress / PAGE) + 256) * PAGE;
  const block = device.heap.allocate(PAGE);
  mapIcm(b, far, block.dmaAddress);
  const other = new Buffer64(b, 4 * PAGE);
  const { view } = device.access.memory;
  for (let i = 0; i < 4; i++) view.setBigUint64(block.at + i * MTT_BYTES, BigInt(other.region.block.dmaAddress + i * PAGE) | 1n);
  const farKey = registerRaw(b, { start: 0n, length: BigInt(4 * PAGE), mttAddress: far });
  const write = (key: number | undefined): void => writers.write(key!, 0n, 4 * PAGE);
  for (let round = 0; round < 2; round++) {
    for (const { bytes } of [target, other]) bytes.fill(0);
    write(rkey);
    for (const [i, to] of order.entries())
      assert.ok(
        target.bytes.subarray(to * PAGE, (to + 1) * PAGE).equals(writers.source.bytes.subarray(i * PAGE, (i + 1) * PAGE)),
      );
    assert.ok(other.bytes.every((byte) => byte === 0));
    write(farKey);
    assert.ok(other.bytes.equals(writers.source.bytes));
  }
});

function mapIcm({ device }: Guest, icmAddress: number, dmaAddress: number): void {
  device.commands.run(Command.MAP_ICM, {
    modifier: 1,
    input: (view, at) => {
      MapEntry.icmAddress.setBig(view, at, BigInt(icmAddress));
      MapEntry.dmaAddress.setBig(view, at, BigInt(dmaAddress));
    },
  });
}

/** A region of four pages, the table of which has two entries at the end of one page of ICM and two in the next, which lies elsewhere. */
function divided(guest: Guest): { key: number; bytes: Buffer } {
  const { device } = guest;
  const data = new Buffer64(guest, 4 * PAGE);
  const other = new Buffer64(guest, 4 * PAGE);
  fill(data.bytes, 3);
  other.bytes.fill(0);
  const pagesOf = ({ region }: Buffer64): number[] => [0, 1, 2, 3].map((i) => region.block.dmaAddress + i * PAGE);
  while ((device.icm.writeMtts([0]) / MTT_BYTES) % 512 !== 509);
  const mttAddress = device.icm.writeMtts(pagesOf(data));
  const second = mttAddress + 2 * MTT_BYTES;
  // The first page, what follows it in memory, and the second.
  const block = device.heap.allocate(3 * PAGE);
  const { bytes, view } = device.access.memory;
  for (const [address, place] of [
    [second - PAGE, 0],
    [second, 2 * PAGE],
  ] as const) {
    const from = device.icm.mttAt(address);
    bytes.copy(bytes, block.at + place, from, from + PAGE);
    mapIcm(guest, address, block.dmaAddress + place);
  }
  pagesOf(other)
    .slice(2)
    .forEach((page, i) => {
      view.setBigUint64(block.at + PAGE + i * MTT_BYTES, BigInt(page) | 1n);
    });
  const key = registerRaw(guest, { start: 0n, length: BigInt(4 * PAGE), mttAddress });
  assert.ok(key !== undefined);
  return { key, bytes: data.bytes };
}

for (const side of ["source", "target"] as const) {
  test(`the next page of the table lies elsewhere in memory: the ${side}'s`, () => {
    const { bed, ends } = new Writers();
    const [a, b] = ends;
    const plain = new Buffer64(side === "source" ? b : a, 4 * PAGE);
    const [qp] = bed.hotPair(a, b);
    // Last: the driver does not know that its table has moved.
    const region = divided(side === "source" ? a : b);
    const local = side === "source" ? { lkey: region.key, address: 0n, length: 4 * PAGE } : plain.sge();
    const remote = side === "source" ? plain.remote() : { rkey: region.key, remoteAddress: 0n };
    if (side === "target") fill(plain.bytes, 4);
    for (let round = 0; round < 2; round++) {
      assertPosted(bed, ends, qp, { opcode: SendOpcode.RDMA_WRITE, sges: [local], ...remote });
      assert.ok(plain.bytes.equals(region.bytes));
      (side === "source" ? plain : region).bytes.fill(0);
    }
  });
}

test("a region without a table: short messages are the program's, long ones are not", () => {
  const writers = new Writers();
  const [, b] = writers.ends;
  const target = new Buffer64(b, 3 * PAGE);
  const start = BigInt(target.region.block.dmaAddress);
  const rkey = registerRaw(b, { start, length: BigInt(3 * PAGE), mttAddress: 0, isPhysical: true });
  // What would be its table: the beginning of ICM.
  const other = new Buffer64(b, 3 * PAGE);
  const block = b.device.heap.allocate(PAGE);
  for (let i = 0; i < 3; i++)
    b.device.access.memory.view.setBigUint64(block.at + i * MTT_BYTES, BigInt(other.region.block.dmaAddress + i * PAGE) | 1n);
  mapIcm(b, 0, block.dmaAddress);
  for (const [length, isByProgram] of [
    [SHORT, true],
    [LONG, false],
  ] as const) {
    target.bytes.fill(0);
    writers.write(rkey!, start + 8n, length, { isByProgram });
    assert.ok(target.bytes.subarray(8, 8 + length).equals(writers.sent(length)));
    assert.ok(target.bytes.subarray(8 + length).every((byte) => byte === 0));
  }
});
