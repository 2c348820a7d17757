import assert from "node:assert/strict";
import { test } from "node:test";
import { writeAll } from "../../base/layout.ts";
import { Fabric } from "../../fabric/fabric.ts";
import { PhysState, PortState } from "../../spec/ib/numbers.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../../spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass, NodeType, SmAttribute } from "../../spec/mad/numbers.ts";
import { NodeInfo, PortInfo, SwitchInfo } from "../../spec/mad/sm-attributes.ts";
import type { ManagedNode } from "../attributes.ts";
import { bytesOf, newRequest, Verdict } from "../mad.ts";
import { processSmp } from "./sma.ts";

const AT = SMP_DATA_AT;
const GUID = 0x0002c90200000010n;

function ca() {
  const fabric = new Fabric();
  const node = fabric.addCa({ nodeGuid: GUID, description: "vm1 HCA" });
  const sw = fabric.addSwitch({ guid: 0x1n, description: "sw", portCount: 20 });
  const port = node.ports[1]!;
  fabric.connect(port, sw.ports[1]!);
  port.enable();
  return { fabric, node, port, sw };
}

/** Executes one SMP and returns the MAD with its verdict and status. */
function smp(
  node: ManagedNode,
  method: number,
  attribute: number,
  options: { modifier?: number; port?: number; mkey?: bigint; nowNs?: number; fill?: (mad: DataView) => void } = {},
) {
  const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, method, attribute, options.modifier ?? 0);
  MadHeader.tid.setBig(mad, 0, 0x1122334455667788n);
  Smp.mkey.setBig(mad, 0, options.mkey ?? 0n);
  options.fill?.(mad);
  const verdict = processSmp(node, mad, { port: options.port ?? 1, ignoreMkey: false, nowNs: options.nowNs ?? 0 });
  return { mad, verdict, status: Smp.status.get(mad, 0) };
}

/** Set(PortInfo) with the current values and some changes. */
function setPortInfo(
  node: ManagedNode,
  changes: Partial<Record<keyof typeof PortInfo, number | bigint>>,
  options: { modifier?: number; port?: number; mkey?: bigint; nowNs?: number } = {},
) {
  const number = options.modifier ?? 1;
  return smp(node, Method.SET, SmAttribute.PORT_INFO, {
    ...options,
    modifier: number,
    fill: (mad) => {
      bytesOf(mad).set(bytesOf(node.ports[number]!.info), AT);
      PortInfo.portState.set(mad, AT, 0);
      PortInfo.physState.set(mad, AT, 0);
      writeAll(PortInfo, mad, AT, changes as Record<string, number | bigint>);
    },
  });
}

test("NodeInfo of the HCA is an MT25204's", () => {
  const { node } = ca();
  const { mad, verdict } = smp(node, Method.GET, SmAttribute.NODE_INFO);
  assert.equal(verdict, Verdict.REPLY);
  assert.equal(MadHeader.method.get(mad, 0), Method.GET_RESP);
  assert.equal(MadHeader.tid.getBig(mad, 0), 0x1122334455667788n);
  assert.equal(
    Buffer.from(bytesOf(mad).subarray(AT, AT + 40)).toString("hex"),
    "01010101" + "0002c90200000013" + "0002c90200000010" + "0002c90200000011" + "0040" + "6274" + "000000a0" + "01" + "0002c9",
  );
});

