// What changes under connections that the compiled program has taken over: keys, rights, memory, tables, queue pairs, whole devices. Nothing of
// what it knew before may be used afterwards.

import { assertPosted, CompiledBed, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { workshop } from "../../src/domain/in-process.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command, MapEntry } from "../../src/spec/hca/commands.ts";
import { MTT_BYTES, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import { Buffer64, fill, type Guest } from "./pair.ts";

const PAGE = 4096;
const LENGTHS = [16, 6000] as const;
const EXTRA_DMA = 0x4000_0000;
const REFUSED = { isByProgram: false, near: [Syndrome.REMOTE_ACCESS] };
const isEmpty = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

function hot() {
  const bed = new CompiledBed();
  const ends: [Guest, Guest] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(...ends);
  const source = new Buffer64(bed[0], 2 * PAGE);
  fill(source.bytes, 5);
  const write = (remoteAddress: bigint, rkey: number, length: number, expected = {}): void => {
    assertPosted(bed, ends, qp, { opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], remoteAddress, rkey }, expected);
  };
  return { bed, ends, a: bed[0], b: bed[1], qp, peer, source, write };
}

function allow(qp: DriverQueuePair, isAllowed: boolean): void {
  qp.transition(Command.RTS2RTS_QP, QpState.RTS, QpOptional.REMOTE_WRITE, (view, at) => {
    QpContext.remoteWrite.set(view, at, isAllowed ? 1 : 0);
  });
}

test("the right to write is taken away, and given back", () => {
  const { b, peer, write } = hot();
  const target = new Buffer64(b, PAGE);
  const { rkey, virtualAddress } = target.region;
  write(virtualAddress, rkey, 16);
  allow(peer, false);
  allow(peer, true);
  // The connection is looked up again first.
  write(virtualAddress, rkey, 16, { isByProgram: false });
  write(virtualAddress, rkey, 16);
  allow(peer, false);
  target.bytes.fill(0);
  write(virtualAddress, rkey, 16, { isByProgram: false, near: [Syndrome.REMOTE_INVALID_REQUEST] });
  assert.ok(isEmpty(target.bytes));
});

for (const length of LENGTHS) {
  test(`a key that is taken back, and names other memory afterwards (${length} bytes)`, () => {
    const { b, source, write } = hot();
    const [old, next] = [new Buffer64(b, 2 * PAGE), new Buffer64(b, 2 * PAGE)];
    const start = 0x5000_0000n;
    const index = 3000;
    const register = (buffer: Buffer64) =>
      registerRaw(b, { start, length: BigInt(2 * PAGE), mttAddress: buffer.region.mttAddress, index })!;
    const key = register(old);
    for (let i = 0; i < 2; i++) write(start, key, length);
    b.device.commands.run(Command.HW2SW_MPT, { modifier: index, opcodeModifier: 1 });
    assert.equal(register(next), key);
    old.bytes.fill(0);
    write(start, key, length);
    assert.ok(isEmpty(old.bytes));
    assert.ok(next.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    b.device.commands.run(Command.HW2SW_MPT, { modifier: index, opcodeModifier: 1 });
    next.bytes.fill(0);
    write(start, key, length, REFUSED);
    assert.ok(isEmpty(next.bytes));
  });

  test(`guest memory that is unmapped, mapped elsewhere, and may not be written (${length} bytes)`, () => {
    const { a, b, bed, source, write } = hot();
    const [one, other] = [workshop.newGuestMemory(4 * PAGE), workshop.newGuestMemory(4 * PAGE)];
    const map = (memory: typeof one, isWritable: boolean): void => {
      assert.equal(b.node.dma.map(EXTRA_DMA, 4 * PAGE, memory, 0, isWritable), undefined);
    };
    const unmap = (): void => {
      assert.equal(b.node.dma.unmap(EXTRA_DMA, 4 * PAGE), 4 * PAGE);
    };
    const mttAddress = b.device.icm.writeMtts([0, 1, 2, 3].map((i) => EXTRA_DMA + i * PAGE));
    const key = registerRaw(b, { start: 0n, length: BigInt(4 * PAGE), mttAddress })!;
    map(one, true);
    for (let i = 0; i < 2; i++) write(0n, key, length);
    assert.ok(one.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    unmap();
    map(other, true);
    one.bytes.fill(0);
    for (let i = 0; i < 2; i++) write(0n, key, length);
    assert.ok(isEmpty(one.bytes));
    assert.ok(other.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    unmap();
    map(other, false);
    other.bytes.fill(0);
    write(0n, key, length, REFUSED);
    assert.ok(isEmpty(other.bytes));
    // The connection has ended; another one reads there what may only be read.
    const [reader] = bed.hotPair(b, a);
    other.bytes.fill(9);
    source.bytes.fill(0);
    const read = { opcode: SendOpcode.RDMA_WRITE, sges: [{ address: 0n, length, lkey: key }], ...source.remote() };
    assertPosted(bed, [b, a], reader, read, { isByProgram: length > PAGE });
    assert.ok(source.bytes.subarray(0, length).every((byte) => byte === 9));
    unmap();
    source.bytes.fill(0);
    assertPosted(bed, [b, a], reader, read, { isByProgram: false, near: [Syndrome.LOCAL_PROTECTION] });
    assert.ok(isEmpty(source.bytes));
  });

  test(`a page of ICM that is mapped elsewhere, and unmapped (${length} bytes)`, () => {
    const { b, source, write } = hot();
    const { device } = b;
    const [one, other] = [new Buffer64(b, 2 * PAGE), new Buffer64(b, 2 * PAGE)];
    const icm = 0x1000_0000;
    const tables = [one, other].map(({ region }) => {
      const block = device.heap.allocate(PAGE);
      const { view } = device.access.memory;
      for (let i = 0; i < 2; i++) view.setBigUint64(block.at + i * MTT_BYTES, BigInt(region.block.dmaAddress + i * PAGE) | 1n);
      return block.dmaAddress;
    });
    const map = (dmaAddress: number): void => {
      device.commands.run(Command.MAP_ICM, {
        modifier: 1,
        input: (view, at) => {
          MapEntry.icmAddress.setBig(view, at, BigInt(icm));
          MapEntry.dmaAddress.setBig(view, at, BigInt(dmaAddress));
        },
      });
    };
    map(tables[0]!);
    const key = registerRaw(b, { start: 0n, length: BigInt(2 * PAGE), mttAddress: icm })!;
    for (let i = 0; i < 2; i++) write(0n, key, length);
    assert.ok(one.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    map(tables[1]!);
    one.bytes.fill(0);
    for (let i = 0; i < 2; i++) write(0n, key, length);
    assert.ok(isEmpty(one.bytes));
    assert.ok(other.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    device.commands.run(Command.UNMAP_ICM, { modifier: 1, inputValue: { hi: 0, lo: icm } });
    other.bytes.fill(0);
    write(0n, key, length, REFUSED);
    assert.ok(isEmpty(other.bytes));
  });
}

test("queue pairs that go, and others that get their places", () => {
  const { bed, a, b, qp, peer } = hot();
  const words = a.node.hca.adapter.qps.find(qp.number)!.words!.at;
  for (const end of [qp, peer]) end.reset();
  bed.domain.settle();
  const places = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const pair = bed.hotPair(a, b);
    const target = new Buffer64(b, 64);
    pair[1].postReceive([target.sge()]);
    assertPosted(bed, [a, b], pair[0], { opcode: SendOpcode.SEND, inline: Uint8Array.of(i + 1) }, { far: [0] });
    assert.equal(target.bytes[0], i + 1);
    places.add(a.node.hca.adapter.qps.find(pair[0].number)!.words!.at);
    if (i % 3 !== 0) for (const end of pair) end.reset();
  }
  assert.ok(places.has(words), "the place of one that has gone is used again");
});

test("a queue pair that ends while its peer is at work", () => {
  const { bed, b, qp, peer, a } = hot();
  const target = new Buffer64(b, 64);
  peer.reset();
  const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(3), ...target.remote() };
  assert.equal(
    bed.messagesDuring(() => qp.postSend(write)),
    0,
  );
  assert.equal(target.bytes[0], 0);
  qp.toError();
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [Syndrome.WR_FLUSHED]);
});

test("more connections than the program looks at", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const pairs = Array.from({ length: 20 }, () => bed.hotPair(a, b));
  const target = new Buffer64(b, 64);
  for (let round = 0; round < 3; round++) {
    for (const [i, [qp]] of pairs.entries())
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(i + round), ...target.remote(i) });
    const carried = bed.messagesDuring(() => {});
    // New queue pairs let all connections be looked up again first.
    assert.equal(carried, round === 0 ? 1 : pairs.length);
    assert.deepEqual(
      [...target.bytes.subarray(0, 20)],
      pairs.map((_, i) => i + round),
    );
    assert.equal(bed.syndromes(a).length, pairs.length);
  }
  for (const pair of pairs) for (const end of pair) end.reset();
  bed.hotPair(a, b);
});

