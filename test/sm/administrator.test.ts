// The subnet administrator as hosts meet it: groups, tables, single records, services. IBA vol 1, 15.2.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import type { MadPacket } from "../../src/mad/packet.ts";
import { SaLimits } from "../../src/sm/options.ts";
import { IPOIB_BROADCAST } from "../../src/sm/sa/mcmember.ts";
import { McComponent as M, PathComponent as P } from "../../src/spec/mad/components.ts";
import { MadHeader } from "../../src/spec/mad/headers.ts";
import { JoinState, MadStatus, Method, SaAttribute, SaCapability2, SaStatus } from "../../src/spec/mad/numbers.ts";
import { ClassPortInfo } from "../../src/spec/mad/pm-attributes.ts";
import {
  LinkRecord,
  McMemberRecord,
  NODE_RECORD_INFO_AT,
  NodeRecord,
  PathRecord,
  PORT_INFO_RECORD_INFO_AT,
  ServiceRecord,
} from "../../src/spec/mad/sa-records.ts";
import { NodeInfo, PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AT, ask, askTable, bit, gidOf, hexOf, madOf, path, request, running, S, statusOf } from "./administrator-kit.ts";

test("IPoIB joins the broadcast group: the bytes of the request, and the whole record back", () => {
  const { subnet } = running();
  const gid = hexOf(gidOf(subnet, 0));
  const answer = ask(
    subnet,
    0,
    madOf(`01030202 00000000 0000000200000001 00380000 00000000
      000000000000000000000000 0000000000000000 0000 0000 0000000000010083
      ff12401bffff000000000000ffffffff ${gid} 00000000 0000 00 00 ffff 00 00 00000000 01 00 0000`),
  );
  assert.equal(MadHeader.method.get(answer.view, answer.madAt), Method.GET_RESP);
  assert.equal(statusOf(answer), 0);
  const record = hexOf(answer.bytes.subarray(answer.madAt + AT, answer.madAt + AT + 52));
  assert.equal(
    record,
    "ff12401bffff000000000000ffffffff" +
      gid +
      "00000b1b" +
      "c000" +
      "84" +
      "00" +
      "ffff" +
      "86" +
      "92" +
      "00000000" +
      "21" +
      "000000",
  );
});

test("IPoIB makes its IPv6 and all-nodes groups by joining with the broadcast group's parameters", () => {
  const { subnet, manager } = running();
  const join = (mgid: string, qkey = "00000b1b", mtu = "84", rate = "83") =>
    ask(
      subnet,
      0,
      madOf(`01030202 00000000 0000000200000009 00380000 00000000
        000000000000000000000000 0000000000000000 0000 0000 00000000000173f7
        ${mgid} ${hexOf(gidOf(subnet, 0))} ${qkey} 0000 ${mtu} 00 ffff ${rate} 00 00000000 01 00 0000`),
    );
  const allNodes = join("ff12401bffff00000000000000000001");
  const mldv2 = join("ff12601bffff00000000000000000016");
  assert.deepEqual([statusOf(allNodes), statusOf(mldv2)], [0, 0]);
  const mlids = [allNodes, mldv2].map((answer) => McMemberRecord.mlid.get(answer.view, answer.madAt + AT));
  assert.deepEqual(mlids, [0xc001, 0xc002]);
  assert.equal(manager.groups.size, 3);
  const other = join("ff12401bffff00000000000000000001", "00000b1c");
  assert.equal(statusOf(other), SaStatus.REQ_INVALID, "another Q_Key");
  assert.equal(statusOf(join("ff12401bffff00000000000000000001", "00000b1b", "83")), SaStatus.REQ_INVALID, "another MTU");
  assert.equal(statusOf(join("fe80000000000000000000000000beef")), SaStatus.REQ_INVALID, "not a multicast GID");
  assert.equal(statusOf(join("ff12401bffff00000000000000000077", "00000b1b", "85")), SaStatus.REQ_INVALID, "MTU of 4096");
});

