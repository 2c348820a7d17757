// Each asynchronous event of the specification (IBA vol 1, 11.6.3), provoked through the driver's interface. The table in
// docs/errors.md is checked against it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { ConnectOptions, DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, ALTERNATE_PATH_AT, PathMigration, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { PortState, QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, newQp, TestBed } from "../in-process/pair.ts";
import { asLines, documentedRows, events, type Row, stateOf, statuses, updateDocument } from "./kit.ts";

const rows: Row[] = [];
const observe = (name: string, libibverbs: string, how: string, section: string, run: () => string): void => {
  test(`${name}: ${how} (${section})`, () => {
    rows.push([name, libibverbs, how, run(), section]);
  });
};

const noData = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1) };

observe("COMM_ESTABLISHED", "COMM_EST", "the first message reaches a QP in RTR", "11.6.3.1", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = [newQp(bed[0], Service.RC), newQp(bed[1], Service.RC)];
  for (const [qp, other, dlid] of [
    [qpA, qpB, 2],
    [qpB, qpA, 1],
  ] as const) {
    qp.init();
    qp.readyToReceive({ remoteQpn: other.number, dlid });
  }
  qpA.readyToSend({ remoteQpn: qpB.number, dlid: 2 });
  const target = new Buffer64(bed[1], 8);
  for (let i = 0; i < 2; i++) qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(events(bed[1]), ["COMM_ESTABLISHED"]);
  return `once; the QP stays in ${stateOf(qpB)}`;
});

observe("SQ_DRAINED", "SQ_DRAINED", "RTS → SQD with the event asked for", "10.3.1.5, 11.6.3.1", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const target = new Buffer64(bed[1], 1 << 20);
  const source = new Buffer64(bed[0], 1 << 20);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  bed.domain.step();
  bed[0].device.commands.run(Command.RTS2SQD_QP, { modifier: (qpA.number | 0x80000000) >>> 0 });
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual([events(bed[0]), statuses(bed[0])], [["SQ_DRAINED"], ["OK"]]);
  return "after the message in progress; later requests wait";
});

observe("SRQ_LAST_WQE", "QP_LAST_WQE_REACHED", "a QP with an SRQ goes to ERR", "11.6.3.1", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 1 });
  const [, qpB] = connect(bed[0], bed[1], Service.RC, {}, {}, { srq });
  qpB.toError();
  bed.domain.settle();
  assert.deepEqual(events(bed[1]), ["SRQ_LAST_WQE"]);
  return "once; the SRQ's WQEs stay";
});

observe("SRQ_LIMIT", "SRQ_LIMIT_REACHED", "fewer WQEs are left than the limit", "11.6.3.1", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 1 });
  const [qpA] = connect(bed[0], bed[1], Service.RC, {}, {}, { srq });
  const target = new Buffer64(bed[1], 8);
  for (let i = 0; i < 3; i++) srq.postReceive([target.sge()]);
  srq.armLimit(3);
  for (let i = 0; i < 2; i++) qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(1) });
  bed.domain.settle();
  assert.deepEqual(events(bed[1]), ["SRQ_LIMIT"]);
  assert.equal(srq.query().limit, 0);
  return "once; the limit is 0 afterwards";
});

observe("SRQ_CATASTROPHIC", "SRQ_ERR, QP_FATAL", "the list of an SRQ leads out of its buffer", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 4, sges: 1 });
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 0, minRnrTimer: 1 }, {}, { srq });
  const target = new Buffer64(bed[1], 8);
  const first = srq.postReceive([target.sge()]);
  srq.postReceive([target.sge()]);
  bed[1].node.access.memory.view.setUint32(srq.slotAt(first), 0x7fff_ffc0);
  for (let i = 0; i < 2; i++) qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(1) });
  bed.elapse(10e6);
  const seen = events(bed[1]);
  assert.ok(seen.includes("SRQ_CATASTROPHIC"));
  assert.equal(stateOf(qpB), "ERR");
  return `the SRQ's QPs go to ${stateOf(qpB)}`;
});

observe("CQ_ERROR (1)", "CQ_ERR", "a completion queue overruns", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const cq = new DriverCompletionQueue(bed[0].device, 3, bed[0].pd);
  const [qpA] = connect(bed[0], bed[1], Service.RC, {}, { sendCq: cq }, {});
  const target = new Buffer64(bed[1], 8);
  for (let i = 0; i < 5; i++) qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual([events(bed[0]), cq.poll().length], [["CQ_ERROR"], 4]);
  return `its QPs go to ${stateOf(qpA)}; what was written can be polled`;
});

