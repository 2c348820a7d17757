import assert from "node:assert/strict";
import { test } from "node:test";
import { readAll } from "../../base/layout.ts";
import {
  MC_MEMBER_COMPONENTS,
  McComponent,
  NODE_RECORD_COMPONENTS,
  PATH_RECORD_COMPONENTS,
  PathComponent,
  PORT_INFO_RECORD_COMPONENTS,
  SERVICE_RECORD_COMPONENTS,
} from "./components.ts";
import { MadHeader, Rmpp, SaHeader, Smp } from "./headers.ts";
import { ClassPortInfo, PortCounters } from "./pm-attributes.ts";
import { McMemberRecord, PathRecord } from "./sa-records.ts";
import { NodeInfo, Notice, PortInfo, SwitchInfo } from "./sm-attributes.ts";

const view = (hexText: string): DataView => {
  const bytes = Uint8Array.from(Buffer.from(hexText.replaceAll(/[^0-9a-f]/g, ""), "hex"));
  return new DataView(bytes.buffer);
};

test("MAD and SMP headers: a directed-route Get(NodeInfo) as ibnetdiscover sends it", () => {
  const mad = view(`01810101 80000102 0000000112345678 00110000 00000000 0000000000000000 ffffffff ${"00".repeat(220)}`);
  assert.equal(MadHeader.mgmtClass.get(mad, 0), 0x81);
  assert.equal(MadHeader.tid.getBig(mad, 0), 0x112345678n);
  assert.equal(MadHeader.attributeId.get(mad, 0), 0x11);
  assert.equal(Smp.direction.get(mad, 0), 1);
  assert.equal(Smp.hopPointer.get(mad, 0), 1);
  assert.equal(Smp.hopCount.get(mad, 0), 2);
  assert.equal(Smp.drDlid.get(mad, 0), 0xffff);
});

test("RMPP and SA headers stand where ib_sa_mad has them", () => {
  assert.deepEqual([Rmpp.version.offset, Rmpp.type.offset, Rmpp.segment.offset, Rmpp.payloadOrWindow.offset], [24, 25, 28, 32]);
  assert.deepEqual([SaHeader.smKey.offset, SaHeader.attributeOffset.offset, SaHeader.componentMask.offset], [36, 44, 48]);
});

test("PortInfo: a port that is active at 4X DDR, LID 3, SM LID 1", () => {
  const bytes = new Uint8Array(64);
  bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0x02, 0x51, 0x0a, 0x68]);
  bytes.set([1, 3, 3, 2, 0x34, 0x52, 0x40, 0x23, 0x40, 0x30], 28);
  const info = new DataView(bytes.buffer);
  assert.equal(PortInfo.gidPrefix.getBig(info, 0), 0xfe80000000000000n);
  assert.equal(PortInfo.lid.get(info, 0), 3);
  assert.equal(PortInfo.smLid.get(info, 0), 1);
  assert.equal(PortInfo.capabilityMask.get(info, 0), 0x02510a68);
  assert.equal(PortInfo.linkWidthActive.get(info, 0), 2);
  assert.equal(PortInfo.portState.get(info, 0), 4);
  assert.equal(PortInfo.physState.get(info, 0), 5);
  assert.equal(PortInfo.mkeyProtect.get(info, 0), 1);
  assert.equal(PortInfo.linkSpeedActive.get(info, 0), 2);
  assert.equal(PortInfo.neighborMtu.get(info, 0), 4);
  assert.equal(PortInfo.vlCap.get(info, 0), 3);
});

test("records end where their structures end in the guest's headers", () => {
  assert.equal(NodeInfo.byteLength, 40);
  assert.equal(SwitchInfo.byteLength, 20);
  assert.equal(ClassPortInfo.byteLength, 72);
  assert.equal(PathRecord.preference.offset, 57);
  assert.equal(McMemberRecord.proxyJoin.offset, 49);
  assert.equal(PortCounters.xmitWait.offset, 40);
  assert.equal(Notice.issuerGid.offset, 64);
});

test("component masks: bit numbers point at the field of that name", () => {
  const byName = (components: readonly unknown[], bit: number, field: unknown) =>
    assert.equal((components[bit] as { field: unknown }).field, field);
  byName(PATH_RECORD_COMPONENTS, PathComponent.SGID, PathRecord.sgid);
  byName(PATH_RECORD_COMPONENTS, PathComponent.P_KEY, PathRecord.pkey);
  byName(PATH_RECORD_COMPONENTS, PathComponent.PREFERENCE, PathRecord.preference);
  byName(MC_MEMBER_COMPONENTS, McComponent.JOIN_STATE, McMemberRecord.joinState);
  byName(MC_MEMBER_COMPONENTS, McComponent.HOP_LIMIT, McMemberRecord.hopLimit);
  byName(NODE_RECORD_COMPONENTS, 8, NodeInfo.portGuid);
  byName(NODE_RECORD_COMPONENTS, 13, NodeInfo.vendorId);
  byName(PORT_INFO_RECORD_COMPONENTS, 7, PortInfo.capabilityMask);
  byName(PORT_INFO_RECORD_COMPONENTS, 31, PortInfo.mtuCap);
  byName(PORT_INFO_RECORD_COMPONENTS, 45, PortInfo.subnetTimeout);
  byName(PORT_INFO_RECORD_COMPONENTS, 57, PortInfo.linkSpeedExtEnabled);
  assert.equal(SERVICE_RECORD_COMPONENTS.length, 35);
  assert.ok(readAll(Smp, new DataView(new ArrayBuffer(256)), 0));
});
