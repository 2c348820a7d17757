// Completion queues of connections that the compiled program has taken over: where their entries lie, when they are full, whom an armed one tells.

import { assertPosted, asyncTypes, CompiledBed, registerRaw, stateOf, writers } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Command, ResizeCq } from "../../src/spec/hca/commands.ts";
import { Access } from "../../src/spec/hca/contexts.ts";
import { CQE_BYTES, Cqe, EventType, SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, type Guest } from "./pair.ts";

const PAGE = 4096;
const inline = (byte: number) => ({ opcode: SendOpcode.SEND, inline: Uint8Array.of(byte) });

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
  // One that has been written by others, and then one by the program.
  b.cq.poll();
  peer.postReceive([target.sge()]);
  const imm = { opcode: SendOpcode.SEND_IMM, isSolicited: true, isSignaled: false };
  assert.equal(
    bed.messagesDuring(() => qp.postSend(imm)),
    0,
  );
  send(false, true);
  b.cq.arm(true);
  bed.domain.settle();
  assert.equal(b.cq.events, events + 4);
});
