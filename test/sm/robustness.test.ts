// What can go wrong in a subnet, on purpose or not: it is counted, bounded, and the rest of the fabric stays up.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { newDirectedSmp, newRequest } from "../../src/mad/mad.ts";
import { DIRECTED_ROUTE } from "../../src/mad/packet.ts";
import { SaLimits } from "../../src/sm/options.ts";
import { subnetManager } from "../../src/sm/subnet-manager.ts";
import { PortDetail } from "../../src/spec/ib/port-counters.ts";
import { McComponent as M } from "../../src/spec/mad/components.ts";
import { SMP_DATA_AT, Smp } from "../../src/spec/mad/headers.ts";
import { JoinState, Method, MgmtClass, SaAttribute, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { McMemberRecord } from "../../src/spec/mad/sa-records.ts";
import { AT, ask, bit, gidOf, request, running, S, statusOf } from "./administrator-kit.ts";

const MS = 1e6;

const attributeOf = (packet: Uint8Array): number => (packet[28 + 16]! << 8) | packet[28 + 17]!;

test("a host's PortInfo that is lost for seconds: it is asked again, and comes up", () => {
  let isLossy = true;
  const endpoint = subnetManager({ random: new Random(3) });
  const subnet = new SimulatedSubnet({
    hosts: 3,
    endpoint,
    impairment: (packet, from) => isLossy && from.node.name === "host 1" && attributeOf(packet) === SmAttribute.PORT_INFO,
  });
  subnet.enableAll();
  subnet.runFor(8 * S);
  assert.ok(subnet.port(0).isActive && !subnet.port(1).isActive);
  isLossy = false;
  assert.ok(subnet.run(() => subnet.port(1).isActive, 10 * S));
});

/** A host with the rights of root writes a forwarding table block by block, as anybody could who knows the M_Key. */
function writeRoute(subnet: SimulatedSubnet, path: readonly number[], lid: number, port: number): void {
  const smp = newDirectedSmp(path, Method.SET, SmAttribute.LINEAR_FORWARDING, Math.floor(lid / 64));
  const sw = subnet.switches[path.length - 1]!;
  for (let i = 0; i < 64; i++) smp.setUint8(SMP_DATA_AT + i, sw.switch.linear.portOf(Math.floor(lid / 64) * 64 + i));
  smp.setUint8(SMP_DATA_AT + (lid % 64), port);
  Smp.hopPointer.set(smp, 0, 1);
  subnet.host(0).send(DIRECTED_ROUTE, smp);
  subnet.runFor(MS);
}

test("forwarding tables that send a LID round in circles: its packets die by the hop limit, the rest goes on", () => {
  const { subnet } = running({ hosts: 3, switches: 3, shape: "loop" });
  const lid = 40;
  const [a, b, c] = subnet.switches;
  const towards = (from: (typeof subnet.switches)[number], to: (typeof subnet.switches)[number]): number =>
    from.ports.find(({ peer }) => peer?.node === to)!.number;
  writeRoute(subnet, [1], lid, towards(a!, b!));
  writeRoute(subnet, [1, towards(a!, b!)], lid, towards(b!, c!));
  c!.switch.linear.writeBlock(
    0,
    Uint8Array.from({ length: 64 }, (_, i) => (i === lid ? towards(c!, a!) : c!.switch.linear.portOf(i))),
  );
  assert.equal(a!.switch.linear.portOf(lid), towards(a!, b!), "written by SMP");
  const loops = (): number =>
    subnet.switches.flatMap(({ ports }) => ports).reduce((sum, port) => sum + (port.details[PortDetail.loopingErrors] ?? 0), 0);
  const before = loops();
  for (let i = 0; i < 5; i++) subnet.host(0).sendGmp(lid, newRequest(MgmtClass.PERF, Method.GET, 0x12));
  subnet.runFor(MS);
  assert.equal(loops() - before, 5, "each of them counted once");
  assert.equal(subnet.fabric.queued, 0);
  assert.equal(subnet.port(0).resolve(lid), -1, "and there is no such way for data");
  for (const { port } of subnet.hosts)
    for (const { port: other } of subnet.hosts) assert.equal(port.resolve(other.lid), other.index);
});

test("a thousand joins from every host: groups are bounded, nobody is kept out of the broadcast group", () => {
  const { subnet, manager } = running({ hosts: 6 });
  const join = (host: number, mgid: Uint8Array): number => {
    const mask = bit(M.MGID, M.PORT_GID, M.JOIN_STATE, M.P_KEY, M.Q_KEY, M.SL, M.FLOW_LABEL, M.TRAFFIC_CLASS);
    const fill = (mad: DataView): void => {
      McMemberRecord.mgid.set(mad, AT, mgid);
      McMemberRecord.portGid.set(mad, AT, gidOf(subnet, host));
      McMemberRecord.joinState.set(mad, AT, JoinState.FULL);
      McMemberRecord.pkey.set(mad, AT, 0xffff);
      McMemberRecord.qkey.set(mad, AT, 0x0b1b);
    };
    return statusOf(ask(subnet, host, request(Method.SET, SaAttribute.MC_MEMBER_RECORD, mask, fill)));
  };
  let joined = 0;
  for (let n = 0; n < 1000; n++) {
    for (let host = 0; host < 6; host++) {
      const mgid = Uint8Array.of(0xff, 0x12, 0xa0, 0x1c, ...new Array(9).fill(0), host, n >> 8, n & 0xff);
      if (join(host, mgid) === 0) joined++;
    }
  }
  assert.equal(joined, SaLimits.GROUPS - 1, "all there is room for, beside the broadcast group");
  assert.ok([...manager.groups.all()].every(({ members }) => members.size <= 1));
  const broadcast = Uint8Array.of(0xff, 0x12, 0x40, 0x1b, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
  for (let host = 0; host < 2; host++) subnet.port(host).disable();
  subnet.runFor(MS);
  assert.equal(join(5, broadcast), 0);
  assert.ok(manager.groups.size < SaLimits.GROUPS, "room comes back with those who leave");
});
