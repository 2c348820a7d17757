// Completion queues, send and receive rings of connections that the compiled program has taken over: where their entries lie, when they are full,
// what a driver may lie about, whom an armed queue tells.

import { assertPosted, CompiledBed, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command, ResizeCq } from "../../src/spec/hca/commands.ts";
import { Access } from "../../src/spec/hca/contexts.ts";
import { CQE_BYTES, Cqe, EventType, SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, type Guest } from "./pair.ts";

const PAGE = 4096;
const inline = (byte: number) => ({ opcode: SendOpcode.SEND, inline: Uint8Array.of(byte) });

/** A pair on which the first end writes; the target is at the second. */
function writers(cqEntries?: number) {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const sendCq = cqEntries === undefined ? a.cq : new DriverCompletionQueue(a.device, cqEntries, a.pd);
  const end = { ...a, cq: sendCq };
  const [qp, peer] = connect(end, b);
  bed.heat(qp, end, b);
  const target = new Buffer64(b, 64);
  const write = (byte: number): void => {
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(byte), ...target.remote() });
  };
  return { bed, a: end, b, qp, peer, target, write };
}

/** Lets a completion queue go on at an address of a region, without its driver. */
function resizeRaw({ device, cq }: Guest, logSize: number, lkey: number, start: bigint): void {
  device.commands.run(Command.RESIZE_CQ, {
    modifier: cq.number,
    opcodeModifier: 1,
    input: (view, at) => {
      ResizeCq.logSize.set(view, at, logSize);
      ResizeCq.lkey.set(view, at, lkey);
      ResizeCq.startAddress.setBig(view, at, start);
    },
  });
}

const stateOf = ({ node }: Guest, { number }: DriverQueuePair): number | undefined => node.hca.adapter.qps.find(number)?.state;
const asyncTypes = ({ device }: Guest): number[] => device.asyncEvents.map(({ type }) => type);

test("rings of several pages go round twice", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = connect(a, b, undefined, {}, { sendWqes: 128, receiveWqes: 128 });
  bed.heat(qp, a, b);
  const target = new Buffer64(b, 600);
  for (let i = 0; i < 600; i++) {
    const where = target.sge(i, 1);
    peer.postReceive([where]);
    assertPosted(bed, [a, b], qp, inline(i), { far: [0] });
  }
  assert.deepEqual(target.bytes, Buffer.from(Array.from({ length: 600 }, (_, i) => i & 0xff)));
});

test("16-bit counters of both rings wrap", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(a, b);
  const target = new Buffer64(b, 8);
  const carried = bed.messagesDuring(() => {
    for (let i = 0; i < 66_000; i += 33) {
      for (let j = 0; j < 33; j++) {
        peer.postReceive([target.sge()]);
        qp.postSend({ ...inline(i), isSignaled: false });
      }
      bed.domain.settle();
      b.cq.poll();
    }
  });
  assert.equal(carried, 66_000);
  peer.postReceive([target.sge()]);
  assertPosted(bed, [a, b], qp, inline(77), { far: [0] });
  assert.equal(target.bytes[0], 77);
});

test("a full completion queue: the program writes no entry that has not been taken", () => {
  const { bed, a, qp, write, target } = writers(3);
  assert.equal(a.cq.capacity + 1, 4);
  for (const byte of [1, 2, 3, 4])
    assert.equal(
      bed.messagesDuring(() => write(byte)),
      1,
    );
  assert.equal(
    bed.messagesDuring(() => write(5)),
    0,
  );
  assert.equal(target.bytes[0], 5);
  assert.equal(stateOf(a, qp), QpState.ERR);
  assert.deepEqual(asyncTypes(a), [EventType.CQ_ERROR]);
  assert.deepEqual(bed.syndromes(a), [0, 0, 0, 0]);
});