/** Joins or leaves a group by its MGID. */
function member(
  subnet: SimulatedSubnet,
  host: number,
  mgid: Uint8Array,
  options: { method?: number; joinState?: number; forHost?: number; smKey?: bigint; creates?: boolean } = {},
): MadPacket {
  let mask = bit(M.MGID, M.PORT_GID, M.JOIN_STATE);
  if (options.creates !== false) mask |= bit(M.P_KEY, M.Q_KEY, M.SL, M.FLOW_LABEL, M.TRAFFIC_CLASS);
  return ask(
    subnet,
    host,
    request(
      options.method ?? Method.SET,
      SaAttribute.MC_MEMBER_RECORD,
      mask,
      (mad) => {
        McMemberRecord.mgid.set(mad, AT, mgid);
        McMemberRecord.portGid.set(mad, AT, gidOf(subnet, options.forHost ?? host));
        McMemberRecord.joinState.set(mad, AT, options.joinState ?? JoinState.FULL);
        McMemberRecord.pkey.set(mad, AT, 0xffff);
        McMemberRecord.qkey.set(mad, AT, 0x0b1b);
      },
      options.smKey ?? 0n,
    ),
  );
}

const group = (n: number): Uint8Array =>
  Uint8Array.from([0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, n >> 8, n & 255]);
const reached = (subnet: SimulatedSubnet, from: number, mlid: number): number[] => {
  const out = new Int32Array(64);
  return [...out.subarray(0, subnet.port(from).resolveMulticast(mlid, out))].sort();
};

test("joins and leaves are in the tables before the answer is out; senders are let in, not served", () => {
  const { subnet, manager } = running({ hosts: 6, switches: 3, shape: "loop" });
  const mgid = group(5);
  const mlid = McMemberRecord.mlid.get(member(subnet, 0, mgid).view, 28 + AT);
  assert.deepEqual(reached(subnet, 0, mlid), []);
  member(subnet, 1, mgid);
  assert.deepEqual(reached(subnet, 0, mlid), [1]);
  member(subnet, 5, mgid, { joinState: JoinState.NON });
  member(subnet, 4, mgid, { joinState: JoinState.SEND_ONLY_NON });
  member(subnet, 3, mgid, { joinState: JoinState.SEND_ONLY_FULL });
  assert.deepEqual(reached(subnet, 0, mlid), [1, 5]);
  assert.deepEqual(reached(subnet, 4, mlid), [0, 1, 5]);
  assert.deepEqual(reached(subnet, 3, mlid), [0, 1, 5]);
  const left = member(subnet, 1, mgid, { method: Method.DELETE });
  assert.equal(MadHeader.method.get(left.view, left.madAt), Method.DELETE_RESP);
  assert.deepEqual(reached(subnet, 0, mlid), [5]);
  assert.equal(statusOf(member(subnet, 1, mgid, { method: Method.DELETE })), SaStatus.REQ_INVALID, "not a member any more");
  member(subnet, 0, mgid, { method: Method.DELETE });
  assert.ok(manager.groups.find(mgid), "a send-only full member keeps it");
  member(subnet, 3, mgid, { method: Method.DELETE, joinState: JoinState.SEND_ONLY_FULL });
  assert.equal(manager.groups.find(mgid), undefined, "and the others go with the last full one");
  assert.deepEqual(reached(subnet, 0, mlid), []);
  for (const sw of subnet.switches) for (let p = 0; p < 3; p++) assert.equal(sw.switch.multicast.maskOf(mlid, p), 0);
  assert.ok(manager.groups.find(IPOIB_BROADCAST), "the broadcast group stays");
});

