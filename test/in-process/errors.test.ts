// What goes wrong on a connection, and how each side learns of it. IBA vol 1, 9.9; docs "infinihost" 5.5.1, 5.6.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Access, QpContext } from "../../src/spec/hca/contexts.ts";
import { EventType, SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { PortState, QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, type Guest, TestBed, usesPackets } from "./pair.ts";

const syndromes = (guest: Guest): number[] => guest.cq.poll().map((c) => c.syndrome);
const eventTypes = (guest: Guest): number[] => guest.device.asyncEvents.map((e) => e.type);
const stateOf = (qp: { query(): DataView }): number => QpContext.state.get(qp.query(), 0);

test("the responder is not ready: the sender waits, goes on when it is, and gives up after its retries", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 2, minRnrTimer: 14 });
  const source = new Buffer64(bed[0], 64);
  const target = new Buffer64(bed[1], 64);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
  bed.elapse(2_000_000);
  assert.deepEqual(syndromes(bed[0]), []);
  qpB.postReceive([target.sge()]);
  // On the short path the sender need not wait for its timer.
  if (usesPackets) bed.elapse(2_000_000);
  bed.domain.settle();
  assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[0], [0]]);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()], isSignaled: false });
  bed.elapse(20_000_000);
  assert.deepEqual(syndromes(bed[0]), [Syndrome.RNR_RETRY, Syndrome.WR_FLUSHED]);
  assert.equal(stateOf(qpA), QpState.ERR);
});

test("nobody answers: transport retries exceeded, after retry count × timeout", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { retryCount: 3, ackTimeout: 10 });
  const source = new Buffer64(bed[0], 64);
  qpB.reset();
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
  bed.elapse(3 * 4096 * 1024, 30);
  assert.deepEqual(syndromes(bed[0]), []);
  bed.elapse(2 * 4096 * 1024, 30);
  assert.deepEqual(syndromes(bed[0]), [Syndrome.TRANSPORT_RETRY]);
});

test("a link that comes back in time costs nothing but time", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1], Service.RC, { retryCount: 7, ackTimeout: 14 });
  const target = new Buffer64(bed[1], 64);
  bed.wires[1]!.setState(PortState.DOWN);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1, 2, 3), ...target.remote() });
  bed.elapse(100_000_000);
  assert.deepEqual(syndromes(bed[0]), []);
  bed.wires[1]!.setState(PortState.ACTIVE);
  bed.elapse(100_000_000);
  assert.deepEqual(syndromes(bed[0]), [0]);
  assert.equal(target.bytes[2], 3);
});

const remoteFaults: { name: string; access: number; length: number; offset: number }[] = [
  { name: "no write access", access: Access.LOCAL_WRITE | Access.REMOTE_READ, length: 64, offset: 0 },
  { name: "past the end", access: Access.LOCAL_WRITE | Access.REMOTE_WRITE, length: 64, offset: 1 },
  { name: "before the start", access: Access.LOCAL_WRITE | Access.REMOTE_WRITE, length: 8, offset: -1 },
];
for (const { name, access, length, offset } of remoteFaults) {
  test(`RDMA write, ${name}: remote access error, responder in ERR with an event, nothing written`, () => {
    const bed = new TestBed(2);
    const [qpA, qpB] = connect(bed[0], bed[1]);
    const source = new Buffer64(bed[0], 64);
    const target = new Buffer64(bed[1], 64, { access });
    source.bytes.fill(7);
    qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], ...target.remote(offset) });
    bed.domain.settle();
    assert.deepEqual(syndromes(bed[0]), [Syndrome.REMOTE_ACCESS]);
    assert.deepEqual([stateOf(qpA), stateOf(qpB)], [QpState.ERR, QpState.ERR]);
    assert.ok(eventTypes(bed[1]).includes(EventType.WQ_ACCESS_VIOLATION));
    assert.ok(target.bytes.every((byte) => byte === 0));
  });
}