test("a completion queue of one entry takes one at a time, and not both of a message to itself", () => {
  const bed = new CompiledBed();
  const [a] = [bed[0]];
  const cq = new DriverCompletionQueue(a.device, 0, a.pd);
  assert.equal(cq.capacity, 0);
  const end = { ...a, cq };
  const [qp, peer] = connect(end, end);
  bed.heat(qp, end, end);
  const target = new Buffer64(a, 8);
  for (let i = 0; i < 3; i++) {
    peer.postReceive([target.sge()]);
    assertPosted(bed, [end, end], qp, { ...inline(i), isSignaled: false });
  }
  peer.postReceive([target.sge()]);
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(9))),
    0,
  );
  assert.deepEqual(asyncTypes(a), [EventType.CQ_ERROR]);
});

test("both completions of a message on one queue, in their order", () => {
  const bed = new CompiledBed();
  const [a] = [bed[0]];
  const [qp, peer] = bed.hotPair(a, a);
  const target = new Buffer64(a, 8);
  peer.postReceive([target.sge()]);
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(3))),
    1,
  );
  assert.deepEqual(
    a.cq.poll().map(({ isSend, qpn, byteCount }) => [isSend, qpn, byteCount]),
    [
      [false, peer.number, 1],
      [true, qp.number, 0],
    ],
  );
});

test("a completion queue that is resized goes on in its new buffer, also across 4 GiB", () => {
  const { bed, a, qp, write, target } = writers();
  a.cq.resize(30);
  write(1);
  bed.domain.settle();
  assert.equal(
    bed.messagesDuring(() => write(2)),
    1,
  );
  assert.deepEqual(bed.syndromes(a), [0, 0]);
  const buffer = new Buffer64(a, 2 * PAGE);
  const start = 0x2_ffff_f000n;
  const lkey = registerRaw(a, { start, length: BigInt(2 * PAGE), mttAddress: buffer.region.mttAddress });
  resizeRaw(a, 8, lkey!, start);
  const { producer } = a.node.hca.adapter.cqs.find(a.cq.number)!;
  const { view, bytes } = a.node.access.memory;
  const { block } = buffer.region;
  bytes.fill(0xff, block.at, block.at + 2 * PAGE);
  for (let i = 0; i < 200; i++) {
    assert.equal(
      bed.messagesDuring(() => write(i)),
      1,
    );
    const at = block.at + ((producer + i) & 255) * CQE_BYTES;
    assert.equal(Cqe.qpn.get(view, at), qp.number, `entry ${i}`);
  }
  assert.equal(target.bytes[0], 199);
});

test("completion queues that end inside a page, or that may not be written", () => {
  const { bed, a, qp, write, target } = writers();
  const buffer = new Buffer64(a, PAGE);
  const { producer } = a.node.hca.adapter.cqs.find(a.cq.number)!;
  // One more entry than the region has.
  const entries = (producer & 15) + 3;
  const { mttAddress } = buffer.region;
  const lkey = registerRaw(a, { start: 0n, length: BigInt(entries * CQE_BYTES), mttAddress });
  buffer.bytes.fill(0xff);
  resizeRaw(a, 4, lkey!, 0n);
  for (const byte of [1, 2, 3])
    assert.equal(
      bed.messagesDuring(() => write(byte)),
      1,
      `${byte}`,
    );
  assert.equal(
    bed.messagesDuring(() => write(4)),
    0,
  );
  assert.equal(target.bytes[0], 4);
  assert.ok(buffer.bytes.subarray(entries * CQE_BYTES).every((byte) => byte === 0xff));
  assert.equal(stateOf(a, qp), QpState.ERR);

  const other = writers();
  const readOnly = new Buffer64(other.a, PAGE, { access: Access.LOCAL_READ });
  readOnly.bytes.fill(0xff);
  resizeRaw(other.a, 4, readOnly.region.lkey, readOnly.region.virtualAddress);
  assert.equal(
    other.bed.messagesDuring(() => other.write(1)),
    0,
  );
  assert.ok(readOnly.bytes.every((byte) => byte === 0xff));
  assert.equal(stateOf(other.a, other.qp), QpState.ERR);
});

