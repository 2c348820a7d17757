// What belongs to whom: a guest that uses another's numbers, keys, pages and time. Always: refused or ignored, counted, and its
// neighbours go on. docs/limits.md, docs/errors.md.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverError } from "../../src/driver/access.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { Access, AddressPath, CqContext, EqContext, Mpt, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Bar0, UarDoorbell } from "../../src/spec/hca/registers.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { statuses } from "../conformance/kit.ts";
import { Buffer64, connect, datagramQp, fill, type Guest, newQp, TestBed } from "./pair.ts";

const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(7) };
const counterOf = (guest: Guest, name: keyof typeof AdapterCounter): number =>
  guest.node.hca.adapter.counters[AdapterCounter[name] as number]!;

/** The status with which a command is refused; undefined if it is taken. */
function refusal(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof DriverError) return error.code;
    throw error;
  }
}

test("a doorbell works from the UAR page of its queue only, whoever stores it", () => {
  const bed = new TestBed(2);
  const [qp] = connect(bed[0], bed[1]);
  const { device, cq, node } = bed[0];
  const { access } = node;
  const other = device.uar + 1;
  // Another process of the guest has a queue of its own: its page is looked at from now on.
  device.commands.run(Command.SW2HW_CQ, { modifier: 900, input: (view, at) => CqContext.usrPage.set(view, at, other) });
  const ring = (page: number, offset: number, hi: number, lo: number, ignored: number): void => {
    const before = counterOf(bed[0], "doorbellsIgnored");
    access.writeDoorbell(page, offset, hi, lo >>> 0);
    bed.domain.settle();
    assert.equal(counterOf(bed[0], "doorbellsIgnored") - before, ignored);
  };
  ring(other, UarDoorbell.SEND, 0x01000008, qp.number << 8, 1);
  ring(other, UarDoorbell.CQ, 0x02000000 | cq.number, 0, 1);
  ring(device.uar, UarDoorbell.SEND, 0x01000008, 0xdeadbe00, 1);
  ring(device.uar, UarDoorbell.CQ, 0x02000000 | 4095, 0, 1);
  ring(device.uar, UarDoorbell.CQ, 0x02000000 | 900, 0, 1);
  ring(other, UarDoorbell.CQ, 0x02000000 | 900, 0, 0);
  for (const page of [0, other + 1, 2047]) ring(page, UarDoorbell.SEND, 0x01000008, qp.number << 8, 0);
  qp.postSend({ ...write, ...new Buffer64(bed[1], 8).remote() });
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["OK"]);
});

test("doorbells of queues whose records are gone from memory are counted, and do nothing", () => {
  const bed = new TestBed(2);
  const [qp] = connect(bed[0], bed[1]);
  const { device, cq, node } = bed[0];
  node.dma.unmapAll();
  node.access.writeDoorbell(device.uar, UarDoorbell.SEND, 0x01000008, (qp.number << 8) >>> 0);
  bed.domain.settle();
  assert.equal(counterOf(bed[0], "recordsUnbacked"), 1);
  node.access.writeDoorbell(device.uar, UarDoorbell.CQ, 0x02000000 | cq.number, 0);
  bed.domain.settle();
  assert.equal(counterOf(bed[0], "recordsUnbacked"), 2);
  assert.equal(counterOf(bed[0], "doorbellsIgnored"), 0);
  assert.equal(counterOf(bed[0], "sends"), 0);
});

test("numbers of another guest's objects mean nothing: QPs, CQs, keys, groups", () => {
  const bed = new TestBed(2);
  const [, theirs] = connect(bed[0], bed[1]);
  const before = bed[1].node.hca.adapter.qps.count;
  const { commands } = bed[0].device;
  const foreign = 0xf00000 | theirs.number;
  for (const opcode of [Command.QUERY_QP, Command.RTS2RTS_QP, Command.ANY2ERR_QP, Command.RTS2SQD_QP]) {
    assert.notEqual(
      refusal(() => commands.run(opcode, { modifier: foreign })),
      undefined,
    );
  }
  commands.run(Command.ANY2RST_QP, { modifier: foreign });
  assert.equal(bed[1].node.hca.adapter.qps.count, before);
});