test("joins repeated, widened, and undone state by state", () => {
  const { subnet, manager } = running();
  const mgid = group(9);
  member(subnet, 0, mgid);
  member(subnet, 0, mgid);
  const both = member(subnet, 0, mgid, { joinState: JoinState.NON });
  assert.equal(McMemberRecord.joinState.get(both.view, both.madAt + AT), JoinState.FULL | JoinState.NON);
  assert.equal(manager.groups.find(mgid)!.members.size, 1);
  const rest = member(subnet, 0, mgid, { method: Method.DELETE, joinState: JoinState.FULL });
  assert.equal(McMemberRecord.joinState.get(rest.view, rest.madAt + AT), JoinState.NON);
  assert.equal(manager.groups.find(mgid), undefined);
});

test("who may not: strangers for others, unknown ports, joins without what is needed", () => {
  const { subnet, manager } = running();
  member(subnet, 1, group(3));
  assert.equal(statusOf(member(subnet, 0, group(3), { forHost: 1 })), SaStatus.REQ_DENIED);
  assert.equal(statusOf(member(subnet, 0, group(3), { forHost: 1, method: Method.DELETE })), SaStatus.REQ_DENIED);
  assert.equal(statusOf(member(subnet, 0, group(3), { forHost: 1, method: Method.DELETE, smKey: 1n })), 0);
  assert.equal(statusOf(member(subnet, 0, group(2), { creates: false })), SaStatus.REQ_INSUFFICIENT_COMPONENTS);
  assert.equal(statusOf(member(subnet, 0, group(2), { joinState: JoinState.NON })), SaStatus.REQ_INVALID, "cannot create");
  assert.equal(statusOf(member(subnet, 0, group(2), { joinState: 0 })), SaStatus.REQ_INVALID);
  const stranger = request(Method.SET, SaAttribute.MC_MEMBER_RECORD, bit(M.MGID, M.PORT_GID, M.JOIN_STATE), (mad) => {
    McMemberRecord.mgid.set(mad, AT, IPOIB_BROADCAST);
    McMemberRecord.portGid.set(mad, AT, Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1));
    McMemberRecord.joinState.set(mad, AT, 1);
  });
  assert.equal(statusOf(ask(subnet, 0, stranger)), SaStatus.REQ_INVALID_GID);
  assert.equal(manager.groups.size, 1);
});

test("joining for others: those may leave it or make it their own, third parties may not, and who joins is charged", () => {
  const { subnet, manager } = running();
  const join = (host: number, forHost: number, mgid = group(1)) => {
    const answer = member(subnet, host, mgid, { forHost });
    return [statusOf(answer), McMemberRecord.proxyJoin.get(answer.view, answer.madAt + AT)];
  };
  const leave = (host: number, forHost: number, mgid = group(1)) =>
    statusOf(member(subnet, host, mgid, { forHost, method: Method.DELETE }));
  assert.deepEqual(join(0, 1), [0, 1]);
  assert.deepEqual([join(2, 1)[0], leave(2, 1)], [SaStatus.REQ_DENIED, SaStatus.REQ_DENIED]);
  assert.deepEqual(join(1, 1), [0, 0]);
  assert.deepEqual([join(0, 1)[0], leave(0, 1), leave(1, 1)], [SaStatus.REQ_DENIED, SaStatus.REQ_DENIED, 0]);
  join(0, 1);
  assert.equal(leave(0, 1), 0);
  for (let i = 0; i < SaLimits.GROUPS_PER_PORT; i++) assert.equal(join(0, 1, group(100 + i))[0], 0);
  assert.equal(join(0, 2, group(999))[0], SaStatus.NO_RESOURCES);
  assert.deepEqual(join(1, 1, group(999)), [0, 0], "who has been joined pays nothing for it");
  manager.administrator.portRemoved(subnet.port(0).guid, 0);
  assert.equal(manager.groups.size, 2, "with the joiner its memberships go");
});