test("NodeDescription, and what the SMA does not know", () => {
  const { node } = ca();
  const { mad } = smp(node, Method.GET, SmAttribute.NODE_DESCRIPTION);
  assert.equal(
    Buffer.from(bytesOf(mad).subarray(AT, AT + 64))
      .toString()
      .replaceAll("\0", ""),
    "vm1 HCA",
  );
  assert.equal(smp(node, Method.SET, SmAttribute.NODE_INFO).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  assert.equal(smp(node, Method.GET, SmAttribute.SWITCH_INFO).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  assert.equal(smp(node, Method.GET, 0xff17).status, MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE);
  assert.equal(smp(node, 0x0d, SmAttribute.NODE_INFO).status, MadStatus.UNSUPPORTED_METHOD);
  const badVersion = smp(node, Method.GET, SmAttribute.NODE_INFO, { fill: (mad) => MadHeader.classVersion.set(mad, 0, 2) });
  assert.equal(badVersion.status, MadStatus.BAD_VERSION);
  assert.equal(smp(node, Method.GET_RESP, SmAttribute.NODE_INFO).verdict, Verdict.DROP);
  assert.equal(smp(node, Method.TRAP_REPRESS, SmAttribute.NOTICE).verdict, Verdict.CONSUMED);
});

test("PortInfo: the values the driver reads at probe, and those of a port in INIT", () => {
  const { node, port } = ca();
  const { mad } = smp(node, Method.GET, SmAttribute.PORT_INFO, { modifier: 1 });
  assert.equal(PortInfo.gidPrefix.getBig(mad, AT), 0xfe80000000000000n);
  assert.equal(PortInfo.capabilityMask.get(mad, AT), 0x02500a68);
  assert.equal(PortInfo.portState.get(mad, AT), PortState.INIT);
  assert.equal(PortInfo.physState.get(mad, AT), PhysState.LINK_UP);
  assert.equal(PortInfo.linkWidthActive.get(mad, AT), 2);
  assert.equal(PortInfo.linkSpeedActive.get(mad, AT), 2);
  assert.equal(PortInfo.mtuCap.get(mad, AT), 4);
  assert.equal(PortInfo.guidCap.get(mad, AT), 32);
  assert.equal(PortInfo.localPort.get(mad, AT), 1);
  assert.equal(smp(node, Method.GET, SmAttribute.PORT_INFO, { modifier: 0 }).status, 0, "0 is the port it came by");
  assert.equal(smp(node, Method.GET, SmAttribute.PORT_INFO, { modifier: 2 }).status, MadStatus.INVALID_FIELD);
  port.disable();
  const down = smp(node, Method.GET, SmAttribute.PORT_INFO, { modifier: 1 }).mad;
  assert.equal(PortInfo.portState.get(down, AT), PortState.DOWN);
  assert.equal(PortInfo.linkSpeedActive.get(down, AT), 2, "sane even when down: the driver computes a rate from it");
});

test("PortInfo Set: LID, ARMED, ACTIVE; ClientReregister is echoed and not stored", () => {
  const { node, port } = ca();
  const armed = setPortInfo(node, { lid: 7, smLid: 1, portState: PortState.ARMED, clientReregister: 1, subnetTimeout: 18 });
  assert.equal(armed.status, 0);
  assert.equal(PortInfo.clientReregister.get(armed.mad, AT), 1);
  assert.equal(PortInfo.portState.get(armed.mad, AT), PortState.ARMED);
  assert.deepEqual([port.lid, port.smLid, port.state], [7, 1, PortState.ARMED]);
  const active = setPortInfo(node, { portState: PortState.ACTIVE });
  assert.equal(active.status, 0);
  assert.equal(PortInfo.clientReregister.get(active.mad, AT), 0);
  assert.equal(port.state, PortState.ACTIVE);
});

test("PortInfo Set: what is not allowed is refused as a whole", () => {
  const { node, port } = ca();
  const before = Buffer.from(bytesOf(port.info)).toString("hex");
  const refused: Partial<Record<keyof typeof PortInfo, number>>[] = [
    { lid: 0xc000 },
    { lid: 5, smLid: 0xffff },
    { lid: 5, lmc: 1 },
    { lid: 5, portState: PortState.ACTIVE },
    { lid: 5, portState: PortState.INIT },
    { lid: 5, physState: 1 },
    { lid: 5, physState: 5 },
    { lid: 5, neighborMtu: 5 },
    { lid: 5, operationalVls: 4 },
    { lid: 5, linkWidthEnabled: 8 },
    { lid: 5, linkSpeedEnabled: 4 },
    { lid: 5, linkDownDefault: 3 },
  ];
  for (const changes of refused) {
    assert.equal(setPortInfo(node, changes).status, MadStatus.INVALID_FIELD, JSON.stringify(changes));
    assert.equal(Buffer.from(bytesOf(port.info)).toString("hex"), before, JSON.stringify(changes));
  }
  assert.equal(setPortInfo(node, { lid: 6, lmc: 1 }).status, 0);
  assert.ok(port.ownsLid(6) && port.ownsLid(7) && !port.ownsLid(8));
});

test("PortInfo Set: width and speed, no change and back to supported", () => {
  const { node, port } = ca();
  setPortInfo(node, { lid: 2, linkWidthEnabled: 1, linkSpeedEnabled: 1 });
  assert.equal(PortInfo.linkWidthEnabled.get(port.info, 0), 1);
  setPortInfo(node, { linkWidthEnabled: 0, linkSpeedEnabled: 0 });
  assert.equal(PortInfo.linkWidthEnabled.get(port.info, 0), 1);
  assert.equal(PortInfo.linkWidthActive.get(port.info, 0), 2, "only the next training uses it");
  setPortInfo(node, { portState: PortState.DOWN });
  assert.equal(port.state, PortState.INIT, "retrained");
  assert.equal(PortInfo.linkWidthActive.get(port.info, 0), 1);
  assert.equal(PortInfo.linkSpeedActive.get(port.info, 0), 1);
  setPortInfo(node, { linkWidthEnabled: 0xff, linkSpeedEnabled: 0xf });
  assert.equal(PortInfo.linkWidthEnabled.get(port.info, 0), 3);
  assert.equal(PortInfo.linkSpeedEnabled.get(port.info, 0), 3);
});

test("PortInfo Set: physical state DISABLED and POLLING, at either end", () => {
  const { node, port, sw } = ca();
  setPortInfo(sw, { physState: PhysState.DISABLED });
  assert.deepEqual([sw.ports[1]!.physState, port.physState], [PhysState.DISABLED, PhysState.POLLING]);
  assert.deepEqual([sw.ports[1]!.state, port.state], [PortState.DOWN, PortState.DOWN]);
  setPortInfo(sw, { physState: PhysState.POLLING });
  assert.deepEqual([sw.ports[1]!.state, port.state], [PortState.INIT, PortState.INIT]);
  setPortInfo(node, { lid: 3, physState: PhysState.DISABLED, portState: PortState.DOWN });
  assert.equal(port.physState, PhysState.DISABLED);
  setPortInfo(node, { physState: PhysState.POLLING });
  assert.equal(sw.ports[1]!.state, PortState.INIT);
});

test("PortInfo Set: violation counters are cleared by zero and by nothing else", () => {
  const { node, port } = ca();
  port.countPkeyViolation();
  port.countQkeyViolation();
  port.countQkeyViolation();
  setPortInfo(node, { lid: 2, pkeyViolations: 77 });
  assert.equal(PortInfo.pkeyViolations.get(port.info, 0), 1);
  setPortInfo(node, { qkeyViolations: 0 });
  assert.equal(PortInfo.qkeyViolations.get(port.info, 0), 0);
  assert.equal(PortInfo.pkeyViolations.get(port.info, 0), 1);
});

test("M_Key: protect bits, violations, lease", () => {
  const { node, port } = ca();
  const key = 0xdeadbeef12345678n;
  const written = setPortInfo(node, { lid: 2, mkey: key, mkeyProtect: 1, mkeyLeasePeriod: 3 });
  assert.equal(written.verdict, Verdict.REPLY);
  assert.equal(PortInfo.mkey.getBig(written.mad, AT), key, "whoever writes a key sees it in the answer");
  const get = (mkey: bigint, nowNs = 0) => smp(node, Method.GET, SmAttribute.PORT_INFO, { modifier: 1, mkey, nowNs });
  assert.equal(PortInfo.mkey.getBig(get(0n).mad, AT), 0n, "level 1 hides the key");
  assert.equal(PortInfo.mkey.getBig(get(key).mad, AT), key);
  assert.equal(setPortInfo(node, { lid: 9 }).verdict, Verdict.DROP);
  assert.equal(PortInfo.mkeyViolations.get(port.info, 0), 1);
  assert.equal(port.lid, 2);
  setPortInfo(node, { mkeyProtect: 2 }, { mkey: key });
  assert.equal(get(0n).verdict, Verdict.DROP, "level 2 needs the key for a Get");
  assert.equal(get(0n, 2e9).verdict, Verdict.DROP, "the lease runs");
  assert.equal(get(0n, 4e9).verdict, Verdict.REPLY, "and has run out: protection falls to 0");
  assert.equal(PortInfo.mkeyProtect.get(port.info, 0), 0);
  assert.equal(setPortInfo(node, { lid: 9 }, { nowNs: 4e9 }).verdict, Verdict.DROP, "a Set still needs the key");
});

test("GUIDInfo and P_KeyTable: blocks, the read-only entry, GIDs follow the prefix", () => {
  const { node, port } = ca();
  const set = smp(node, Method.SET, SmAttribute.GUID_INFO, {
    modifier: 0,
    fill: (mad) => {
      mad.setBigUint64(AT, 0xbadn);
      mad.setBigUint64(AT + 8, 0xabcdn);
    },
  });
  assert.equal(set.mad.getBigUint64(AT), GUID + 1n, "entry 0 stays the port GUID");
  assert.equal(set.mad.getBigUint64(AT + 8), 0xabcdn);
  setPortInfo(node, { lid: 2, gidPrefix: 0xfec0000000000001n });
  assert.equal(
    Buffer.from(port.gids.subarray(0, 32)).toString("hex"),
    "fec00000000000010002c90200000011fec0000000000001000000000000abcd",
  );
  assert.ok(
    port.gids.subarray(32).every((byte) => byte === 0),
    "unset entries are zero",
  );
  assert.equal(smp(node, Method.GET, SmAttribute.GUID_INFO, { modifier: 4 }).status, MadStatus.INVALID_FIELD);
  const keys = smp(node, Method.GET, SmAttribute.P_KEY_TABLE, { modifier: 0 }).mad;
  assert.deepEqual([keys.getUint16(AT), keys.getUint16(AT + 2)], [0xffff, 0]);
  const epoch = port.epoch;
  smp(node, Method.SET, SmAttribute.P_KEY_TABLE, { modifier: 1, fill: (mad) => mad.setUint16(AT + 62, 0x8001) });
  assert.equal(port.pkeys[63], 0x8001);
  assert.notEqual(port.epoch, epoch);
  assert.equal(smp(node, Method.GET, SmAttribute.P_KEY_TABLE, { modifier: 2 }).status, MadStatus.INVALID_FIELD);
});

test("SLtoVL and VLArbitration are kept, per port pair on a switch", () => {
  const { node, sw } = ca();
  const put = (mad: DataView) => mad.setBigUint64(AT, 0x0011223344556677n);
  assert.equal(smp(node, Method.SET, SmAttribute.SL_TO_VL_MAPPING, { fill: put }).status, 0);
  assert.equal(smp(node, Method.GET, SmAttribute.SL_TO_VL_MAPPING).mad.getBigUint64(AT), 0x0011223344556677n);
  smp(sw, Method.SET, SmAttribute.SL_TO_VL_MAPPING, { modifier: 0x0302, fill: put });
  assert.equal(smp(sw, Method.GET, SmAttribute.SL_TO_VL_MAPPING, { modifier: 0x0302 }).mad.getBigUint64(AT), 0x0011223344556677n);
  assert.equal(smp(sw, Method.GET, SmAttribute.SL_TO_VL_MAPPING, { modifier: 0x0203 }).mad.getBigUint64(AT), 0x0123456701234567n);
  assert.equal(smp(sw, Method.GET, SmAttribute.SL_TO_VL_MAPPING, { modifier: 0x1502 }).status, MadStatus.INVALID_FIELD);
  const arb = (mad: DataView) => mad.setUint16(AT + 2, 0x0140);
  smp(node, Method.SET, SmAttribute.VL_ARBITRATION, { modifier: 0x30001, fill: arb });
  assert.equal(smp(node, Method.GET, SmAttribute.VL_ARBITRATION, { modifier: 0x30001 }).mad.getUint16(AT + 2), 0x0140);
  assert.equal(smp(node, Method.GET, SmAttribute.VL_ARBITRATION, { modifier: 1 }).status, MadStatus.INVALID_FIELD);
});

test("a switch: NodeInfo, SwitchInfo, forwarding tables, port 0", () => {
  const { sw } = ca();
  const info = smp(sw, Method.GET, SmAttribute.NODE_INFO, { port: 1 }).mad;
  assert.equal(NodeInfo.nodeType.get(info, AT), NodeType.SWITCH);
  assert.equal(NodeInfo.portCount.get(info, AT), 20);
  assert.equal(NodeInfo.localPort.get(info, AT), 1);
  assert.equal(NodeInfo.portGuid.getBig(info, AT), 1n);
  const before = smp(sw, Method.GET, SmAttribute.SWITCH_INFO).mad;
  assert.equal(SwitchInfo.linearFdbCap.get(before, AT), 0xc000);
  assert.equal(SwitchInfo.portStateChange.get(before, AT), 1, "the link came up");
  const set = (change: number, top = 63) =>
    smp(sw, Method.SET, SmAttribute.SWITCH_INFO, {
      fill: (mad) => {
        SwitchInfo.linearFdbTop.set(mad, AT, top);
        SwitchInfo.portStateChange.set(mad, AT, change);
        SwitchInfo.linearFdbCap.set(mad, AT, 5);
      },
    });
  assert.equal(SwitchInfo.portStateChange.get(set(0).mad, AT), 1);
  assert.equal(SwitchInfo.portStateChange.get(set(1).mad, AT), 0);
  assert.equal(SwitchInfo.linearFdbCap.get(set(0).mad, AT), 0xc000, "read-only");
  assert.equal(set(0, 0xc000).status, MadStatus.INVALID_FIELD);
  smp(sw, Method.SET, SmAttribute.LINEAR_FORWARDING, { modifier: 767, fill: (mad) => mad.setUint8(AT + 63, 9) });
  assert.equal(sw.switch.linear.portOf(0xbfff), 9);
  assert.equal(smp(sw, Method.GET, SmAttribute.LINEAR_FORWARDING, { modifier: 767 }).mad.getUint8(AT + 63), 9);
  assert.equal(smp(sw, Method.GET, SmAttribute.LINEAR_FORWARDING, { modifier: 3 }).mad.getUint8(AT), 0xff);
  assert.equal(smp(sw, Method.GET, SmAttribute.LINEAR_FORWARDING, { modifier: 768 }).status, MadStatus.INVALID_FIELD);
  smp(sw, Method.SET, SmAttribute.MULTICAST_FORWARDING, { modifier: 0x10000002, fill: (mad) => mad.setUint16(AT + 4, 0x0011) });
  assert.equal(sw.switch.multicast.maskOf(0xc000 + 64 + 2, 1), 0x0011);
  const mft = smp(sw, Method.GET, SmAttribute.MULTICAST_FORWARDING, { modifier: 0x10000002 });
  assert.equal(mft.mad.getUint16(AT + 4), 0x0011);
  assert.equal(smp(sw, Method.GET, SmAttribute.MULTICAST_FORWARDING, { modifier: 0x20000000 }).status, MadStatus.INVALID_FIELD);
  const port0 = setPortInfo(sw, { lid: 4, smLid: 4 }, { modifier: 0, port: 1 });
  assert.equal(port0.status, 0);
  assert.equal(sw.lid, 4);
  assert.equal(PortInfo.portState.get(port0.mad, AT), PortState.ACTIVE);
  const external = setPortInfo(sw, { lid: 0x1234, smLid: 0x1234 }, { modifier: 1, port: 1 });
  assert.deepEqual([external.status, sw.ports[1]!.lid], [0, 0], "external ports have no LID and ignore one");
});