test("keys: a wrong rkey, another protection domain, a deregistered region", () => {
  for (const kind of ["wrong", "pd", "gone"] as const) {
    const bed = new TestBed(2);
    const [qpA] = connect(bed[0], bed[1]);
    const target = new Buffer64(bed[1], 64, kind === "pd" ? { pd: bed[1].device.allocatePd() } : {});
    if (kind === "gone") target.region.deregister();
    const { remoteAddress, rkey } = target.remote();
    qpA.postSend({
      opcode: SendOpcode.RDMA_WRITE,
      inline: new Uint8Array(8),
      remoteAddress,
      rkey: kind === "wrong" ? (rkey ^ 0x1) >>> 0 : rkey,
    });
    bed.domain.settle();
    assert.deepEqual(syndromes(bed[0]), [Syndrome.REMOTE_ACCESS], kind);
  }
});

test("a bad lkey of the sender: local protection error, the receiver sees nothing", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 64);
  const target = new Buffer64(bed[1], 64);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [{ ...source.sge(), lkey: 0x4242 }] });
  bed.domain.settle();
  assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], [[Syndrome.LOCAL_PROTECTION], []]);
});

test("a receive buffer that is too short or not writable fails both sides with their own syndromes", () => {
  for (const kind of ["short", "readonly"] as const) {
    const bed = new TestBed(2);
    const [qpA, qpB] = connect(bed[0], bed[1]);
    const source = new Buffer64(bed[0], 64);
    const target = new Buffer64(bed[1], 64, kind === "readonly" ? { access: Access.LOCAL_READ } : {});
    qpB.postReceive([target.sge(0, kind === "short" ? 63 : 64)]);
    qpB.postReceive([target.sge()]);
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
    bed.domain.settle();
    const expected =
      kind === "short"
        ? [[Syndrome.REMOTE_INVALID_REQUEST], [Syndrome.LOCAL_LENGTH, Syndrome.WR_FLUSHED]]
        : [[Syndrome.REMOTE_OPERATION], [Syndrome.LOCAL_PROTECTION, Syndrome.WR_FLUSHED]];
    assert.deepEqual([syndromes(bed[0]), syndromes(bed[1])], expected, kind);
    assert.deepEqual([stateOf(qpA), stateOf(qpB)], [QpState.ERR, QpState.ERR]);
  }
});

test("reads and atomics that are not allowed, or atomics that are not aligned: remote invalid request", () => {
  const cases = [
    { opcode: SendOpcode.RDMA_READ, connection: { allowsRemoteRead: false }, offset: 0 },
    { opcode: SendOpcode.ATOMIC_FA, connection: { allowsRemoteAtomic: false }, offset: 0 },
    { opcode: SendOpcode.ATOMIC_FA, connection: {}, offset: 4 },
  ];
  for (const { opcode, connection, offset } of cases) {
    const bed = new TestBed(2);
    const [qpA] = connect(bed[0], bed[1], Service.RC, connection);
    const result = new Buffer64(bed[0], 8);
    const target = new Buffer64(bed[1], 64);
    qpA.postSend({ opcode, sges: [result.sge()], swapAdd: 1n, ...target.remote(offset) });
    bed.domain.settle();
    assert.deepEqual(syndromes(bed[0]), [Syndrome.REMOTE_INVALID_REQUEST]);
    assert.ok(eventTypes(bed[1]).includes(EventType.WQ_INVALID_REQUEST));
  }
});