test("what a group may be: MGIDs, rates and MTUs that exist; leaving takes only states that are there", () => {
  const { subnet } = running();
  const make = (mgid: string, rate = 0, mtu = 0) => {
    const { MGID, PORT_GID, JOIN_STATE, P_KEY, Q_KEY, SL, FLOW_LABEL, TRAFFIC_CLASS } = M;
    const parameters = [P_KEY, Q_KEY, SL, FLOW_LABEL, TRAFFIC_CLASS];
    const rateBits = rate === 0 ? [] : [M.RATE_SELECTOR, M.RATE];
    const mtuBits = mtu === 0 ? [] : [M.MTU_SELECTOR, M.MTU];
    const mask = bit(MGID, PORT_GID, JOIN_STATE, ...parameters, ...rateBits, ...mtuBits);
    const mad = request(Method.SET, SaAttribute.MC_MEMBER_RECORD, mask, (to) => {
      McMemberRecord.mgid.set(to, AT, Buffer.from(mgid.padEnd(32, "0"), "hex"));
      McMemberRecord.portGid.set(to, AT, gidOf(subnet, 0));
      McMemberRecord.joinState.set(to, AT, JoinState.FULL);
      McMemberRecord.pkey.set(to, AT, 0xffff);
      McMemberRecord.rateSelector.set(to, AT, rate >> 6);
      McMemberRecord.rate.set(to, AT, rate & 0x3f);
      McMemberRecord.mtuSelector.set(to, AT, mtu >> 6);
      McMemberRecord.mtu.set(to, AT, mtu & 0x3f);
    });
    const answer = ask(subnet, 0, mad);
    return [statusOf(answer), McMemberRecord.rate.get(answer.view, answer.madAt + AT)];
  };
  const statusesOf = (mgids: string[]) => mgids.map((mgid) => make(mgid)[0]);
  const { REQ_INVALID } = SaStatus;
  assert.deepEqual(
    statusesOf(["ff12a01cfe80", "ff1fa01c", "ff15a01b", "ff020000000000000000000000000001", "ff12401bffff"]),
    [0, 0, 0, 0, 0],
  );
  assert.deepEqual(statusesOf(["ff12a01b", "ff22a01c", "ef12a01c", "fa12a01c"]), Array(4).fill(REQ_INVALID));
  const greater = 0 << 6;
  const less = 1 << 6;
  const exactly = 2 << 6;
  // codes: 2 is 2.5 Gb/s, 6 is 20, 8 is 60, 11 is 14, 18 is 300, 24 is 1200; the links have 20
  for (const rate of [greater | 24, greater | 18, greater | 63, less | 2, exactly | 11]) {
    assert.equal(make("ff12a01c01", rate)[0], REQ_INVALID, `rate ${rate}`);
  }
  assert.deepEqual(make("ff12a01c02", less | 8), [0, 6]);
  assert.deepEqual(make("ff12a01c03", less | 11), [0, 3]);
  assert.deepEqual(make("ff12a01c04", greater | 11), [0, 6]);
  assert.deepEqual(make("ff12a01c05", less | 18), [0, 6]);
  assert.equal(make("ff12a01c02", greater | 63)[0], REQ_INVALID, "an existing group");
  for (const mtu of [greater | 5, less | 1, greater | 6]) assert.equal(make("ff12a01c01", 0, mtu)[0], REQ_INVALID, `MTU ${mtu}`);
  const mgid = Uint8Array.from(Buffer.from("ff12a01cfe80".padEnd(32, "0"), "hex"));
  member(subnet, 0, mgid, { joinState: JoinState.NON, creates: false });
  const leave = (joinState: number) => statusOf(member(subnet, 0, mgid, { method: Method.DELETE, joinState }));
  assert.deepEqual(
    [leave(JoinState.NON | JoinState.SEND_ONLY_NON), leave(0), leave(JoinState.NON)],
    [REQ_INVALID, REQ_INVALID, 0],
  );
});

