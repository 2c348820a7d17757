// What connected services promise while all goes well and while it nearly does: order, fences, PSNs, timers, interrupted messages,
// headers. IBA vol 1, 9.5 (ordering), 9.7 (RC), 9.8.2 (UC), 10.8.3 (fence).

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectOptions, DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState, RNR_TIMER_NS, Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { Buffer64, connect, fill, type Guest, TestBed } from "../in-process/pair.ts";
import { stateOf, statuses } from "./kit.ts";

const { SEND, RDMA_WRITE, RDMA_READ, ATOMIC_FA } = SendOpcode;

test("requests of a queue pair complete in the order they were posted, whatever they are (9.5, 10.8.3.1)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 200_000);
  const target = new Buffer64(bed[1], 200_000);
  const small = new Buffer64(bed[0], 8);
  for (let i = 0; i < 3; i++) qpB.postReceive([target.sge()]);
  const posted = [
    qpA.postSend({ opcode: RDMA_WRITE, sges: [source.sge()], ...target.remote() }),
    qpA.postSend({ opcode: ATOMIC_FA, sges: [small.sge()], swapAdd: 1n, ...target.remote() }),
    qpA.postSend({ opcode: SEND, sges: [source.sge(0, 100)] }),
    qpA.postSend({ opcode: RDMA_READ, sges: [source.sge(0, 100_000)], ...target.remote() }),
    qpA.postSend({ opcode: SEND, sges: [source.sge(0, 0)] }),
  ];
  bed.domain.settle();
  assert.deepEqual(
    bed[0].cq.poll().map(({ wqe, syndrome }) => [wqe, syndrome]),
    posted.map((wqe) => [wqe, 0]),
  );
});

test("a message's data are there when its completion is, and those of all earlier writes (9.5)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 300_000);
  const target = new Buffer64(bed[1], 300_000);
  const flag = new Buffer64(bed[1], 8);
  fill(source.bytes, 5);
  qpB.postReceive([flag.sge()]);
  qpA.postSend({ opcode: RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  qpA.postSend({ opcode: SEND, inline: Uint8Array.of(1) });
  for (let steps = 0; bed[1].cq.poll().length === 0; steps++) {
    assert.ok(steps < 1000);
    bed.domain.step();
  }
  assert.ok(target.bytes.equals(source.bytes));
});

test("a fenced request starts after earlier reads and atomics have ended: it may use what they brought (10.8.3.3)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const counter = new Buffer64(bed[1], 8);
  const copy = new Buffer64(bed[0], 8);
  const inbox = new Buffer64(bed[1], 8 * 50);
  for (let i = 0; i < 50; i++) {
    qpB.postReceive([inbox.sge(8 * i, 8)]);
    qpA.postSend({ opcode: ATOMIC_FA, sges: [copy.sge()], swapAdd: 1n, ...counter.remote(), isSignaled: false });
    qpA.postSend({ opcode: SEND, sges: [copy.sge()], isFenced: true, isSignaled: false });
    bed.domain.settle();
  }
  const seen = Array.from({ length: 50 }, (_, i) => inbox.bytes.readBigUInt64LE(8 * i));
  assert.deepEqual(
    seen,
    Array.from({ length: 50 }, (_, i) => BigInt(i)),
  );
});

test("atomics of many queue pairs on one address lose nothing (9.4.5.1: atomic among the QPs of an HCA)", () => {
  const bed = new TestBed(3);
  const target = new Buffer64(bed[1], 8);
  const senders = [bed[0], bed.guests[2]!].flatMap((guest) =>
    Array.from({ length: 4 }, () => ({ guest, qp: connect(guest, bed[1])[0], result: new Buffer64(guest, 8) })),
  );
  for (let round = 0; round < 20; round++) {
    for (const { qp, result } of senders) {
      qp.postSend({ opcode: ATOMIC_FA, sges: [result.sge()], swapAdd: 3n, ...target.remote(), isSignaled: false });
    }
    bed.domain.step();
  }
  bed.domain.settle();
  assert.equal(target.bytes.readBigUInt64LE(0), BigInt(20 * senders.length * 3));
});

const psnOf = (qp: DriverQueuePair): number => QpContext.nextSendPsn.get(qp.query(), 0);