test("ERR flushes what is posted and what is posted later, one completion each, signaled or not", () => {
  const bed = new TestBed(2);
  const [, qpB] = connect(bed[0], bed[1]);
  const buffer = new Buffer64(bed[1], 64);
  qpB.postReceive([buffer.sge()]);
  qpB.postReceive([buffer.sge()]);
  qpB.toError();
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[1]), [Syndrome.WR_FLUSHED, Syndrome.WR_FLUSHED]);
  qpB.postReceive([buffer.sge()]);
  qpB.postSend({ opcode: SendOpcode.SEND, sges: [], isSignaled: false });
  bed.domain.settle();
  const late = bed[1].cq.poll();
  assert.deepEqual(
    late.map((c) => [c.isSend, c.syndrome]).sort(),
    [
      [false, Syndrome.WR_FLUSHED],
      [true, Syndrome.WR_FLUSHED],
    ].sort(),
  );
  qpB.reset();
});

test("a QP of an SRQ in ERR reports its last WQE and leaves the SRQ alone", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 1 });
  const [, qpB] = connect(bed[0], bed[1], Service.RC, {}, {}, { srq });
  const buffer = new Buffer64(bed[1], 64);
  srq.postReceive([buffer.sge()]);
  qpB.toError();
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[1]), []);
  assert.ok(eventTypes(bed[1]).includes(EventType.SRQ_LAST_WQE));
  assert.equal(srq.query().available, 1);
});

test("a completion queue that overruns tells the driver and fails its QPs", () => {
  const bed = new TestBed(2);
  const cq = new DriverCompletionQueue(bed[0].device, 3, bed[0].pd);
  const [qpA] = connect(bed[0], bed[1], Service.RC, {}, { sendCq: cq }, {});
  const target = new Buffer64(bed[1], 64);
  for (let i = 0; i < 6; i++) qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(i), ...target.remote(i) });
  bed.domain.settle();
  assert.equal(cq.poll().length, 4);
  const [event] = bed[0].device.asyncEvents.filter((e) => e.type === EventType.CQ_ERROR);
  assert.deepEqual([event?.number, event?.syndrome], [cq.number, 1]);
  assert.equal(stateOf(qpA), QpState.ERR);
});

test("rings whose counts lie: the QP fails, the device and its neighbours go on", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const [qpC] = connect(bed[0], bed[1]);
  const target = new Buffer64(bed[1], 64);
  qpA.sendPosted = 5000;
  qpA.publishSends();
  bed.domain.settle();
  assert.ok(eventTypes(bed[0]).includes(EventType.WQ_CATASTROPHIC));
  qpC.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(9), ...target.remote() });
  bed.domain.settle();
  assert.equal(target.bytes[0], 9);
});

test("a WQE that makes no sense fails alone with a local error", () => {
  const bed = new TestBed(2);
  for (const corrupt of [0, 63]) {
    const [qpA] = connect(bed[0], bed[1]);
    const source = new Buffer64(bed[0], 64);
    qpA.writeSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
    bed[0].node.access.memory.view.setUint32(qpA.sendSlotAt(-1) + 4, 0x80 | corrupt);
    qpA.publishSends();
    bed.domain.settle();
    assert.deepEqual(syndromes(bed[0]), [Syndrome.LOCAL_QP_OPERATION]);
  }
});

test("a peer that disappears in the middle of a long message", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { retryCount: 1, ackTimeout: 8 });
  const source = new Buffer64(bed[0], 1 << 20);
  const target = new Buffer64(bed[1], 1 << 20);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
  bed.domain.step();
  bed.domain.step();
  bed.domain.removeNode(bed[1].node);
  bed.elapse(20_000_000);
  assert.deepEqual(syndromes(bed[0]), [Syndrome.TRANSPORT_RETRY]);
});

test("SQD drains: the WQE in hand completes, the next waits until the queue is started again", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const target = new Buffer64(bed[1], 64);
  bed[0].device.commands.run(0x1f, { modifier: (qpA.number | 0x80000000) >>> 0 });
  bed.domain.settle();
  assert.ok(eventTypes(bed[0]).includes(EventType.SQ_DRAINED));
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[0]), []);
  qpA.transition(0x20, QpState.RTS, 0);
  bed.domain.settle();
  assert.deepEqual(syndromes(bed[0]), [0]);
});