test("the broadcast group goes as fast as the slowest host, also one that comes later", () => {
  const { subnet, manager } = running();
  const [broadcast] = manager.groups.all();
  const slow = subnet.port(1);
  const info = manager.subnet.byGuid.get(slow.guid)!.info;
  const join = (host: number) => statusOf(member(subnet, host, IPOIB_BROADCAST));
  const fast = { width: PortInfo.linkWidthActive.get(info, 0), speed: PortInfo.linkSpeedActive.get(info, 0) };
  assert.deepEqual([join(0), broadcast!.rate], [0, 6]);
  PortInfo.linkSpeedActive.set(info, 0, 1);
  assert.deepEqual([join(1), broadcast!.rate], [0, 3]);
  PortInfo.linkSpeedActive.set(info, 0, fast.speed);
  assert.deepEqual([join(2), broadcast!.rate], [0, 3], "not up again while it has members");
  PortInfo.linkWidthActive.set(info, 0, 1);
  for (const host of [0, 1, 2]) member(subnet, host, IPOIB_BROADCAST, { method: Method.DELETE });
  assert.deepEqual([join(0), broadcast!.rate], [0, 5], "known to be slow before it joins");
});

test("a port that goes takes its memberships and services along, and is told to register when it returns", () => {
  const { subnet, manager } = running();
  member(subnet, 1, group(3));
  member(subnet, 1, IPOIB_BROADCAST);
  ask(
    subnet,
    1,
    request(Method.SET, SaAttribute.SERVICE_RECORD, bit(0, 1, 2), (mad) => ServiceRecord.lease.set(mad, AT, 0xffffffff)),
  );
  assert.deepEqual([manager.groups.size, manager.administrator.services.size], [2, 1]);
  subnet.port(1).disable();
  subnet.runFor(1e6);
  assert.deepEqual([manager.groups.size, manager.administrator.services.size], [1, 0]);
  assert.equal(manager.groups.find(IPOIB_BROADCAST)!.members.size, 0);
});

test("bounds: groups in all, memberships of one port; room comes back", () => {
  const { subnet, manager } = running();
  let joined = 0;
  for (let n = 1; n <= SaLimits.GROUPS_PER_PORT + 5; n++) if (statusOf(member(subnet, 0, group(n))) === 0) joined++;
  assert.equal(joined, SaLimits.GROUPS_PER_PORT);
  assert.equal(manager.groups.refused, 5);
  assert.equal(manager.groups.size, SaLimits.GROUPS_PER_PORT + 1, "a refused join leaves no group behind");
  member(subnet, 0, group(1), { method: Method.DELETE });
  assert.equal(statusOf(member(subnet, 0, group(300))), 0);
});

test("tables come in segments: nodes, ports, links, paths; the records are all there", () => {
  const { subnet, manager } = running({ hosts: 20, switches: 2, portsPerSwitch: 16 });
  const nodes = askTable(subnet, 3, request(Method.GET_TABLE, SaAttribute.NODE_RECORD, 0n));
  assert.equal(nodes.records.length, 22);
  assert.equal(nodes.segments, Math.ceil((22 * 112) / 200));
  const guids = nodes.records.map((record) => NodeInfo.nodeGuid.getBig(record, NODE_RECORD_INFO_AT));
  assert.deepEqual(new Set(guids), new Set(manager.subnet.nodes.keys()));
  const names = nodes.records.map((record) => Buffer.from(NodeRecord.description.get(record, 0)).toString().replaceAll("\0", ""));
  assert.ok(names.includes("host 7") && names.includes("switch 1"));
  const ports = askTable(subnet, 3, request(Method.GET_TABLE, SaAttribute.PORT_INFO_RECORD, 0n)).records;
  assert.equal(ports.length, 20 + 2 * 17);
  const active = ports.filter((record) => PortInfo.portState.get(record, PORT_INFO_RECORD_INFO_AT) === 4);
  assert.equal(active.length, 20 + 2 + 22, "hosts, port 0s, switch ports with a cable");
  const links = askTable(subnet, 3, request(Method.GET_TABLE, SaAttribute.LINK_RECORD, 0n)).records;
  assert.equal(links.length, 2 * 21);
  assert.ok(links.every((record) => LinkRecord.fromLid.get(record, 0) > 0));
  const paths = askTable(
    subnet,
    3,
    path(bit(P.SLID), (mad) => PathRecord.slid.set(mad, AT, subnet.port(3).lid), Method.GET_TABLE),
  );
  assert.equal(paths.records.length, 22);
  const none = askTable(
    subnet,
    3,
    request(Method.GET_TABLE, SaAttribute.NODE_RECORD, bit(0), (mad) => NodeRecord.lid.set(mad, AT, 999)),
  );
  assert.deepEqual([none.records.length, none.segments], [0, 1]);
  assert.equal(manager.administrator.transfers, 0);
});