observe("CQ_ERROR (2)", "CQ_ERR", "a completion queue's memory is gone", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const cq = new DriverCompletionQueue(bed[0].device, 3, bed[0].pd);
  const [qpA] = connect(bed[0], bed[1], Service.RC, {}, { sendCq: cq }, {});
  cq.region.deregister();
  const target = new Buffer64(bed[1], 8);
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(events(bed[0]), ["CQ_ERROR"]);
  return `its QPs go to ${stateOf(qpA)}`;
});

observe("WQ_CATASTROPHIC", "QP_FATAL", "a doorbell record counts more WQEs than the ring holds", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  qpA.sendPosted = 5000;
  qpA.publishSends();
  bed.domain.settle();
  assert.deepEqual(events(bed[0]), ["WQ_CATASTROPHIC"]);
  return `the QP goes to ${stateOf(qpA)}`;
});

observe("WQ_INVALID_REQUEST", "QP_REQ_ERR", "the responder refuses a request with NAK “invalid request”", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, { allowsRemoteWrite: false });
  qpA.postSend({ ...noData, ...new Buffer64(bed[1], 8).remote() });
  bed.domain.settle();
  assert.deepEqual(events(bed[1]), ["WQ_INVALID_REQUEST"]);
  return `the responder goes to ${stateOf(qpB)}`;
});

observe("WQ_ACCESS_VIOLATION", "QP_ACCESS_ERR", "the responder refuses a request with NAK “remote access”", "11.6.3.2", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  qpA.postSend({ ...noData, ...new Buffer64(bed[1], 8).remote(), rkey: 0x4242 });
  bed.domain.settle();
  assert.deepEqual(events(bed[1]), ["WQ_ACCESS_VIOLATION"]);
  return `the responder goes to ${stateOf(qpB)}`;
});

/** Two guests whose ports have two LIDs each, with a connection over the first and the second as alternate path. */
function migrating(alternateOfB = 1): { bed: TestBed; qpA: DriverQueuePair; qpB: DriverQueuePair; target: Buffer64 } {
  const bed = new TestBed(2, { lmc: 1 });
  const quick: Partial<ConnectOptions> = { retryCount: 1, ackTimeout: 8 };
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, quick);
  for (const [qp, other, pathBits] of [
    [qpA, bed[1], 1],
    [qpB, bed[0], alternateOfB],
  ] as const) {
    qp.transition(Command.RTS2RTS_QP, QpState.RTS, QpOptional.ALTERNATE_PATH | QpOptional.PATH_MIGRATION, (view, at) => {
      QpContext.pathMigration.set(view, at, PathMigration.REARM);
      AddressPath.port.set(view, at + ALTERNATE_PATH_AT, 1);
      AddressPath.pathBits.set(view, at + ALTERNATE_PATH_AT, pathBits);
      AddressPath.rlid.set(view, at + ALTERNATE_PATH_AT, other.wire.lid + 1);
      AddressPath.ackTimeout.set(view, at + ALTERNATE_PATH_AT, 8);
    });
  }
  return { bed, qpA, qpB, target: new Buffer64(bed[1], 8) };
}

const migrationOf = (qp: DriverQueuePair): number => QpContext.pathMigration.get(qp.query(), 0);

observe("PATH_MIGRATED", "PATH_MIG", "the primary path of an armed connection fails", "17.2.8, 11.6.3.1", () => {
  const { bed, qpA, qpB, target } = migrating();
  assert.deepEqual([migrationOf(qpA), migrationOf(qpB)], [PathMigration.REARM, PathMigration.REARM]);
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual([migrationOf(qpA), migrationOf(qpB)], [PathMigration.ARMED, PathMigration.ARMED]);
  assert.deepEqual(statuses(bed[0]), ["OK"]);
  bed.wires[1]!.cut(bed[1].wire.lid);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(9), ...target.remote() });
  bed.elapse(50e6, 50);
  assert.deepEqual([events(bed[0]), events(bed[1])], [["PATH_MIGRATED"], ["PATH_MIGRATED"]]);
  assert.deepEqual([statuses(bed[0]), target.bytes[0]], [["OK"], 9]);
  assert.deepEqual([migrationOf(qpA), migrationOf(qpB)], [PathMigration.MIGRATED, PathMigration.MIGRATED]);
  return "at both ends; the request completes";
});

