// Rings and doorbell records that come to lie elsewhere while the compiled program is at work on them: what the driver still stores at the old
// places counts no more.

import { assertPosted, CompiledBed, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { DoorbellRecordSlot } from "../../src/driver/context-memory.ts";
import type { Region } from "../../src/driver/memory-region.ts";
import { Command, MapEntry } from "../../src/spec/hca/commands.ts";
import { CQE_BYTES, Cqe, EventType, SendOpcode } from "../../src/spec/hca/queues.ts";
import { Buffer64, type Guest } from "./pair.ts";

const PAGE = 4096;

function hot() {
  const bed = new CompiledBed();
  const ends: [Guest, Guest] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(...ends);
  return { bed, ends, a: bed[0], b: bed[1], qp, peer, target: new Buffer64(bed[1], 64) };
}

/** Backs the page of a doorbell record with another one, which is as the old one is now; returns what brings it up to date. */
function moveRecord({ device }: Guest, { address, at }: DoorbellRecordSlot): () => void {
  const { bytes } = device.access.memory;
  const block = device.heap.allocate(PAGE);
  const inPage = address % PAGE;
  const update = (): void => {
    bytes.copy(bytes, block.at, at - inPage, at - inPage + PAGE);
  };
  update();
  device.commands.run(Command.MAP_ICM, {
    modifier: 1,
    input: (view, to) => {
      MapEntry.icmAddress.setBig(view, to, BigInt(address - inPage));
      MapEntry.dmaAddress.setBig(view, to, BigInt(block.dmaAddress));
    },
  });
  return update;
}

/** Lets a ring's key name other memory with the same in it; returns where that begins in the guest's memory. */
function moveRegion(guest: Guest, { index, block, length, virtualAddress }: Region): number {
  const { device } = guest;
  const { bytes } = device.access.memory;
  const next = device.heap.allocate(block.bytes);
  bytes.copy(bytes, next.at, block.at, block.at + block.bytes);
  const mttAddress = device.icm.writeMttRun(next.dmaAddress, PAGE, block.bytes / PAGE);
  device.commands.run(Command.HW2SW_MPT, { modifier: index, opcodeModifier: 1 });
  assert.ok(registerRaw(guest, { start: virtualAddress, length: BigInt(length), mttAddress, index }) !== undefined);
  return next.at;
}

test("the record of a send queue", () => {
  const { bed, a, qp, target } = hot();
  const update = moveRecord(a, qp.sqRecord);
  qp.writeSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(9), ...target.remote() });
  assert.equal(
    bed.messagesDuring(() => qp.publishSends()),
    0,
  );
  assert.equal(target.bytes[0], 0);
  update();
  assert.equal(
    bed.messagesDuring(() => qp.sends.ring()),
    1,
  );
  assert.equal(target.bytes[0], 9);
});

test("the record of a receive queue", () => {
  const { bed, a, b, qp, peer, target } = hot();
  const update = moveRecord(b, peer.rqRecord);
  peer.postReceive([target.sge()]);
  assert.equal(
    bed.messagesDuring(() => qp.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(9) })),
    0,
  );
  assert.equal(target.bytes[0], 0);
  update();
  bed.domain.settle();
  assert.equal(target.bytes[0], 9);
  assert.deepEqual(bed.syndromes(a), [0]);
});

test("a send ring", () => {
  const { ends, bed, a, qp, target } = hot();
  const write = (byte: number) => ({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(byte), ...target.remote() });
  qp.writeSend(write(1));
  moveRegion(a, qp.region);
  // The same request at the old place says something else.
  qp.sendPosted--;
  qp.writeSend(write(2));
  assert.equal(
    bed.messagesDuring(() => qp.publishSends()),
    1,
  );
  assert.equal(target.bytes[0], 1);
  assert.deepEqual(bed.syndromes(ends[0]), [0]);
});

test("a receive ring", () => {
  const { ends, bed, b, qp, peer, target } = hot();
  const other = new Buffer64(b, 64);
  const send = { opcode: SendOpcode.SEND, inline: Uint8Array.of(5) };
  peer.postReceive([target.sge()]);
  assertPosted(bed, ends, qp, send, { far: [0] });
  target.bytes.fill(0);
  peer.postReceive([target.sge()]);
  peer.receivePosted--;
  moveRegion(b, peer.region);
  peer.postReceive([other.sge()]);
  assertPosted(bed, ends, qp, send, { far: [0] });
  assert.equal(target.bytes[0], 5);
  assert.equal(other.bytes[0], 0);
});

test("a completion queue's ring", () => {
  const { bed, a, qp, target } = hot();
  const { producer } = a.node.hca.adapter.cqs.find(a.cq.number)!;
  const at = moveRegion(a, a.cq.region);
  const { view } = a.device.access.memory;
  const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(6), ...target.remote() };
  assert.equal(
    bed.messagesDuring(() => qp.postSend(write)),
    1,
  );
  assert.deepEqual(bed.syndromes(a), []);
  assert.equal(Cqe.qpn.get(view, at + producer * CQE_BYTES), qp.number);
});

test("the record of what has been taken from a completion queue", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const end = { ...a, cq: new DriverCompletionQueue(a.device, 3, a.pd) };
  const [qp] = bed.hotPair(end, b);
  const target = new Buffer64(b, 64);
  // The records of receive queues and of consumer indices have pages in common.
  moveRecord(a, qp.rqRecord);
  const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(6), ...target.remote() };
  for (const isByProgram of [1, 1, 1, 1, 0]) {
    assert.equal(
      bed.messagesDuring(() => qp.postSend(write)),
      isByProgram,
    );
    assert.deepEqual(bed.syndromes(end), isByProgram === 1 ? [0] : []);
  }
  assert.deepEqual(
    a.device.asyncEvents.map(({ type }) => type),
    [EventType.CQ_ERROR],
  );
});