test("PSNs wrap at 2^24 in the middle of a message, in reads, and in both directions (9.2.1)", () => {
  const bed = new TestBed(2);
  const start = 0xfffffd;
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { sendPsn: start, receivePsn: start, mtuCode: 1 });
  const source = new Buffer64(bed[0], 2048);
  const target = new Buffer64(bed[1], 2048);
  fill(source.bytes, 3);
  for (const [guest, qp, from, to] of [
    [bed[0], qpA, source, target],
    [bed[1], qpB, target, source],
  ] as const) {
    // eight packets of 256 bytes: the PSN passes 0xffffff in the second half of the first message
    qp.postSend({ opcode: RDMA_WRITE, sges: [from.sge()], ...to.remote() });
    qp.postSend({ opcode: RDMA_READ, sges: [from.sge()], ...to.remote() });
    qp.postSend({ opcode: RDMA_WRITE, inline: Uint8Array.of(), ...to.remote() });
    bed.domain.settle();
    assert.deepEqual(statuses(guest), ["OK", "OK", "OK"]);
    assert.equal(psnOf(qp), (start + 8 + 8 + 1) & 0xffffff);
  }
  assert.ok(target.bytes.equals(source.bytes));
  assert.equal(QpContext.nextReceivePsn.get(qpB.query(), 0), psnOf(qpA));
});

test("RNR: the wait is the responder's timer, as often as the requester may retry (9.7.5.2.8)", () => {
  const bed = new TestBed(2);
  const code = 16;
  const [qpA] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 3, minRnrTimer: code });
  qpA.postSend({ opcode: SEND, inline: Uint8Array.of(1) });
  bed.domain.settle();
  const timer = RNR_TIMER_NS[code]!;
  bed.elapse(3.9 * timer, 390);
  assert.deepEqual(statuses(bed[0]), [], "the fourth wait has not ended");
  bed.elapse(0.3 * timer, 30);
  assert.deepEqual(statuses(bed[0]), ["RNR_RETRY"]);
});

test("RNR: seven means for ever, and a message that got through starts the count again (9.7.5.2.8)", () => {
  const bed = new TestBed(2);
  const target = new Buffer64(bed[1], 8);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 7, minRnrTimer: 1 });
  qpA.postSend({ opcode: SEND, inline: Uint8Array.of(1) });
  bed.elapse(1e9, 200);
  qpB.postReceive([target.sge()]);
  bed.elapse(1e6);
  assert.deepEqual(statuses(bed[0]), ["OK"]);
  const [qpC, qpD] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 1, minRnrTimer: 14 });
  for (let i = 0; i < 4; i++) {
    qpC.postSend({ opcode: SEND, inline: Uint8Array.of(1) });
    bed.elapse(1.5 * RNR_TIMER_NS[14]!, 10);
    qpD.postReceive([target.sge()]);
    bed.elapse(1e6);
    assert.deepEqual(statuses(bed[0]), ["OK"], `message ${i}`);
  }
});

test("an ACK timeout of 0 waits for ever (9.7.6.1.3)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { ackTimeout: 0, retryCount: 0 });
  const target = new Buffer64(bed[1], 8);
  bed[1].device.commands.run(Command.ANY2RST_QP, { modifier: qpB.number, opcodeModifier: 3 });
  qpA.postSend({ opcode: RDMA_WRITE, inline: Uint8Array.of(1), ...target.remote() });
  bed.elapse(60e9, 100);
  assert.deepEqual([statuses(bed[0]), stateOf(qpA)], [[], "RTS"]);
});

const counterOf = (guest: Guest, name: keyof typeof AdapterCounter): number =>
  guest.node.hca.adapter.counters[AdapterCounter[name] as number]!;

test("UC: a message that ends half way is dropped, and its receive WQE takes the next one (9.8.2.2)", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.UC);
  const source = new Buffer64(bed[0], 1 << 20);
  const target = new Buffer64(bed[1], 1 << 20);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SEND, sges: [source.sge()] });
  bed.domain.step();
  bed.domain.step();
  source.region.deregister();
  bed.domain.settle();
  assert.deepEqual([statuses(bed[0]), statuses(bed[1])], [["LOCAL_PROTECTION"], []]);
  assert.equal(stateOf(qpA), "SQE");
  qpA.transition(Command.SQERR2RTS_QP, QpState.RTS, 0);
  qpA.postSend({ opcode: SEND, inline: Uint8Array.of(7) });
  bed.domain.settle();
  const [completion] = bed[1].cq.poll();
  assert.deepEqual([completion?.syndrome, completion?.byteCount, target.bytes[0]], [0, 1, 7]);
  assert.equal(counterOf(bed[1], "droppedInterrupted"), 1);
});

test("UC: writes that the responder refuses are dropped, and nobody hears of it (9.8.2.2, 9.9.3)", () => {
  const bed = new TestBed(2);
  const target = new Buffer64(bed[1], 8);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.UC);
  qpB.postReceive([target.sge()]);
  const wrong = { ...target.remote(), rkey: 0x4242 };
  qpA.postSend({ opcode: RDMA_WRITE, inline: Uint8Array.of(1), ...wrong });
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE_IMM, inline: Uint8Array.of(1), ...wrong });
  qpA.postSend({ opcode: SEND, inline: Uint8Array.of(2) });
  bed.domain.settle();
  assert.deepEqual([statuses(bed[0]), statuses(bed[1])], [["OK", "OK", "OK"], ["OK"]]);
  assert.deepEqual([stateOf(qpB), target.bytes[0], counterOf(bed[1], "responderErrors")], ["RTS", 2, 2]);
});