test("memory outside the guest, on our own BAR, and around 2^64: never read, never written", () => {
  const bed = new TestBed(2);
  const { device, pd, node } = bed[0];
  const outside = [0n, BigInt(node.access.dmaBase) - 8n, BigInt(node.access.dmaBase) + (16n << 20n), 1n << 43n, 2n ** 64n - 8n];
  const key = 3500;
  device.commands.run(Command.SW2HW_MPT, {
    modifier: key,
    input: (view, at) => {
      view.setUint32(at, (Access.LOCAL_READ | Access.LOCAL_WRITE) >>> 0);
      Mpt.region.set(view, at, 1);
      Mpt.physical.set(view, at, 1);
      Mpt.key.set(view, at, key);
      Mpt.pd.set(view, at, pd);
      Mpt.length.setBig(view, at, 2n ** 64n - 1n);
    },
  });
  const target = new Buffer64(bed[1], 64);
  for (const address of outside) {
    for (const opcode of [SendOpcode.RDMA_WRITE, SendOpcode.RDMA_READ]) {
      const [qp] = connect(bed[0], bed[1]);
      qp.postSend({ opcode, sges: [{ address, length: 8, lkey: key << 8 }], ...target.remote() });
      bed.domain.settle();
      assert.deepEqual(statuses(bed[0]), ["LOCAL_PROTECTION"], `${address.toString(16)}`);
    }
  }
  // Mailboxes too: a command whose input or output is nowhere.
  const code = (hi: number, lo: number): string | undefined =>
    refusal(() => device.commands.run(Command.SW2HW_CQ, { modifier: 900, inputValue: { hi, lo } }));
  for (const [hi, lo] of [
    [0xffffffff, 0xfffff000],
    [0, 0],
    [0x800, 0],
  ] as const) {
    assert.equal(code(hi, lo), "BAD_PARAM");
  }
});

test("an SRQ whose list leads back into itself gives out no more than was posted", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 8, sges: 1 });
  const [qp] = connect(bed[0], bed[1], Service.RC, { rnrRetry: 0, minRnrTimer: 1 }, {}, { srq });
  const target = new Buffer64(bed[1], 8);
  const first = srq.postReceive([target.sge()]);
  srq.postReceive([target.sge()]);
  bed[1].node.access.memory.view.setUint32(srq.slotAt(first), first | 1);
  for (let i = 0; i < 5; i++) qp.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(1) });
  bed.elapse(10e6);
  assert.deepEqual(statuses(bed[0]).slice(0, 3), ["OK", "OK", "RNR_RETRY"]);
});

test("quota of bytes: regions together may not be longer, and giving one back makes room", () => {
  const bed = new TestBed(1, { quota: { registeredBytes: 1 << 20 } });
  const before = bed[0].node.hca.adapter.regions.registeredBytes;
  assert.ok(before > 0 && before < 1 << 20);
  const first = new Buffer64(bed[0], 512 << 10);
  assert.equal(
    refusal(() => new Buffer64(bed[0], 512 << 10)),
    "EXCEED_LIM",
  );
  first.region.deregister();
  assert.equal(bed[0].node.hca.adapter.regions.registeredBytes, before);
  assert.equal(
    refusal(() => new Buffer64(bed[0], 512 << 10)),
    undefined,
  );
  assert.equal(counterOf(bed[0], "refusedExceedLimit"), 1);
});

test("quota of commands: the device is busy until the next one may run, and everybody else goes on", () => {
  const bed = new TestBed(2, { quota: { commandsPerSecond: 1000 } });
  const { access, hca } = bed[0].node;
  const nop = ((1 << 23) | Command.NOP) >>> 0;
  const isBusy = (): boolean => (access.readRegister(Bar0.HCR + 24) & (1 << 23)) !== 0;
  let run = 0;
  for (; run < 5000; run++) {
    access.writeRegister(Bar0.HCR + 24, nop);
    bed.domain.step();
    if (isBusy()) break;
  }
  assert.ok(run <= 1000, `${run} commands at once`);
  assert.ok((hca.adapter.counters[AdapterCounter.commandsDelayed] ?? 0) > 0);
  bed.clock.advanceNs(500_000);
  bed.domain.step();
  assert.ok(isBusy(), "half a millisecond is not enough for one");
  bed.clock.advanceNs(600_000);
  bed.domain.step();
  assert.ok(!isBusy());
});

test("objects of each kind end at their quotas with “no resources”, and come back when some are given up", () => {
  const bed = new TestBed(1, { quota: { qps: 3, cqs: 2, srqs: 1, regions: 12 } });
  const { device, pd } = bed[0];
  assert.equal(
    refusal(() => connect(bed[0], bed[0])),
    undefined,
  );
  assert.equal(
    refusal(() => connect(bed[0], bed[0])),
    "EXCEED_LIM",
  );
  const srq = new DriverSharedReceiveQueue(device, { pd, wqes: 4, sges: 1 });
  assert.equal(
    refusal(() => new DriverSharedReceiveQueue(device, { pd, wqes: 4, sges: 1 })),
    "EXCEED_LIM",
  );
  srq.destroy();
  assert.equal(
    refusal(() => new DriverSharedReceiveQueue(device, { pd, wqes: 4, sges: 1 })),
    undefined,
  );
});

