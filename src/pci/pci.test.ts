import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CapabilityId, MsiX, PciExpressEndpoint, PowerManagement } from "../spec/pci/capabilities.ts";
import { CONFIG_BYTES, ConfigHeader, PciClass, PciCommand, PciStatus } from "../spec/pci/config.ts";
import {
  type Bar,
  ConfigSpace,
  MsiXTable,
  msiX,
  type PciFunctionDescription,
  pciExpressEndpoint,
  powerManagement,
} from "./index.ts";

const MIB = 2 ** 20;
const place = { vectorCount: 32, tableBar: 0, tableOffset: 0x82000, pbaBar: 0, pbaOffset: 0x82200 };
const hca = (more: Partial<PciFunctionDescription> = {}): ConfigSpace =>
  new ConfigSpace({
    vendorId: 0x15b3,
    deviceId: 0x6274,
    revision: 0x20,
    classCode: PciClass.SERIAL_BUS_INFINIBAND,
    interruptPin: 1,
    bars: [{ sizeBytes: MIB, kind: "memory64" }, undefined, { sizeBytes: 8 * MIB, kind: "memory64", isPrefetchable: true }],
    capabilities: [powerManagement(0x40), msiX(place, 0x48), pciExpressEndpoint({ width: 8 }, 0x60)],
    ...more,
  });
const dword = (config: ConfigSpace, offset: number): number => {
  const bytes = new Uint8Array(4);
  config.read(offset, bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
};
const writeDword = (config: ConfigSpace, offset: number, value: number): void => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  config.write(offset, bytes);
};
const viewOf = (config: ConfigSpace): DataView => {
  const bytes = new Uint8Array(CONFIG_BYTES);
  config.read(0, bytes);
  return new DataView(bytes.buffer);
};

test("ConfigSpace: identity as lspci shows it, and no write changes it", () => {
  const config = hca();
  const before = viewOf(config);
  assert.equal(dword(config, 0), 0x627415b3);
  assert.equal(dword(config, 8), 0x0c060020);
  assert.equal(dword(config, 0x2c), 0x627415b3);
  assert.equal(ConfigHeader.headerType.get(before, 0), 0);
  assert.equal(ConfigHeader.interruptPin.get(before, 0), 1);
  for (const offset of [0, 8, 0x2c, 0x30, 0x34]) writeDword(config, offset, 0xffffffff);
  for (const offset of [0, 8, 0x2c, 0x30, 0x34]) assert.equal(dword(config, offset), before.getUint32(offset, true));
});

test("ConfigSpace: BARs show their size to software that writes ones, and keep the address it writes then", () => {
  const config = hca();
  for (const at of [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24]) writeDword(config, at, 0xffffffff);
  const sized = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map((at) => dword(config, at));
  assert.deepEqual(sized, [0xfff00004, 0xffffffff, 0xff80000c, 0xffffffff, 0, 0]);
  writeDword(config, 0x10, 0xfe123456);
  writeDword(config, 0x14, 0x12);
  assert.equal(config.barAddress(0), 0x12_fe100000);
  writeDword(config, 0x18, 0);
  writeDword(config, 0x1c, 0);
  assert.equal(config.barAddress(2), 0);
  assert.throws(() => config.barAddress(4), /no BAR 4/);
});

test("ConfigSpace: every possible BAR is sized as the specification says", () => {
  const bar = fc.oneof(
    fc.record({ kind: fc.constant("io" as const), bits: fc.integer({ min: 2, max: 31 }), isPrefetchable: fc.constant(false) }),
    fc.record({ kind: fc.constant("memory32" as const), bits: fc.integer({ min: 4, max: 31 }), isPrefetchable: fc.boolean() }),
    fc.record({ kind: fc.constant("memory64" as const), bits: fc.integer({ min: 4, max: 52 }), isPrefetchable: fc.boolean() }),
  );
  fc.assert(
    fc.property(bar, ({ kind, bits, isPrefetchable }) => {
      const config = hca({ bars: [{ kind, sizeBytes: 2 ** bits, isPrefetchable }], capabilities: [] });
      writeDword(config, 0x10, 0xffffffff);
      writeDword(config, 0x14, 0xffffffff);
      const high = kind === "memory64" ? BigInt(dword(config, 0x14)) << 32n : 0xffffffff_00000000n;
      const low = BigInt(dword(config, 0x10));
      const mask = high | (low & (kind === "io" ? ~3n : ~15n));
      assert.equal((~mask & 0xffffffff_ffffffffn) + 1n, 2n ** BigInt(bits));
      const flags = kind === "io" ? 1n : (kind === "memory64" ? 4n : 0n) | (isPrefetchable ? 8n : 0n);
      assert.equal(low & (kind === "io" ? 3n : 15n), flags);
    }),
  );
});

