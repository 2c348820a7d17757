// Requests in every form on connections that the compiled program has taken over: what it carries out, what it leaves to the others, and how
// those end. A request that is not plain must come out as if the program were not there.

import { assertPosted, CompiledBed, type Expected } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { STATIC_BYTES } from "../../src/base/window.ts";
import type { DriverQueuePair, SendRequest } from "../../src/driver/queue-pair.ts";
import { RTS_MASK } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, AddressPath, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, fill, type Guest, newQp } from "./pair.ts";

const PAGE = 4096;
const { SEND, RDMA_WRITE } = SendOpcode;
const QUEUES = { sges: 2, receiveSges: 2, inlineBytes: 60 };
const SLICE = 64 * 1024;
const NOT_PLAIN: Expected = { isByProgram: false };

class Pair {
  readonly bed = new CompiledBed();
  readonly ends: [Guest, Guest] = [this.bed[0], this.bed[1]];
  readonly qp: DriverQueuePair;
  readonly peer: DriverQueuePair;
  readonly source = new Buffer64(this.ends[0], 4 * PAGE);
  readonly target = new Buffer64(this.ends[1], 4 * PAGE);

  constructor(connection: Parameters<typeof connect>[3] = {}, queues: Parameters<typeof connect>[4] = {}) {
    [this.qp, this.peer] = connect(...this.ends, Service.RC, { rnrRetry: 0, ...connection }, { ...QUEUES, ...queues });
    this.bed.heat(this.qp, ...this.ends);
    fill(this.source.bytes, 3);
    this.target.bytes.fill(0);
  }

  /** Posts a request, and what comes of it is as expected. */
  assertPosted(request: SendRequest, expected?: Expected): void {
    assertPosted(this.bed, this.ends, this.qp, request, expected);
  }

  /** So many bytes from the beginning have arrived, and no more. */
  assertArrived(length: number, from = this.source.bytes): void {
    const { bytes } = this.target;
    assert.ok(bytes.subarray(0, length).equals(from.subarray(0, length)));
    assert.ok(bytes.subarray(length).every((byte) => byte === 0));
  }

  get write(): Pick<SendRequest, "opcode" | "remoteAddress" | "rkey"> {
    return { opcode: RDMA_WRITE, ...this.target.remote() };
  }

  /** Makes the units of 16 bytes that the last request is said to have another number, and publishes it. */
  publishWithUnits(request: SendRequest, units: number): void {
    this.qp.writeSend(request);
    const { view } = this.ends[0].node.access.memory;
    const at = this.qp.sendSlotAt(this.qp.sendPosted - 2) + 4;
    view.setUint32(at, (view.getUint32(at) & ~0x3f) | units);
    this.qp.publishSends();
  }
}

test("lengths around all that is special", () => {
  const pair = new Pair();
  for (const length of [1, 7, 8, 9, 63, 64, 65, 2047, 2048, 2049, PAGE, PAGE + 1, 2 * PAGE, 4 * PAGE]) {
    pair.target.bytes.fill(0);
    pair.assertPosted({ ...pair.write, sges: [pair.source.sge(0, length)] });
    pair.assertArrived(length);
    pair.target.bytes.fill(0);
    pair.peer.postReceive([pair.target.sge()]);
    pair.assertPosted({ opcode: SEND, sges: [pair.source.sge(0, length)] }, { far: [0] });
    pair.assertArrived(length);
  }
});

test("one slice and several, wherever they begin", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(a, b);
  const [source, target] = [new Buffer64(a, 4 * SLICE), new Buffer64(b, 5 * SLICE)];
  fill(source.bytes, 4);
  for (const length of [SLICE, SLICE + 1, 3 * SLICE, 3 * SLICE + 4095]) {
    for (const from of [0, 1, 4095]) {
      target.bytes.fill(0);
      assertPosted(bed, [a, b], qp, { opcode: RDMA_WRITE, sges: [source.sge(from, length)], ...target.remote(3) });
      assert.ok(target.bytes.subarray(3, 3 + length).equals(source.bytes.subarray(from, from + length)));
      assert.ok(target.bytes.subarray(3 + length).every((byte) => byte === 0));
      target.bytes.fill(0);
      peer.postReceive([target.sge(5, 4 * SLICE)]);
      assertPosted(bed, [a, b], qp, { opcode: SEND, sges: [source.sge(from, length)] }, { far: [0] });
      assert.ok(target.bytes.subarray(5, 5 + length).equals(source.bytes.subarray(from, from + length)));
      assert.ok(target.bytes.subarray(5 + length).every((byte) => byte === 0));
    }
  }
});