test("a frozen HCA posts in vain until it goes on", () => {
  const { bed, a, b, qp } = hot();
  const target = new Buffer64(b, 64);
  bed.domain.setFrozen(a.node, true);
  const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(3), ...target.remote() };
  assert.equal(
    bed.messagesDuring(() => qp.postSend(write)),
    0,
  );
  assert.equal(target.bytes[0], 0);
  bed.domain.setFrozen(a.node, false);
  bed.domain.settle();
  assert.equal(target.bytes[0], 3);
  assert.deepEqual(bed.syndromes(a), [0]);
});

test("messages that have to go as packets are not the program's, and are again when they need not", () => {
  const { bed, a, b, qp } = hot();
  const target = new Buffer64(b, 64);
  const write = (): void => {
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(3), ...target.remote() });
  };
  bed.domain.network.setPath("packets");
  assert.equal(bed.messagesDuring(write), 0);
  bed.domain.network.setPath("auto");
  bed.messagesDuring(write);
  bed.messagesDuring(write);
  assert.equal(bed.messagesDuring(write), 1);
  assert.deepEqual(bed.syndromes(a), [0, 0, 0, 0]);
});

/** A driver that starts afresh on the same device. */
function restart({ node, wire }: Guest): Guest {
  const device = new Device(node.access, { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 });
  const pd = device.allocatePd();
  return { node, wire, device, pd, cq: new DriverCompletionQueue(device, 255, pd) };
}