test("UC: a message that nobody receives, is too long, or is sent to a QP that is gone, is lost without a trace (9.8.2)", () => {
  const bed = new TestBed(2);
  const target = new Buffer64(bed[1], 8);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.UC);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SEND, inline: new Uint8Array(16) });
  bed.domain.settle();
  assert.deepEqual([statuses(bed[1]), counterOf(bed[1], "droppedTooLong")], [[], 1]);
  qpA.postSend({ opcode: SEND, inline: new Uint8Array(8) });
  qpA.postSend({ opcode: SEND, inline: new Uint8Array(8) });
  bed.domain.settle();
  assert.deepEqual([statuses(bed[1]), counterOf(bed[1], "droppedNoReceive")], [["OK"], 1]);
  qpB.reset();
  qpA.postSend({ opcode: SEND, inline: new Uint8Array(8) });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK", "OK", "OK", "OK"]);
  assert.ok(counterOf(bed[0], "droppedUnreachable") + counterOf(bed[1], "droppedNoQp") > 0);
});

/** Gives a connected QP a path with a GRH to that GID. */
function globalPath(qp: DriverQueuePair, guest: Guest, lid: number, gid: Uint8Array): void {
  guest.device.commands.run(Command.RTS2SQD_QP, { modifier: qp.number });
  qp.transition(Command.SQD2SQD_QP, QpState.SQD, QpOptional.PRIMARY_PATH, (view, at) => {
    const path = at + PRIMARY_PATH_AT;
    AddressPath.rlid.set(view, path, lid);
    AddressPath.grh.set(view, path, 1);
    AddressPath.hopLimit.set(view, path, 1);
    AddressPath.rgid.set(view, path, gid);
  });
  qp.transition(Command.SQD2RTS_QP, QpState.RTS, 0);
}

test("a GRH must name the port it reaches, and come from the GID the responder expects (9.6.1.2)", () => {
  for (const kind of ["right", "default prefix", "wrong destination", "wrong source"] as const) {
    const bed = new TestBed(2);
    const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { retryCount: 0, ackTimeout: 8 });
    const target = new Buffer64(bed[1], 8);
    const [a, b] = bed.wires.map((wire) => wire.gids.slice(0, 16));
    const none = Uint8Array.from({ length: 16 }, () => 0x77);
    globalPath(qpA, bed[0], 2, kind === "wrong destination" ? none : b!);
    globalPath(qpB, bed[1], 1, kind === "wrong source" ? none : a!);
    if (kind === "default prefix") bed.wires[1]!.gids.fill(0x55, 0, 8);
    qpA.postSend({ opcode: RDMA_WRITE, inline: Uint8Array.of(1), ...target.remote() });
    bed.elapse(10e6);
    const isRight = kind === "right" || kind === "default prefix";
    assert.deepEqual(statuses(bed[0]), [isRight ? "OK" : "TRANSPORT_RETRY"], kind);
    assert.equal(counterOf(bed[1], "droppedGid") > 0, !isRight, kind);
  }
});

test("MTU: each end may have another one as long as no message needs two packets (9.7.4.1.6)", () => {
  const bed = new TestBed(2);
  const other: Partial<ConnectOptions> = { mtuCode: 1 };
  const [qpA] = connect(bed[0], bed[1], Service.RC, { mtuCode: 3 }, {}, {}, other);
  const target = new Buffer64(bed[1], 512);
  const source = new Buffer64(bed[0], 512);
  qpA.postSend({ opcode: RDMA_WRITE, sges: [source.sge(0, 256)], ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK"]);
});

test("memory whose translation changes under a running transfer: the transfer goes where the table says then, or fails (10.6.3)", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 1 << 20);
  const target = new Buffer64(bed[1], 1 << 20);
  fill(source.bytes, 1);
  qpA.postSend({ opcode: RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  bed.domain.step();
  bed.domain.step();
  const { device, node } = bed[1];
  const mtt = device.icm.mttAt(target.region.mttAddress + 8 * 200);
  node.access.memory.view.setUint32(mtt + 4, 0);
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["REMOTE_ACCESS"]);
  assert.ok(target.bytes.subarray(0, 65536).equals(source.bytes.subarray(0, 65536)));
  assert.ok(target.bytes.subarray(200 * 4096).every((byte) => byte === 0));
});