test("much room for a short message: the program's lists of pages do not overflow", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(a, b);
  const target = new Buffer64(b, 2 << 20);
  const { window } = a.node.hca.adapter.hcaWords!;
  const statics = Buffer.from(window.memory.buffer, 2048, STATIC_BYTES - 2048);
  for (const [from, room, isByProgram] of [
    [0, 128 * 1024, true],
    [1, 128 * 1024, true],
    [4095, 128 * 1024, true],
    [0, 128 * 1024 + 1, true],
    [0, 2 << 20, true],
  ] as const) {
    peer.postReceive([target.sge(from, room)]);
    assertPosted(bed, [a, b], qp, { opcode: SEND, inline: Uint8Array.of(7) }, { isByProgram, far: [0] });
    assert.equal(target.bytes[from], 7);
    assert.ok(statics.every((byte) => byte === 0));
  }
});

test("inline data: empty, all there is room for, more than the request holds", () => {
  const pair = new Pair();
  const data = Uint8Array.from({ length: 60 }, (_, i) => i + 1);
  for (const length of [1, 11, 12, 13, 60]) {
    pair.target.bytes.fill(0);
    pair.assertPosted({ ...pair.write, inline: data.subarray(0, length) });
    pair.assertArrived(length, Buffer.from(data));
  }
  pair.target.bytes.fill(0);
  pair.assertPosted({ ...pair.write, inline: data.subarray(0, 0) }, NOT_PLAIN);
  pair.peer.postReceive([pair.target.sge()]);
  pair.assertPosted({ opcode: SEND, inline: data.subarray(0, 0) }, { isByProgram: false, far: [0] });
  // 60 bytes in a request that is said to end after the first 12.
  assert.equal(
    pair.bed.messagesDuring(() => pair.publishWithUnits({ ...pair.write, inline: data }, 3)),
    0,
  );
  assert.deepEqual(pair.bed.syndromes(pair.ends[0]), [Syndrome.LOCAL_QP_OPERATION]);
  pair.assertArrived(0);
});

test("requests shorter than their segments, longer than their slot, of no size", () => {
  for (const [units, syndromes] of [
    [0, [Syndrome.LOCAL_QP_OPERATION]],
    [1, [Syndrome.LOCAL_QP_OPERATION]],
    [2, [0]],
    [9, [Syndrome.LOCAL_QP_OPERATION]],
    [63, [Syndrome.LOCAL_QP_OPERATION]],
  ] as const) {
    const pair = new Pair();
    const carried = pair.bed.messagesDuring(() => pair.publishWithUnits({ ...pair.write, sges: [pair.source.sge(0, 8)] }, units));
    assert.equal(carried, 0, `${units} units`);
    assert.deepEqual(pair.bed.syndromes(pair.ends[0]), syndromes, `${units} units`);
    pair.assertArrived(0);
  }
});

test("inline data in a request longer than its slot", () => {
  const pair = new Pair();
  const slotUnits = (1 << pair.qp.logSqStride) / 16;
  assert.equal(
    pair.bed.messagesDuring(() => pair.publishWithUnits({ ...pair.write, inline: Uint8Array.of(1) }, slotUnits)),
    1,
  );
  pair.target.bytes.fill(0);
  pair.bed.syndromes(pair.ends[0]);
  assert.equal(
    pair.bed.messagesDuring(() => pair.publishWithUnits({ ...pair.write, inline: Uint8Array.of(1) }, slotUnits + 1)),
    0,
  );
  assert.deepEqual(pair.bed.syndromes(pair.ends[0]), [Syndrome.LOCAL_QP_OPERATION]);
  pair.assertArrived(0);
});

test("a send that is said to end before its segment", () => {
  const pair = new Pair();
  pair.peer.postReceive([pair.target.sge()]);
  assert.equal(
    pair.bed.messagesDuring(() => pair.publishWithUnits({ opcode: SEND, sges: [pair.source.sge(0, 8)] }, 1)),
    0,
  );
  assert.deepEqual(pair.bed.syndromes(pair.ends[0]), [0]);
  assert.deepEqual(
    pair.ends[1].cq.poll().map(({ byteCount }) => byteCount),
    [0],
  );
  pair.assertArrived(0);
});

test("two segments at either end", () => {
  const pair = new Pair();
  const { source, target } = pair;
  pair.assertPosted({ ...pair.write, sges: [source.sge(0, 8), source.sge(8, 8)] }, NOT_PLAIN);
  pair.assertArrived(16);
  target.bytes.fill(0);
  pair.peer.postReceive([target.sge(0, 16), target.sge(16, 16)]);
  pair.assertPosted({ opcode: SEND, sges: [source.sge(0, 24)] }, { isByProgram: false, far: [0] });
  pair.assertArrived(24);
});

test("a receive's list ends where a segment has the reserved key and no length", () => {
  // 0x100 is that key; the second segment then names what cannot be written.
  for (const [length, key, syndrome] of [
    [16, 0x100, Syndrome.LOCAL_PROTECTION],
    [0, 0x77, undefined],
  ] as const) {
    const pair = new Pair();
    pair.peer.postReceive([pair.target.sge(0, 32), { address: 0n, length, lkey: key }]);
    const carried = pair.bed.messagesDuring(() => pair.qp.postSend({ opcode: SEND, sges: [pair.source.sge(0, 24)] }));
    assert.equal(carried, 0);
    const [completion] = pair.ends[1].cq.poll();
    if (syndrome !== undefined) assert.equal(completion?.syndrome, syndrome);
    assert.ok(completion !== undefined);
  }
});