test("ConfigSpace: the command register's bits, and status bits that are cleared by writing one", () => {
  const config = hca();
  writeDword(config, 4, 0xffff);
  assert.equal(dword(config, 4) & 0xffff, 0x0546, "no I/O space without an I/O BAR");
  assert.ok(config.isMemoryEnabled && config.isBusMaster && config.isIntxDisabled);
  writeDword(config, 4, PciCommand.MEMORY_SPACE);
  assert.ok(config.isMemoryEnabled && !config.isBusMaster && !config.isIntxDisabled);
  assert.equal(dword(config, 4) >>> 16, PciStatus.CAPABILITIES_LIST);
  config.setInterruptStatus(true);
  writeDword(config, 4, 0xffff0000);
  assert.equal(dword(config, 4) >>> 16, PciStatus.CAPABILITIES_LIST | PciStatus.INTERRUPT);
  config.setInterruptStatus(false);
  config.raiseStatus(PciStatus.RECEIVED_MASTER_ABORT | PciStatus.DETECTED_PARITY_ERROR | PciStatus.INTERRUPT);
  assert.equal(dword(config, 4) >>> 16, 0xa000 | PciStatus.CAPABILITIES_LIST);
  config.write(4, Uint8Array.of(0, 0, 0, 0x20));
  assert.equal(dword(config, 4) >>> 16, 0x8000 | PciStatus.CAPABILITIES_LIST);
  writeDword(config, 4, 0xffff0000);
  assert.equal(dword(config, 4) >>> 16, PciStatus.CAPABILITIES_LIST);
});

test("ConfigSpace: the capability list, each where it was put, and which bits of them can be written", () => {
  const config = hca();
  const view = viewOf(config);
  const seen: [number, number][] = [];
  for (let at = ConfigHeader.capabilities.get(view, 0); at !== 0; at = view.getUint8(at + 1)) seen.push([view.getUint8(at), at]);
  assert.deepEqual(seen, [
    [CapabilityId.POWER_MANAGEMENT, 0x40],
    [CapabilityId.MSI_X, 0x48],
    [CapabilityId.PCI_EXPRESS, 0x60],
  ]);
  assert.equal(MsiX.tableSize.get(view, 0x48), 31);
  assert.equal(dword(config, 0x4c), 0x82000);
  assert.equal(dword(config, 0x50), 0x82200);
  config.write(0, new Uint8Array(CONFIG_BYTES).fill(0xff));
  const after = viewOf(config);
  assert.equal(PowerManagement.powerState.get(after, 0x40), 3);
  assert.equal(PowerManagement.version.get(after, 0x40), 3);
  assert.ok(config.isMsiXEnabled && config.isMsiXMasked);
  assert.equal(MsiX.tableSize.get(after, 0x48), 31);
  assert.equal(PciExpressEndpoint.deviceControl.get(after, 0x60), 0x7fff);
  assert.equal(PciExpressEndpoint.linkWidth.get(after, 0x60), 8);
  config.reset();
  assert.deepEqual(viewOf(config), view);
  assert.ok(!config.isMsiXEnabled);
});

test("ConfigSpace: single bytes, odd places, beyond the end", () => {
  const config = hca();
  config.write(0x3c, Uint8Array.of(11));
  assert.equal(dword(config, 0x3c), 0x0000010b);
  config.write(254, new Uint8Array(8).fill(0xff));
  const tail = new Uint8Array(4);
  config.read(254, tail);
  assert.deepEqual(tail, Uint8Array.of(0, 0, 0xff, 0xff));
});