test("one record by components; the capability mask matches by bits; switches, tables and the manager itself", () => {
  const { subnet } = running();
  subnet.port(1).setCapabilityMask(0x02510a6a);
  const byGuid = ask(
    subnet,
    0,
    request(Method.GET, SaAttribute.NODE_RECORD, bit(8), (mad) => NodeInfo.portGuid.setBig(mad, AT + 4, subnet.port(2).guid)),
  );
  assert.equal(NodeRecord.lid.get(byGuid.view, byGuid.madAt + AT), subnet.port(2).lid);
  assert.equal(
    statusOf(
      ask(
        subnet,
        0,
        request(Method.GET, SaAttribute.NODE_RECORD, bit(4), (mad) => mad.setUint8(AT + 6, 1)),
      ),
    ),
    SaStatus.TOO_MANY_RECORDS,
  );
  const mad = request(Method.GET_TABLE, SaAttribute.PORT_INFO_RECORD, bit(7), (m) => m.setUint32(AT + 4 + 20, 1 << 6));
  MadHeader.attributeModifier.set(mad, 0, 0x80000000);
  assert.equal(askTable(subnet, 0, mad).records.length, 4, "three hosts and port 0 map SLs");
  assert.equal(askTable(subnet, 0, request(Method.GET_TABLE, SaAttribute.SWITCH_INFO_RECORD, 0n)).records.length, 1);
  assert.equal(
    askTable(subnet, 0, request(Method.GET_TABLE, SaAttribute.LINEAR_FORWARDING_RECORD, 0n)).records[0]!.getUint8(8 + 1),
    0,
  );
  member(subnet, 0, IPOIB_BROADCAST);
  assert.equal(
    askTable(subnet, 0, request(Method.GET_TABLE, SaAttribute.MULTICAST_FORWARDING_RECORD, 0n)).records[0]!.getUint16(8),
    2,
  );
  const smInfo = ask(subnet, 0, request(Method.GET, SaAttribute.SM_INFO_RECORD, 0n));
  assert.equal(smInfo.view.getUint16(smInfo.madAt + AT), subnet.port(0).smLid);
});

test("group lists: strangers see groups, the SM_Key shows members", () => {
  const { subnet } = running();
  member(subnet, 0, IPOIB_BROADCAST);
  member(subnet, 1, IPOIB_BROADCAST);
  member(subnet, 1, group(7));
  const list = (smKey: bigint, mask = 0n, fill = (_mad: DataView) => {}) =>
    askTable(subnet, 2, request(Method.GET_TABLE, SaAttribute.MC_MEMBER_RECORD, mask, fill, smKey)).records;
  assert.equal(list(0n).length, 2);
  assert.ok(list(0n).every((record) => McMemberRecord.portGid.get(record, 0).every((byte) => byte === 0)));
  assert.equal(list(1n).length, 3);
  assert.equal(list(1n, bit(M.MGID), (mad) => McMemberRecord.mgid.set(mad, AT, IPOIB_BROADCAST)).length, 2);
});

