// The driver against the device: the whole way up and down, by registers and memory alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverError } from "../../src/driver/access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { Command, QueryFw } from "../../src/spec/hca/commands.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { Buffer64, connect, TestBed } from "./pair.ts";

for (const isMapped of [true, false]) {
  test(`the driver brings the device up and down again (${isMapped ? "mapped" : "trapped"} registers)`, () => {
    const bed = new TestBed(1, { isMapped });
    const { device, node, cq } = bed[0];
    assert.equal(device.firmware, "1.2.0");
    assert.equal(device.ports, 1);
    assert.equal(device.specialQpBase, 1024);
    cq.destroy();
    device.close();
    assert.equal(node.hca.adapter.regions.count, 0);
    assert.equal(node.hca.adapter.icm.mappedPages, 0);
    assert.equal(node.hca.adapter.counters[AdapterCounter.commandErrors], 0);
    const again = new Device(node.access, { mtts: 8192 });
    assert.equal(again.firmware, "1.2.0");
  });
}

test("commands out of order are refused with a status, and the device stays up", () => {
  const bed = new TestBed(1);
  const { device, node } = bed[0];
  node.access.writeRegister(Bar0.RESET, 1);
  device.commands.useEvents(false);
  const refused = (opcode: number, status: string): void => {
    assert.throws(
      () => device.commands.run(opcode, { modifier: 500, input: () => {} }),
      (error) => error instanceof DriverError && error.code === status,
    );
  };
  refused(Command.QUERY_DEV_LIM, "BAD_SYS_STATE");
  refused(Command.SW2HW_CQ, "BAD_SYS_STATE");
  refused(Command.RST2INIT_QP, "BAD_SYS_STATE");
  refused(Command.SW2HW_MPT, "BAD_SYS_STATE");
  refused(Command.MAP_ICM, "BAD_SYS_STATE");
  refused(Command.MAD_IFC, "BAD_SYS_STATE");
  refused(Command.CLOSE_HCA, "BAD_SYS_STATE");
  refused(0x0fe, "BAD_OP");
  device.commands.run(Command.RUN_FW);
  refused(Command.SW2HW_EQ, "BAD_SYS_STATE");
  refused(Command.MAP_EQ, "BAD_SYS_STATE");
  assert.equal(new Device(node.access, { mtts: 8192 }).firmware, "1.2.0");
});

test("what the driver reads again and again lies in the pages that a VMM maps", () => {
  const { device } = new TestBed(1)[0];
  const { output } = device.commands.run(Command.QUERY_FW, { outputBytes: QueryFw.byteLength });
  for (const [address, bytes] of [
    [QueryFw.catasAddress, 4 * QueryFw.catasDwords.get(output, 0)],
    [QueryFw.eqArmAddress, 8],
    [QueryFw.eqSetCiAddress, 256],
  ] as const) {
    const at = Number(address.getBig(output, 0));
    assert.ok(bytes > 0 && at >= Bar0.MAPPED && at + bytes <= Bar0.MAPPED + Bar0.MAPPED_BYTES, `${at} + ${bytes}`);
  }
});

test("one command maps at most 4 GiB of ICM, or nothing", () => {
  const { device, node } = new TestBed(1)[0];
  const before = node.hca.adapter.icm.mappedPages;
  const map = (entries: number, logPages: number): (() => void) => {
    const input = (view: DataView, at: number): void => {
      for (let i = 0; i < entries; i++) view.setUint32(at + i * 16 + 12, (0x10_0000 | logPages) >>> 0);
    };
    return () => device.commands.run(Command.MAP_ICM, { modifier: entries, input });
  };
  for (const [entries, logPages] of [
    [2, 20],
    [256, 20],
    [256, 13],
  ] as const) {
    assert.throws(map(entries, logPages), { code: "EXCEED_LIM" });
  }
  assert.throws(map(1, 21), { code: "BAD_PARAM" });
  assert.throws(map(257, 0), { code: "BAD_PARAM" });
  assert.equal(node.hca.adapter.icm.mappedPages, before);
});

test("a reset in the middle of everything leaves nothing behind", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const target = new Buffer64(bed[1], 4096);
  qpA.postSend({ opcode: 0x08, inline: new Uint8Array(8), ...target.remote() });
  bed[0].node.access.writeRegister(Bar0.RESET, 1);
  bed.domain.settle();
  const { adapter } = bed[0].node.hca;
  assert.equal(adapter.qps.count + adapter.cqs.count + adapter.regions.count + adapter.icm.mappedPages, 0);
  const device = new Device(bed[0].node.access, { mtts: 8192 });
  assert.doesNotThrow(() => new DriverCompletionQueue(device, 15, device.allocatePd()));
});
