// The eleven mistakes that became CVEs in QEMU's removed pvrdma device, each tried on this one by a guest with commands, contexts
// and rings. Always: a status or a completion, nothing left behind, the device and its neighbour go on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverError } from "../../src/driver/access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { DEFAULT_QUOTA } from "../../src/hca/limits.ts";
import { Command, InitHca, MapEntry, QP_CONTEXT_AT, ResizeCq } from "../../src/spec/hca/commands.ts";
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

test("CVE-2018-20124 and its like: more segments in a WQE than it has room for (num_sge)", () => {
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

test("CVE-2021-3607 and its like: sizes that overflow when they are multiplied", () => {
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

test("CVE-2018-20216 and its like: rings whose indices would never let a loop end", () => {
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

test("CVE-2023-1544 and its like: translations that lead nowhere: outside the table, not mapped, not in memory", () => {
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

test("CVE-2018-20125 and its like: huge tables and a hundred thousand objects: refused at the quota, memory bounded", () => {
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

test("CVE-2018-20126 and its like: a thousand commands that fail leave nothing behind", () => {
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

test("CVE-2018-20191 and its like: every register read and written, also those that do not exist", () => {
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

test("CVE-2018-20123 and its like: a start that fails half way, five hundred times, leaves nothing behind", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const { access } = guest.node;
  const { device } = guest;
  device.commands.useEvents(false);
  const mapOnePage: Fill = (view, at) => {
    MapEntry.icmAddress.setBig(view, at, 0x10_0000n);
    MapEntry.dmaAddress.setBig(view, at, BigInt(access.dmaBase));
  };
  for (let i = 0; i < 500; i++) {
    access.writeRegister(Bar0.RESET, 1);
    if (i % 5 > 0) device.commands.run(Command.RUN_FW);
    if (i % 5 > 1) assert.equal(refusal(guest, Command.MAP_ICM, 1, mapOnePage), undefined);
    if (i % 5 > 2)
      assert.equal(
        refusal(guest, Command.INIT_HCA, 0, (view, at) => InitHca.logMpts.set(view, at, 60)),
        "EXCEED_LIM",
      );
    if (i % 5 > 3) {
      assert.equal(refusal(guest, Command.INIT_HCA, 0), undefined);
      assert.equal(refusal(guest, Command.INIT_HCA, 0), "BAD_SYS_STATE");
    }
  }
  access.writeRegister(Bar0.RESET, 1);
  bed.domain.settle();
  assert.deepEqual([objects(guest), guest.node.hca.adapter.icm.mappedPages], [[0, 0, 0, 0], 0]);
  bed.addGuest();
  assert.equal(new Device(access, { mtts: 8192 }).firmware, "1.2.0");
});

test("CVE-2021-3582 and its like: a region longer than its page table, of length nought, or wrapping around 2^64", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const backed = new Buffer64(guest, 4096);
  const target = new Buffer64(bed[1], 1 << 16);
  const cases: { name: string; start: bigint; length: bigint; address: bigint; bytes: number; status: number }[] = [
    { name: "its one page", start: 0n, length: 1n << 40n, address: 0n, bytes: 4096, status: 0 },
    { name: "the page after it", start: 0n, length: 1n << 40n, address: 1n << 39n, bytes: 8, status: Syndrome.LOCAL_PROTECTION },
    { name: "nothing", start: 0n, length: 0n, address: 0n, bytes: 1, status: Syndrome.LOCAL_PROTECTION },
    { name: "below", start: 4096n, length: 4096n, address: 0n, bytes: 8, status: Syndrome.LOCAL_PROTECTION },
    { name: "up to 2^64", start: 2n ** 64n - 4096n, length: 4096n, address: 2n ** 64n - 8n, bytes: 8, status: 0 },
  ];
  const around: Fill = (view, at) => {
    Mpt.start.setBig(view, at, 2n ** 64n - 4096n);
    Mpt.length.setBig(view, at, 8192n);
  };
  assert.equal(refusal(guest, Command.SW2HW_MPT, 3100, regionContext(3100, around)), "BAD_PARAM");
  for (const [i, { name, start, length, address, bytes, status }] of cases.entries()) {
    const key = 3000 + i;
    const fill: Fill = (view, at) => {
      Mpt.pd.set(view, at, guest.pd);
      Mpt.start.setBig(view, at, start);
      Mpt.length.setBig(view, at, length);
      Mpt.mttAddress.setBig(view, at, BigInt(backed.region.mttAddress));
    };
    assert.equal(refusal(guest, Command.SW2HW_MPT, key, regionContext(key, fill)), undefined);
    const [qp] = connect(bed[0], bed[1]);
    const lkey = ((key << 8) | (key >>> 24)) >>> 0;
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [{ address, length: bytes, lkey }], ...target.remote() });
    bed.domain.settle();
    assert.equal(guest.cq.poll()[0]?.syndrome, status, name);
  }
  assertAlive(bed);
});

test("CVE-2021-3608 and its like: what was never made, or made in part, cannot be taken apart", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const before = objects(guest);
  const nonsense: Fill = (view, at) => {
    for (let word = 0; word < 64; word++) view.setUint32(at + word * 4, 0xffffffff);
  };
  const pairs = [
    [Command.SW2HW_CQ, Command.HW2SW_CQ],
    [Command.SW2HW_SRQ, Command.HW2SW_SRQ],
    [Command.SW2HW_MPT, Command.HW2SW_MPT],
    [Command.SW2HW_EQ, Command.HW2SW_EQ],
  ] as const;
  for (const [make, take] of pairs) {
    const modifier = make === Command.SW2HW_EQ ? 20 : 900;
    for (let i = 0; i < 3; i++) {
      assert.notEqual(refusal(guest, make, modifier, nonsense), undefined);
      assert.equal(refusal(guest, take, modifier), "BAD_RES_STATE");
    }
  }
  assert.notEqual(refusal(guest, Command.RST2INIT_QP, 3000, nonsense), undefined);
  for (const opcode of [Command.QUERY_QP, Command.ARM_SRQ, Command.QUERY_CQ, Command.RESIZE_CQ]) {
    assert.equal(refusal(guest, opcode, 3000), "BAD_INDEX");
  }
  assert.equal(refusal(guest, Command.ANY2RST_QP, 3000), undefined, "RESET of a QP that is in RESET is no mistake");
  assert.deepEqual(objects(guest), before);
  assertAlive(bed);
});

test("CVE-2022-1050 and its like: every command before INIT_HCA, after CLOSE_HCA and around a reset", () => {
  const bed = new TestBed(2);
  const [guest] = bed.guests as [Guest];
  const { access } = guest.node;
  const { device } = guest;
  device.commands.useEvents(false);
  const { QUERY_FW, ENABLE_LAM, RUN_FW, SYS_DIS, MAP_FA, UNMAP_FA } = Command;
  const legalFromTheStart: readonly number[] = [QUERY_FW, ENABLE_LAM, RUN_FW, SYS_DIS, MAP_FA, UNMAP_FA];
  const legalWithFirmware: readonly number[] = [
    ...[Command.QUERY_DEV_LIM, Command.INIT_HCA, Command.NOP, Command.SET_ICM_SIZE, Command.MAP_ICM, Command.UNMAP_ICM],
    ...[Command.MAP_ICM_AUX, Command.UNMAP_ICM_AUX],
  ];
  const tryAll = (legal: readonly number[]): void => {
    for (const opcode of Object.values(Command)) {
      if (legal.includes(opcode)) continue;
      for (const modifier of [0, 1, 500, 0xffffffff])
        assert.equal(refusal(guest, opcode, modifier), "BAD_SYS_STATE", `opcode ${opcode}`);
    }
  };
  access.writeRegister(Bar0.RESET, 1);
  tryAll(legalFromTheStart);
  device.commands.run(Command.RUN_FW);
  tryAll([...legalFromTheStart, ...legalWithFirmware]);
  assert.equal(refusal(guest, Command.INIT_HCA, 0), undefined);
  device.commands.run(Command.CLOSE_HCA);
  tryAll([...legalFromTheStart, ...legalWithFirmware]);
  // A command and a reset in the same breath: whichever comes first, the device is as after a reset.
  access.writeRegister(Bar0.HCR + 24, ((1 << 23) | Command.NOP) >>> 0);
  access.writeRegister(Bar0.RESET, 1);
  bed.domain.settle();
  assert.equal(guest.node.hca.systemState, 0);
  assert.equal(new Device(access, { mtts: 8192 }).firmware, "1.2.0");
  bed.domain.settle();
});