test("services: set, found by name, leased, deleted by their owner only, bounded", () => {
  const { subnet, manager } = running();
  const service = (method: number, host: number, id: bigint, lease = 0xffffffff) =>
    ask(
      subnet,
      host,
      request(method, SaAttribute.SERVICE_RECORD, bit(0, 1, 2, 4, 6), (mad) => {
        ServiceRecord.id.setBig(mad, AT, id);
        ServiceRecord.gid.set(mad, AT, gidOf(subnet, 0));
        ServiceRecord.pkey.set(mad, AT, 0xffff);
        ServiceRecord.lease.set(mad, AT, lease);
        ServiceRecord.name.set(mad, AT, Buffer.from("storage"));
        ServiceRecord.key.set(mad, AT, Buffer.from("secret"));
      }),
    );
  const set = service(Method.SET, 0, 5n);
  const isKeyShown = (record: DataView, at: number) => ServiceRecord.key.get(record, at).some((byte) => byte !== 0);
  assert.deepEqual([statusOf(set), isKeyShown(set.view, set.madAt + AT)], [0, false]);
  service(Method.SET, 0, 6n, 10);
  const find = (smKey = 0n, key = "") =>
    askTable(
      subnet,
      0,
      request(
        Method.GET_TABLE,
        SaAttribute.SERVICE_RECORD,
        key === "" ? bit(6) : bit(5, 6),
        (mad) => {
          ServiceRecord.name.set(mad, AT, Buffer.from("storage"));
          ServiceRecord.key.set(mad, AT, Buffer.from(key));
        },
        smKey,
      ),
    ).records;
  assert.deepEqual([find(0n, "secret").length, find(0n, "guess").length], [2, 0]);
  assert.deepEqual(
    [0n, 1n].map((smKey) => find(smKey).map((record) => isKeyShown(record, 0))),
    [
      [false, false],
      [true, true],
    ],
  );
  assert.equal(find().length, 2);
  subnet.runFor(11 * S);
  assert.deepEqual(
    find().map((record) => ServiceRecord.id.getBig(record, 0)),
    [5n],
  );
  assert.equal(statusOf(service(Method.DELETE, 1, 5n)), SaStatus.NO_RECORDS);
  assert.equal(statusOf(service(Method.SET, 1, 5n)), SaStatus.NO_RESOURCES, "somebody else's");
  const gone = service(Method.DELETE, 0, 5n);
  assert.deepEqual([statusOf(gone), MadHeader.method.get(gone.view, gone.madAt)], [0, Method.DELETE_RESP]);
  for (let i = 0; i < SaLimits.SERVICES_PER_PORT; i++) service(Method.SET, 0, BigInt(100 + i));
  assert.equal(statusOf(service(Method.SET, 0, 999n)), SaStatus.NO_RESOURCES);
  assert.equal(manager.administrator.services.size, SaLimits.SERVICES_PER_PORT);
});

test("ClassPortInfo, and what is not supported", () => {
  const { subnet } = running();
  const info = ask(subnet, 0, request(Method.GET, SaAttribute.CLASS_PORT_INFO, 0n));
  assert.equal(ClassPortInfo.classVersion.get(info.view, info.madAt + AT), 2);
  assert.ok(ClassPortInfo.capabilityMask2.get(info.view, info.madAt + AT) & SaCapability2.SEND_ONLY_FULL_MEMBER);
  assert.equal(
    statusOf(ask(subnet, 0, request(Method.GET, SaAttribute.RANDOM_FORWARDING_RECORD, 0n))),
    MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE,
  );
  assert.equal(
    statusOf(ask(subnet, 0, request(Method.SET, SaAttribute.NODE_RECORD, 0n))),
    MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE,
  );
  assert.equal(statusOf(ask(subnet, 0, request(0x13, SaAttribute.PATH_RECORD, 0n))), MadStatus.UNSUPPORTED_METHOD);
  const old = request(Method.GET, SaAttribute.NODE_RECORD, 0n);
  MadHeader.classVersion.set(old, 0, 1);
  assert.equal(statusOf(ask(subnet, 0, old)), MadStatus.BAD_VERSION);
});