test("receives with too little room, beyond their region, without the right to be written", () => {
  const readOnly = (b: Guest): Buffer64 => new Buffer64(b, PAGE, { access: Access.LOCAL_READ | Access.REMOTE_WRITE });
  for (const [receive, near, far] of [
    [(pair: Pair) => pair.target.sge(0, 7), Syndrome.REMOTE_INVALID_REQUEST, Syndrome.LOCAL_LENGTH],
    [(pair: Pair) => pair.target.sge(4 * PAGE - 8, 9), Syndrome.REMOTE_OPERATION, Syndrome.LOCAL_PROTECTION],
    [(pair: Pair) => pair.target.sge(2 * PAGE, 2 * PAGE + 1), Syndrome.REMOTE_OPERATION, Syndrome.LOCAL_PROTECTION],
    [(pair: Pair) => readOnly(pair.ends[1]).sge(), Syndrome.REMOTE_OPERATION, Syndrome.LOCAL_PROTECTION],
  ] as const) {
    const pair = new Pair();
    pair.peer.postReceive([pair.target.sge(0, 8)]);
    pair.assertPosted({ opcode: SEND, sges: [pair.source.sge(0, 8)] }, { far: [0] });
    pair.target.bytes.fill(0);
    pair.peer.postReceive([receive(pair)]);
    pair.assertPosted({ opcode: SEND, sges: [pair.source.sge(0, 8)] }, { isByProgram: false, near: [near], far: [far] });
    pair.assertArrived(0);
  }
});

test("messages longer than the connection allows", () => {
  const pair = new Pair({ logMaxMessage: 5 });
  for (const data of [{ inline: new Uint8Array(32).fill(1) }, { sges: [pair.source.sge(0, 32)] }])
    pair.assertPosted({ ...pair.write, ...data });
  pair.assertPosted({ ...pair.write, inline: new Uint8Array(33) }, { isByProgram: false, near: [Syndrome.LOCAL_LENGTH] });
  const other = new Pair({ logMaxMessage: 5 });
  other.assertPosted({ ...other.write, sges: [other.source.sge(0, 33)] }, { isByProgram: false, near: [Syndrome.LOCAL_LENGTH] });
});

test("other operations are not the program's", () => {
  const pair = new Pair();
  const { source } = pair;
  const sges = [source.sge(0, 8)];
  pair.peer.postReceive([pair.target.sge()]);
  pair.assertPosted({ opcode: SendOpcode.SEND_IMM, sges, immediate: 1 }, { isByProgram: false, far: [0] });
  pair.assertPosted({ ...pair.write, opcode: SendOpcode.RDMA_READ, sges: [source.sge(64, 8)] }, NOT_PLAIN);
  assert.ok(source.bytes.subarray(64, 72).equals(source.bytes.subarray(0, 8)));
  pair.peer.postReceive([pair.target.sge()]);
  pair.assertPosted({ ...pair.write, opcode: SendOpcode.RDMA_WRITE_IMM, sges }, { isByProgram: false, far: [0] });
  pair.assertPosted({ ...pair.write, sges });
});

test("queue pairs that may not post writes", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = [newQp(a, Service.RC), newQp(b, Service.RC)];
  const target = new Buffer64(b, 64);
  for (const [end, other, guest] of [
    [qp, peer, b],
    [peer, qp, a],
  ] as const) {
    end.init();
    end.readyToReceive({ remoteQpn: other.number, dlid: guest.wire.lid });
    end.transition(Command.RTR2RTS_QP, QpState.RTS, RTS_MASK[Service.RC] ?? 0, (view, at) => {
      QpContext.sendWrites.set(view, at, 0);
      QpContext.retryCount.set(view, at, 7);
      AddressPath.rnrRetry.set(view, at + PRIMARY_PATH_AT, 7);
    });
  }
  for (const isByProgram of [false, true]) {
    peer.postReceive([target.sge()]);
    assertPosted(bed, [a, b], qp, { opcode: SEND, inline: Uint8Array.of(1) }, { isByProgram, far: [0] });
  }
  target.bytes.fill(0);
  const write = { opcode: RDMA_WRITE, inline: Uint8Array.of(2), ...target.remote() };
  assertPosted(bed, [a, b], qp, write, { isByProgram: false, near: [Syndrome.LOCAL_QP_OPERATION] });
  assert.ok(target.bytes.every((byte) => byte === 0));
});

test("who signals", () => {
  const pair = new Pair();
  pair.assertPosted({ ...pair.write, inline: Uint8Array.of(1), isSignaled: false }, { near: [] });
  const always = new Pair({}, { signalAll: true });
  always.assertPosted({ ...always.write, inline: Uint8Array.of(1), isSignaled: false }, { near: [0] });
});
