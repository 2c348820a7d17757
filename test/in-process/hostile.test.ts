// What a hostile guest can do with commands, contexts and rings: each class of mistake that became a CVE in QEMU's removed pvrdma
// device, tried on this one. Always: a status or a completion, nothing left behind, the device and its neighbour go on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverError } from "../../src/driver/access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { DEFAULT_QUOTA } from "../../src/hca/limits.ts";
import { Command, InitHca, QP_CONTEXT_AT, ResizeCq } from "../../src/spec/hca/commands.ts";
import { Access, AddressPath, CqContext, EqContext, Mpt, PRIMARY_PATH_AT, QpContext } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { BAR0_BYTES, Bar0 } from "../../src/spec/hca/registers.ts";
import { Buffer64, connect, type Guest, TestBed } from "./pair.ts";

type Fill = (view: DataView, at: number) => void;

/** The status with which the device refuses a command; undefined if it takes it. */
function refusal(guest: Guest, opcode: number, modifier: number, input: Fill = () => {}): string | undefined {
  try {
    guest.device.commands.run(opcode, { modifier, input });
    return undefined;
  } catch (error) {
    if (error instanceof DriverError) return error.code;
    throw error;
  }
}

const objects = ({ node }: Guest): number[] => {
  const { qps, cqs, srqs, regions } = node.hca.adapter;
  return [qps.count, cqs.count, srqs.count, regions.count];
};

/** Data still flow between the two guests. */
function assertAlive(bed: TestBed): void {
  const [qp] = connect(bed[0], bed[1]);
  const target = new Buffer64(bed[1], 64);
  for (const guest of bed.guests) guest.cq.poll();
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(7), ...target.remote() });
  bed.domain.settle();
  assert.equal(target.bytes[0], 7);
  assert.deepEqual(
    bed[0].cq.poll().map(({ syndrome }) => syndrome),
    [0],
  );
}

/** A region of four pages, starting with the given bits. */
function regionContext(key: number, changes: Fill): Fill {
  return (view, at) => {
    view.setUint32(at, (Access.LOCAL_READ | Access.LOCAL_WRITE) >>> 0);
    Mpt.region.set(view, at, 1);
    Mpt.key.set(view, at, key);
    Mpt.length.lo.set(view, at, 4 * 4096);
    changes(view, at);
  };
}

test("hostile: more segments in a WQE than it has room for (num_sge)", () => {
  const bed = new TestBed(2);
  const source = new Buffer64(bed[0], 64);
  for (const excess of [1, 2, undefined]) {
    const [qp] = connect(bed[0], bed[1], undefined, {}, { sges: 1 });
    const units = excess === undefined ? 63 : (1 << qp.logSqStride) / 16 + excess;
    qp.writeSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
    bed[0].node.access.memory.view.setUint32(qp.sendSlotAt(-1) + 4, 0x80 | units);
    qp.publishSends();
    bed.domain.settle();
    assert.equal(bed[0].cq.poll()[0]?.syndrome, Syndrome.LOCAL_QP_OPERATION, `${units} units`);
  }
  assertAlive(bed);
});

test("hostile: sizes that overflow when they are multiplied", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const before = objects(guest);
  const cq: Fill = (view, at) => {
    CqContext.usrPage.set(view, at, guest.device.uar);
    CqContext.logSize.set(view, at, 31);
  };
  assert.equal(refusal(guest, Command.SW2HW_CQ, 200, cq), "EXCEED_LIM");
  assert.equal(
    refusal(guest, Command.RESIZE_CQ, guest.cq.number, (view, at) => ResizeCq.logSize.set(view, at, 31)),
    "EXCEED_LIM",
  );
  assert.equal(
    refusal(guest, Command.SW2HW_EQ, 20, (view, at) => EqContext.logSize.set(view, at, 31)),
    "EXCEED_LIM",
  );
  assert.deepEqual(objects(guest), before);
  assertAlive(bed);
});

test("hostile: ring indices that lie, over and over", () => {
  const bed = new TestBed(2);
  for (const posted of [65, 5000, 32768, 65535]) {
    const [qp, peer] = connect(bed[0], bed[1]);
    qp.sendPosted = posted;
    qp.publishSends();
    peer.receivePosted = posted;
    bed[1].node.access.memory.view.setUint32(peer.rqRecord.at, posted);
    for (let i = 0; i < 50; i++) bed.domain.step();
  }
  bed.domain.settle();
  assertAlive(bed);
});