test("a device that is reset while its connection is at work, at either end", () => {
  for (const end of [0, 1] as const) {
    const { bed, ends, qp } = hot();
    const target = new Buffer64(ends[1], 64);
    const guest = restart(ends[end]);
    const written = end === 0 ? undefined : Buffer.from(ends[1].node.access.memory.bytes);
    if (end === 1) {
      const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(3), ...target.remote() };
      assert.equal(
        bed.messagesDuring(() => qp.postSend(write)),
        0,
      );
      assert.ok(written?.equals(ends[1].node.access.memory.bytes));
    }
    const others: [Guest, Guest] = end === 0 ? [guest, ends[1]] : [ends[0], guest];
    const [next, peer] = bed.hotPair(...others);
    const fresh = new Buffer64(others[1], 64);
    peer.postReceive([fresh.sge()]);
    assertPosted(bed, others, next, { opcode: SendOpcode.SEND, inline: Uint8Array.of(4) }, { far: [0] });
    assert.equal(fresh.bytes[0], 4);
  }
});

test("a guest that has gone, and one that comes after it", () => {
  const { bed, a, b, qp, source } = hot();
  const target = new Buffer64(b, 2 * PAGE);
  bed.domain.removeNode(b.node);
  const memory = Buffer.from(b.node.access.memory.bytes);
  const write = { opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() };
  assert.equal(
    bed.messagesDuring(() => qp.postSend(write)),
    0,
  );
  assert.ok(memory.equals(b.node.access.memory.bytes));
  const next = bed.addGuest();
  const [sender] = bed.hotPair(a, next);
  const fresh = new Buffer64(next, 2 * PAGE);
  assertPosted(bed, [a, next], sender, { ...write, ...fresh.remote() });
  assert.ok(fresh.bytes.equals(source.bytes));
  assert.ok(memory.equals(b.node.access.memory.bytes));
});

test("what an HCA had in the window is not touched by it once it has gone", () => {
  const { bed, b } = hot();
  const { hcaWords } = b.node.hca.adapter;
  assert.ok(hcaWords);
  const { window, memory } = hcaWords;
  bed.domain.removeNode(b.node);
  const place = window.memoryAt(memory.windowAt >>> 0, memory.bytes.length);
  place.bytes.fill(0x5a);
  b.node.hca.reset();
  assert.ok(place.bytes.every((byte) => byte === 0x5a));
  place.bytes.fill(0);
});