test("ConfigSpace: any write leaves what cannot be written as it is", () => {
  const fresh = viewOf(hca());
  const all = hca();
  all.write(0, new Uint8Array(CONFIG_BYTES).fill(0xff));
  const none = hca();
  none.write(0, new Uint8Array(CONFIG_BYTES));
  fc.assert(
    fc.property(fc.nat(300), fc.uint8Array({ maxLength: 300 }), (offset, data) => {
      const config = hca();
      config.write(offset, data);
      const after = viewOf(config);
      for (let at = 0; at < CONFIG_BYTES; at++) {
        const fixed = ~(viewOf(all).getUint8(at) ^ viewOf(none).getUint8(at)) & 0xff;
        assert.equal(after.getUint8(at) & fixed, fresh.getUint8(at) & fixed, `byte ${at}`);
      }
    }),
    { numRuns: 30 },
  );
});

test("ConfigSpace: impossible descriptions are refused with the reason", () => {
  const bars =
    (...list: (Bar | undefined)[]) =>
    () =>
      hca({ bars: list });
  assert.throws(bars({ sizeBytes: 3000 }), /BAR 0: expected a power of two/);
  assert.throws(bars({ sizeBytes: 8 }), /power of two of 16/);
  assert.throws(bars({ sizeBytes: 2 ** 32 }), /power of two/);
  assert.throws(bars({ sizeBytes: MIB, kind: "memory64" }, { sizeBytes: MIB }), /needs register 1/);
  const last: (Bar | undefined)[] = [undefined, undefined, undefined, undefined, undefined, { sizeBytes: MIB, kind: "memory64" }];
  assert.throws(bars(...last), /needs register 6/);
  assert.throws(() => hca({ capabilities: [powerManagement(0x40), msiX(place, 0x44)] }), /no room/);
  assert.throws(() => hca({ capabilities: [powerManagement(0x42)] }), /no room/);
  assert.throws(() => hca({ capabilities: [powerManagement(0xfc)] }), /no room/);
  assert.throws(() => msiX({ ...place, vectorCount: 0 }), /1 to 2048/);
  assert.throws(() => msiX({ ...place, pbaOffset: 4 }), /multiples of 8/);
  assert.equal(hca({ capabilities: [powerManagement(), msiX(place)] }).findCapability(CapabilityId.MSI_X), 0x48);
});

test("MsiXTable: vectors are delivered with their address and data once enabled and unmasked, else they wait", () => {
  const delivered: [number, number, number, number][] = [];
  const table = new MsiXTable(70, (...message) => delivered.push(message));
  assert.equal(table.tableBytes, 1120);
  assert.equal(table.pbaBytes, 16);
  const entry = new DataView(new ArrayBuffer(16));
  entry.setUint32(0, 0xfee00000, true);
  entry.setUint32(4, 1, true);
  entry.setUint32(8, 0x4321, true);
  assert.equal(table.signal(69), false, "MSI-X is off");
  table.setControl(true, false);
  assert.equal(table.signal(69), false, "masked after reset");
  assert.equal(table.isPending(69), true);
  const pba = new Uint8Array(16);
  table.readPba(0, pba);
  assert.equal(pba[8], 1 << 5);
  table.writeTable(69 * 16, new Uint8Array(entry.buffer));
  assert.deepEqual(delivered.splice(0), [[69, 1, 0xfee00000, 0x4321]]);
  assert.equal(table.isPending(69), false);
  assert.equal(table.signal(69), true);
  table.setControl(true, true);
  assert.equal(table.signal(69), false, "function mask");
  delivered.length = 0;
  table.setControl(true, false);
  assert.equal(delivered.length, 1);
  assert.equal(table.signal(70), false);
  assert.equal(table.signal(-1), false);
});

test("MsiXTable: of the control word only the mask bit can be written; reads give back what was written", () => {
  const table = new MsiXTable(2, () => {});
  table.writeTable(0, new Uint8Array(32).fill(0xff));
  const bytes = new Uint8Array(32);
  table.readTable(0, bytes);
  assert.deepEqual(Buffer.from(bytes).toString("hex"), `${"ff".repeat(12)}01000000`.repeat(2));
  table.writeTable(28, new Uint8Array(8));
  table.readTable(16, bytes.subarray(0, 16));
  assert.equal(bytes[12], 0);
  table.reset();
  table.readTable(0, bytes);
  assert.equal(Buffer.from(bytes).toString("hex"), `${"00".repeat(12)}01000000`.repeat(2));
});