test("hostile: translations that lead nowhere: outside the table, not mapped, not in memory", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const { device } = guest;
  const before = objects(guest);
  const at =
    (address: bigint): Fill =>
    (view, where) =>
      Mpt.mttAddress.setBig(view, where, address);
  const first = 3000;
  assert.equal(refusal(guest, Command.SW2HW_MPT, first, regionContext(first, at(1n << 40n))), "BAD_PARAM");
  assert.equal(refusal(guest, Command.SW2HW_MPT, first, regionContext(first, at(4n))), "BAD_PARAM");
  assert.equal(
    refusal(
      guest,
      Command.SW2HW_MPT,
      first,
      regionContext(first, (v, w) => Mpt.logPageSize.set(v, w, 31)),
    ),
    "BAD_PARAM",
  );
  const target = new Buffer64(bed[1], 64);
  // taken, because it may become valid later, but no access gets through
  for (const [i, address] of [0x3_ffff_f000n, BigInt(device.icm.mttBase) + 0x8000n].entries()) {
    const key = first + i;
    assert.equal(
      refusal(
        guest,
        Command.SW2HW_MPT,
        key,
        regionContext(key, (v, w) => {
          Mpt.pd.set(v, w, guest.pd);
          at(address)(v, w);
        }),
      ),
      undefined,
    );
    const [qp] = connect(bed[0], bed[1]);
    const lkey = ((key << 8) | (key >>> 24)) >>> 0;
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [{ address: 0n, length: 8, lkey }], ...target.remote() });
    bed.domain.settle();
    assert.equal(guest.cq.poll()[0]?.syndrome, Syndrome.LOCAL_PROTECTION);
    assert.equal(refusal(guest, Command.HW2SW_MPT, key), undefined);
  }
  // each connection has left its QPs, and each QP the region of its ring
  assert.equal(objects(guest)[3], (before[3] ?? 0) + 2);
  assertAlive(bed);
});

test("hostile: huge tables and a hundred thousand objects: refused at the quota, memory bounded", () => {
  const bed = new TestBed(2, { memoryBytes: 32 << 20 });
  const [guest] = bed.guests as [Guest];
  const before = process.memoryUsage().rss;
  guest.node.access.writeRegister(Bar0.RESET, 1);
  guest.device.commands.useEvents(false);
  guest.device.commands.run(Command.RUN_FW);
  const oversized = (view: DataView, at: number): void => {
    InitHca.qpcBase.lo.set(view, at, 31);
    InitHca.logMpts.set(view, at, 31);
  };
  assert.equal(refusal(guest, Command.INIT_HCA, 0, oversized), "EXCEED_LIM");
  const largest = (view: DataView, at: number): void => {
    InitHca.qpcBase.lo.set(view, at, 20);
    InitHca.cqcBase.lo.set(view, at, 20);
    InitHca.srqcBase.lo.set(view, at, 16);
    InitHca.logMpts.set(view, at, 22);
    InitHca.logUars.set(view, at, 11);
  };
  assert.equal(refusal(guest, Command.INIT_HCA, 0, largest), undefined);
  let regions = 0;
  while (
    refusal(
      guest,
      Command.SW2HW_MPT,
      regions,
      regionContext(regions, () => {}),
    ) === undefined
  )
    regions++;
  assert.equal(regions, DEFAULT_QUOTA.regions);
  const cq = (view: DataView, at: number): void => CqContext.usrPage.set(view, at, 1);
  let cqs = 0;
  while (refusal(guest, Command.SW2HW_CQ, cqs, cq) === undefined) cqs++;
  assert.equal(cqs, DEFAULT_QUOTA.cqs);
  assert.equal(refusal(guest, Command.SW2HW_CQ, cqs, cq), "EXCEED_LIM");
  const qp: Fill = (view, at) => {
    AddressPath.port.set(view, at + QP_CONTEXT_AT + PRIMARY_PATH_AT, 1);
    QpContext.usrPage.set(view, at + QP_CONTEXT_AT, 1);
  };
  let qps = 0;
  while (refusal(guest, Command.RST2INIT_QP, qps, qp) === undefined) qps++;
  assert.equal(qps, DEFAULT_QUOTA.qps);
  assert.equal(refusal(guest, Command.RST2INIT_QP, qps, qp), "EXCEED_LIM");
  const grownMiB = (process.memoryUsage().rss - before) / 2 ** 20;

  assert.ok(grownMiB < 200, `${grownMiB} MiB`);
  guest.node.access.writeRegister(Bar0.RESET, 1);
  bed.domain.settle();
  assert.deepEqual(objects(guest), [0, 0, 0, 0]);
});

test("hostile: a thousand commands that fail leave nothing behind", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const cq = new DriverCompletionQueue(guest.device, 15, guest.pd);
  const before = objects(guest);
  for (let i = 0; i < 1000; i++) {
    const opcode = [Command.RST2INIT_QP, Command.SW2HW_CQ, Command.SW2HW_SRQ, Command.SW2HW_MPT, Command.SW2HW_EQ][i % 5]!;
    // a UAR page that does not exist, key and index that do not agree
    const nonsense = (view: DataView, at: number): void => {
      for (let word = 0; word < 64; word++) view.setUint32(at + word * 4, 0xffffffff);
    };
    assert.notEqual(refusal(guest, opcode, 3000 + i, nonsense), undefined);
  }
  assert.deepEqual(objects(guest), before);
  assert.doesNotThrow(() => cq.destroy(), "nothing holds the CQ");
  assertAlive(bed);
});

test("hostile: every register read and written, also those that do not exist", () => {
  const bed = new TestBed(2, { isMapped: false });
  const { access } = bed[0].node;
  for (let offset = 0; offset < BAR0_BYTES; offset += 4) {
    assert.doesNotThrow(() => access.readRegister(offset));
    if (offset !== Bar0.RESET && offset !== Bar0.HCR + 24) access.writeRegister(offset, 0xffffffff);
  }
  for (let page = 0; page < 2048; page += 17) {
    for (let offset = 0; offset < 4096; offset += 8) access.writeDoorbell(page, offset, 0xffffffff, 0xffffffff);
  }
  bed.domain.settle();
  assertAlive(bed);
});