test("a guest that floods its own queues takes its share of the engine and no more", () => {
  const bed = new TestBed(4);
  const [a, b, c, d] = bed.guests as [Guest, Guest, Guest, Guest];
  const source = new Buffer64(a, 1 << 20);
  const target = new Buffer64(b, 1 << 20);
  for (let i = 0; i < 8; i++) {
    const [qp] = connect(a, b);
    for (let n = 0; n < 8; n++)
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote(), isSignaled: false });
  }
  const small = new Buffer64(c, 65536);
  const inbox = new Buffer64(d, 65536);
  fill(small.bytes, 1);
  const [honest] = connect(c, d);
  // While 64 MiB wait, an honest 64 KiB write is done within a few turns.
  honest.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [small.sge()], ...inbox.remote() });
  let steps = 0;
  do {
    bed.domain.step();
    steps++;
  } while (statuses(c).length === 0 && steps < 100);
  assert.ok(steps < 5, `the honest guest waited for ${steps} turns`);
  bed.domain.settle();
  assert.ok(inbox.bytes.equals(small.bytes));
});

test("a ring that starts in the middle of a slot: the WQE that leaves its page is looked up, not read on", () => {
  const bed = new TestBed(1);
  const { view } = bed[0].node.access.memory;
  const qp = newQp(bed[0], Service.RC, { sendWqes: 32 });
  const shift = 16;
  qp.transition(Command.RST2INIT_QP, QpState.INIT, 0, (mailbox, at) => {
    AddressPath.port.set(mailbox, at + PRIMARY_PATH_AT, 1);
    QpContext.sendCqn.set(mailbox, at, bed[0].cq.number);
    QpContext.receiveCqn.set(mailbox, at, bed[0].cq.number);
    QpContext.sqBase.set(mailbox, at, qp.sqBase + shift);
  });
  const connection = { remoteQpn: qp.number, dlid: bed[0].wire.lid };
  qp.readyToReceive(connection);
  qp.readyToSend(connection);
  const slots = 1 << qp.logSqSize;
  assert.equal(slots << qp.logSqStride, 4096, "the ring fills a page, and the last slot leaves it");
  // NOPs as long as their slots, none signaled: only the last one says anything.
  for (let i = 0; i < slots; i++) {
    view.setUint32(qp.sendSlotAt(i) + shift, 0);
    view.setUint32(qp.sendSlotAt(i) + shift + 4, 0x80 | ((1 << qp.logSqStride) / 16));
    view.setUint32(qp.sendSlotAt(i) + shift + 8, 0);
  }
  qp.sendPosted = slots;
  qp.publishSends();
  bed.domain.settle();
  assert.deepEqual(statuses(bed[0]), ["LOCAL_PROTECTION"]);
});

test("a datagram whose memory is gone fails its sender; the receiver's next one arrives, with an SRQ too", () => {
  for (const isShared of [false, true]) {
    const bed = new TestBed(2);
    const srq = isShared ? new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 8, sges: 1 }) : undefined;
    const [from, to] = [datagramQp(bed[0]), datagramQp(bed[1], 0x1234, srq === undefined ? {} : { srq })];
    const inbox = new Buffer64(bed[1], 200);
    for (let i = 0; i < 2; i++) srq === undefined ? to.postReceive([inbox.sge()]) : srq.postReceive([inbox.sge()]);
    const source = new Buffer64(bed[0], 8);
    const message = { opcode: SendOpcode.SEND, address: { dlid: 2 }, remoteQpn: to.number, qkey: 0x1234 };
    const { device, node } = bed[0];
    node.access.memory.view.setUint32(device.icm.mttAt(source.region.mttAddress) + 4, 0);
    from.postSend({ ...message, sges: [source.sge()] });
    bed.domain.settle();
    assert.deepEqual([statuses(bed[0]), statuses(bed[1])], [["LOCAL_PROTECTION"], []]);
    from.transition(Command.SQERR2RTS_QP, QpState.RTS, 0);
    for (let i = 0; i < 2; i++) from.postSend({ ...message, inline: Uint8Array.of(1) });
    bed.domain.settle();
    assert.deepEqual(statuses(bed[1]), ["OK", "OK"]);
  }
});

test("an event queue whose memory goes while events wait stops the device, and vectors that do not exist are refused", () => {
  const bed = new TestBed(1);
  const { device, node } = bed[0];
  const [, asynchronous] = device.eventQueues;
  node.access.onInterrupt(1, () => {});
  for (let i = 0; i < 300; i++) bed.clients[0]!.portStateChanged(true);
  device.commands.run(Command.HW2SW_MPT, { modifier: asynchronous!.region.index, opcodeModifier: 1 });
  asynchronous!.handleInterrupt();
  for (let i = 0; i < 2; i++) bed.domain.step();
  assert.notEqual(node.access.readRegister(Bar0.CATAS), 0);
  const other = new TestBed(1)[0].device;
  for (const vector of [3, 32, 63]) {
    const fill = (view: DataView, at: number): void => EqContext.intr.set(view, at, 0x80 | vector);
    assert.equal(
      refusal(() => other.commands.run(Command.SW2HW_EQ, { modifier: 20, input: fill })),
      "BAD_INDEX",
    );
  }
});