test("an entry that lies in two pages which are not neighbours", () => {
  const { bed, a, qp, write } = writers();
  const buffer = new Buffer64(a, 4 * PAGE);
  const { dmaAddress } = buffer.region.block;
  const mttAddress = a.device.icm.writeMtts([dmaAddress, dmaAddress + 2 * PAGE]);
  const lkey = registerRaw(a, { start: 0n, length: BigInt(2 * PAGE), mttAddress });
  const { producer } = a.node.hca.adapter.cqs.find(a.cq.number)!;
  buffer.bytes.fill(0xff);
  // The second entry from now on would be cut in the middle.
  resizeRaw(a, 4, lkey!, BigInt(PAGE - 48 - (producer & 15) * CQE_BYTES));
  assert.equal(
    bed.messagesDuring(() => write(1)),
    1,
  );
  assert.equal(
    bed.messagesDuring(() => write(2)),
    0,
  );
  assert.equal(stateOf(a, qp), QpState.ERR);
  assert.ok(buffer.bytes.subarray(PAGE).every((byte) => byte === 0xff));
});

test("armed queues, solicited or not", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(a, b);
  const target = new Buffer64(b, 8);
  const send = (isSolicited: boolean, isByProgram: boolean): void => {
    peer.postReceive([target.sge()]);
    const request = { ...inline(1), isSolicited, isSignaled: false };
    assert.equal(
      bed.messagesDuring(() => qp.postSend(request)),
      isByProgram ? 1 : 0,
    );
  };
  send(false, true);
  const { events } = b.cq;
  // Those of before count where they have not been polled.
  b.cq.arm(true);
  bed.domain.settle();
  assert.equal(b.cq.events, events);
  send(false, false);
  assert.equal(b.cq.events, events);
  send(true, false);
  assert.equal(b.cq.events, events + 1);
  send(true, true);
  b.cq.arm(true);
  bed.domain.settle();
  assert.equal(b.cq.events, events + 2);
  b.cq.poll();
  b.cq.arm(false);
  bed.domain.settle();
  assert.equal(b.cq.events, events + 2);
  send(false, false);
  assert.equal(b.cq.events, events + 3);
});

test("doorbell records that lie", () => {
  const sends = writers();
  sends.qp.sendPosted = (sends.qp.sendPosted + 65) & 0xffff;
  assert.equal(
    sends.bed.messagesDuring(() => sends.qp.sends.publish()),
    0,
  );
  assert.equal(stateOf(sends.a, sends.qp), QpState.ERR);
  assert.deepEqual(asyncTypes(sends.a), [EventType.WQ_CATASTROPHIC]);

  const { bed, b, qp, peer } = writers();
  peer.receivePosted = 65;
  peer.receives?.publish();
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(1))),
    0,
  );
  assert.equal(stateOf(b, peer), QpState.ERR);
  assert.deepEqual(asyncTypes(b), [EventType.WQ_CATASTROPHIC]);
});

test("nothing to receive, then a receive: the message waits for it", () => {
  const { bed, a, b, qp, peer } = writers();
  const target = new Buffer64(b, 8);
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(5))),
    0,
  );
  assert.deepEqual(bed.syndromes(a), []);
  peer.postReceive([target.sge()]);
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [0]);
  assert.equal(target.bytes[0], 5);
});

test("receives of a shared queue are not the program's", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const srq = new DriverSharedReceiveQueue(b.device, { pd: b.pd, wqes: 8, sges: 1 });
  const [qp] = connect(a, b, undefined, {}, {}, { srq });
  bed.heat(qp, a, b);
  const target = new Buffer64(b, 8);
  srq.postReceive([target.sge()]);
  assertPosted(bed, [a, b], qp, inline(6), { isByProgram: false, far: [0] });
  assert.equal(target.bytes[0], 6);
});

test("a request that is not plain is found though nobody has rung for it", () => {
  const { bed, a, b, qp, peer } = writers();
  const target = new Buffer64(b, 8);
  peer.postReceive([target.sge()]);
  qp.writeSend({ ...inline(8), opcode: SendOpcode.SEND_IMM, immediate: 0x1234 });
  qp.sends.publish();
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [0]);
  assert.deepEqual(
    b.cq.poll().map(({ syndrome, immediate }) => [syndrome, immediate]),
    [[0, 0x1234]],
  );
});
