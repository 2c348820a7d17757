// Completion, event and shared receive queues at their limits, interrupts, and every query. IBA vol 1, 11.4.2, 11.6.3; docs
// "infinihost" 4.2-4.5, 5.7-5.9.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { PENDING_EVENTS_MAX } from "../../src/hca/event-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, CqContext, CqState, EqContext, EqState, Mpt } from "../../src/spec/hca/contexts.ts";
import { EventType, SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { Buffer64, connect, newQp, TestBed } from "../in-process/pair.ts";
import { statuses } from "./kit.ts";

const inline = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1) };

for (const isMapped of [true, false]) {
  test(`INTx: one line for all events, ${isMapped ? "mapped" : "trapped"} registers (infinihost 1.3, 5.9)`, () => {
    const bed = new TestBed(2, { isMapped, interrupts: "intx" });
    const [qpA, qpB] = connect(bed[0], bed[1]);
    const target = new Buffer64(bed[1], 8);
    for (let i = 1; i <= 5; i++) {
      bed[0].cq.arm();
      bed[1].cq.arm();
      qpB.postReceive([target.sge()]);
      qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(i) });
      bed.domain.settle();
      assert.deepEqual([bed[0].cq.events, bed[1].cq.events], [i, i]);
      assert.deepEqual([statuses(bed[0]), statuses(bed[1])], [["OK"], ["OK"]]);
    }
    bed[0].device.close();
    bed[1].node.access.writeRegister(Bar0.RESET, 1);
    bed.domain.settle();
  });
}

/** A driver of that guest whose asynchronous events nobody takes until `deliver` is called. */
function holdEvents(bed: TestBed): { deliver: () => void } {
  const { access } = bed[0].node;
  const [, asynchronous] = bed[0].device.eventQueues;
  access.onInterrupt(1, () => {});
  return {
    deliver: () => {
      access.onInterrupt(1, () => asynchronous!.handleInterrupt());
      asynchronous!.handleInterrupt();
      for (let i = 0; i < 64; i++) bed.domain.settle();
    },
  };
}

test("an event queue that is full loses nothing until 4096 more have come, then counts what it loses (infinihost 5.9)", () => {
  const bed = new TestBed(1);
  const held = holdEvents(bed);
  const size = 256;
  const port = bed.clients[0]!;
  for (let i = 0; i < size + PENDING_EVENTS_MAX + 10; i++) {
    // a number that tells one event from the next
    port.portStateChanged(i % 2 === 0);
    bed.domain.step();
  }
  assert.equal(bed[0].node.hca.adapter.counters[AdapterCounter.eqOverflows], 10);
  held.deliver();
  const seen = bed[0].device.asyncEvents;
  assert.equal(seen.length, size + PENDING_EVENTS_MAX);
  assert.ok(seen.every(({ type, subType }, i) => type === EventType.PORT_CHANGE && subType === (i % 2 === 0 ? 4 : 1)));
});

test("a CQ that has overrun takes nothing more, and its owner may replace it (11.6.3.2)", () => {
  const bed = new TestBed(2);
  const cq = new DriverCompletionQueue(bed[0].device, 3, bed[0].pd);
  const [qpA] = connect(bed[0], bed[1], Service.RC, {}, { sendCq: cq }, {});
  const target = new Buffer64(bed[1], 8);
  for (let i = 0; i < 6; i++) qpA.postSend({ ...inline, ...target.remote() });
  bed.domain.settle();
  assert.equal(cq.poll().length, 4);
  bed.domain.settle();
  assert.equal(cq.poll().length, 0, "also when there is room again");
  qpA.reset();
  cq.destroy();
  const [qpC] = connect(bed[0], bed[1]);
  qpC.postSend({ ...inline, ...target.remote() });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK"]);
});

test("a CQ resized to less than it holds is refused, as is one for which there is no queue (infinihost 2.8.12)", () => {
  const bed = new TestBed(1);
  assert.throws(
    () => bed[0].device.commands.run(Command.RESIZE_CQ, { modifier: 999, opcodeModifier: 1, input: () => {} }),
    /BAD_INDEX/,
  );
});