test("path migration: software's order moves an armed connection at once; nobody can say that it is armed (17.2.8.1)", () => {
  const { bed, qpA, qpB, target } = migrating();
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  const order = (state: number): void =>
    qpA.transition(Command.RTS2RTS_QP, QpState.RTS, QpOptional.PATH_MIGRATION, (view, at) =>
      QpContext.pathMigration.set(view, at, state),
    );
  assert.throws(() => order(PathMigration.ARMED), /BAD_PARAM/);
  order(PathMigration.MIGRATED);
  assert.deepEqual(events(bed[0]), ["PATH_MIGRATED"]);
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual([statuses(bed[0]), events(bed[1])], [["OK", "OK"], ["PATH_MIGRATED"]]);
  const lid = AddressPath.rlid.get(qpB.query(), 0x20);
  assert.equal(lid, bed[0].wire.lid + 1, "the alternate path is the primary one now");
});

test("path migration: a connection that is not armed fails with its path (17.2.8)", () => {
  const bed = new TestBed(2, { lmc: 1 });
  const [qpA] = connect(bed[0], bed[1], Service.RC, { retryCount: 1, ackTimeout: 8 });
  bed.wires[1]!.cut(bed[1].wire.lid);
  qpA.postSend({ ...noData, ...new Buffer64(bed[1], 8).remote() });
  bed.elapse(50e6, 50);
  assert.deepEqual([events(bed[0]), statuses(bed[0])], [[], ["TRANSPORT_RETRY"]]);
});

observe("PATH_MIGRATION_FAILED", "PATH_MIG_ERR", "the other end migrates to a path that was not agreed on", "17.2.8.1.3", () => {
  const { bed, qpA, target } = migrating(0);
  // B expects A's second LID, but A's alternate path has the first as its source.
  qpA.transition(Command.RTS2RTS_QP, QpState.RTS, QpOptional.ALTERNATE_PATH, (view, at) => {
    AddressPath.port.set(view, at + ALTERNATE_PATH_AT, 1);
    AddressPath.rlid.set(view, at + ALTERNATE_PATH_AT, bed[1].wire.lid + 1);
    AddressPath.ackTimeout.set(view, at + ALTERNATE_PATH_AT, 8);
  });
  qpA.postSend({ ...noData, ...target.remote() });
  bed.domain.settle();
  bed.wires[1]!.cut(bed[1].wire.lid);
  qpA.postSend({ ...noData, ...target.remote() });
  bed.elapse(50e6, 50);
  assert.deepEqual([events(bed[0]), events(bed[1])], [["PATH_MIGRATED"], ["PATH_MIGRATION_FAILED"]]);
  assert.deepEqual(statuses(bed[0]), ["OK", "TRANSPORT_RETRY"]);
  return "once, at the end that refuses; the request fails with TRANSPORT_RETRY";
});

observe("PORT_CHANGE", "PORT_ERR, PORT_ACTIVE", "a port goes down and comes back", "11.6.3.3", () => {
  const bed = new TestBed(1);
  bed.wires[0]!.setState(PortState.DOWN);
  bed.clients[0]!.portStateChanged(false);
  bed.wires[0]!.setState(PortState.ACTIVE);
  bed.clients[0]!.portStateChanged(true);
  bed.domain.settle();
  assert.deepEqual(
    bed[0].device.asyncEvents.map(({ type, subType, port }) => [type, subType, port]),
    [
      [9, 1, 1],
      [9, 4, 1],
    ],
  );
  return "one event each, with the port's number";
});

observe("LOCAL_CATASTROPHIC", "DEVICE_FATAL", "the memory of an event queue is gone", "11.6.3.4; infinihost 1.5", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const { device, node } = bed[0];
  // Completions can no longer be announced: the region of the completion EQ is taken away.
  device.commands.run(Command.HW2SW_MPT, { modifier: device.eventQueues[0]!.region.index, opcodeModifier: 1 });
  bed[0].cq.arm();
  qpA.postSend({ ...noData, ...new Buffer64(bed[1], 8).remote() });
  bed.domain.settle();
  assert.deepEqual(events(bed[0]), ["LOCAL_CATASTROPHIC"]);
  assert.notEqual(node.access.readRegister(Bar0.CATAS), 0);
  node.access.writeRegister(Bar0.RESET, 1);
  bed.domain.settle();
  assert.equal(node.access.readRegister(Bar0.CATAS), 0);
  return "the catastrophic-error buffer is not zero and commands fail until a reset";
});

test("docs/errors.md says which events were observed", () => {
  if (process.env.UPDATE_DOCS === "1") updateDocument("events", rows);
  assert.deepEqual(documentedRows("events").slice(2), asLines(rows));
});