test("an armed queue says so, a fired one too (QUERY_CQ, infinihost 4.2)", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const { cq, device } = bed[0];
  const query = (): DataView =>
    device.commands.run(Command.QUERY_CQ, { modifier: cq.number, outputBytes: CqContext.byteLength }).output;
  cq.arm(true);
  bed.domain.settle();
  assert.equal(CqContext.state.get(query(), 0), CqState.ARMED_SOLICITED);
  cq.arm();
  bed.domain.settle();
  assert.equal(CqContext.state.get(query(), 0), CqState.ARMED);
  qpA.postSend({ ...inline, ...new Buffer64(bed[1], 8).remote() });
  bed.domain.settle();
  const context = query();
  assert.deepEqual(
    [
      CqContext.state.get(context, 0),
      CqContext.producerCounter.get(context, 0),
      CqContext.cqn.get(context, 0),
      CqContext.pd.get(context, 0),
      CqContext.logSize.get(context, 0),
    ],
    [CqState.FIRED, 1, cq.number, bed[0].pd, 8],
  );
});

test("QUERY_EQ, QUERY_SRQ and QUERY_MPT give back what was set up (infinihost 4.3-4.5)", () => {
  const bed = new TestBed(1);
  const { device, pd } = bed[0];
  const eq = device.commands.run(Command.QUERY_EQ, { modifier: device.completionEqn, outputBytes: EqContext.byteLength }).output;
  assert.deepEqual(
    [EqContext.state.get(eq, 0), EqContext.logSize.get(eq, 0), EqContext.intr.get(eq, 0)],
    [EqState.ARMED, 10, 0x80],
  );
  assert.throws(() => device.commands.run(Command.QUERY_EQ, { modifier: 31, outputBytes: 64 }), /BAD_INDEX/);
  const srq = new DriverSharedReceiveQueue(device, { pd, wqes: 8, sges: 1 });
  const buffer = new Buffer64(bed[0], 64);
  srq.postReceive([buffer.sge()]);
  srq.armLimit(1);
  assert.deepEqual(srq.query(), { limit: 1, available: 1 });
  assert.throws(() => srq.armLimit(1000), /BAD_PARAM/);
  const region = new Region(device, device.heap.allocate(8192), {
    pd,
    access: Access.LOCAL_WRITE | Access.REMOTE_READ,
    virtualAddress: 0x7fff_1234_5000n,
    length: 5000,
  });
  const query = { modifier: region.index, outputBytes: Mpt.byteLength };
  const mpt = device.commands.run(Command.QUERY_MPT, query).output;
  assert.deepEqual(
    [Mpt.key.get(mpt, 0), Mpt.pd.get(mpt, 0), Mpt.start.getBig(mpt, 0), Mpt.length.getBig(mpt, 0), Mpt.localWrite.get(mpt, 0)],
    [region.index, pd, 0x7fff_1234_5000n, 5000n, 1],
  );
  assert.deepEqual([Mpt.remoteRead.get(mpt, 0), Mpt.remoteWrite.get(mpt, 0), Mpt.logPageSize.get(mpt, 0)], [1, 0, 0]);
  const taken = device.commands.run(Command.HW2SW_MPT, { modifier: region.index, outputBytes: Mpt.byteLength }).output;
  assert.equal(Mpt.start.getBig(taken, 0), 0x7fff_1234_5000n);
  assert.throws(() => device.commands.run(Command.QUERY_MPT, query), /BAD_INDEX/);
});

test("a CQ or SRQ that a QP uses cannot be taken away (11.2.2.5, 11.2.6.4)", () => {
  const bed = new TestBed(1);
  const { device, cq, pd } = bed[0];
  const srq = new DriverSharedReceiveQueue(device, { pd, wqes: 8, sges: 1 });
  const qp = newQp(bed[0], Service.RC, { srq });
  qp.init();
  assert.throws(() => cq.destroy(), /RESOURCE_BUSY/);
  assert.throws(() => srq.destroy(), /RESOURCE_BUSY/);
  qp.reset();
  srq.destroy();
  cq.destroy();
});

test("a driver that ends in good order can start again, MSI-X and INTx by turns (infinihost 8.4)", () => {
  const bed = new TestBed(1);
  bed[0].cq.destroy();
  bed[0].device.close();
  for (const interrupts of ["intx", "msix"] as const) {
    const device = new Device(bed[0].node.access, { mtts: 8192, interrupts });
    assert.equal(device.firmware, "1.2.0");
    device.close();
  }
  const { qps, cqs, srqs, regions, icm } = bed[0].node.hca.adapter;
  assert.deepEqual([qps.count, cqs.count, srqs.count, regions.count, icm.mappedPages], [0, 0, 0, 0, 0]);
});
