// M_Keys: a subnet that only its manager may change. IBA vol 1, 14.2.4.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { newDirectedSmp } from "../../src/mad/mad.ts";
import { DIRECTED_ROUTE } from "../../src/mad/packet.ts";
import type { SubnetManager } from "../../src/sm/subnet-manager.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../../src/spec/mad/headers.ts";
import { Method, SaAttribute, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { PORT_INFO_RECORD_INFO_AT } from "../../src/spec/mad/sa-records.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { askTable, request, running, S } from "./administrator-kit.ts";

const MS = 1e6;
const mkeyOf = (guid: bigint): bigint => guid ^ 0x5ec2e7n;
const protectedSubnet = () => running({ hosts: 4, switches: 2 }, { mkeyOf });

/** An SMP of host 0 along a route; returns the answer, if there is one. */
function smp(subnet: SimulatedSubnet, path: readonly number[], method: number, attribute: number, mkey = 0n, modifier = 0) {
  const mad = newDirectedSmp(path, method, attribute, modifier);
  Smp.mkey.setBig(mad, 0, mkey);
  Smp.hopPointer.set(mad, 0, 1);
  subnet.host(0).received.length = 0;
  subnet.host(0).send(DIRECTED_ROUTE, mad);
  subnet.runFor(0);
  return subnet.host(0).received.splice(0)[0];
}

test("every port has a key of its own, the subnet comes up and stays up", () => {
  const { subnet, manager } = protectedSubnet();
  for (const { port } of subnet.hosts) assert.equal(PortInfo.mkey.getBig(port.info, 0), mkeyOf(port.node.guid));
  for (const { guid, port0 } of subnet.switches) assert.equal(PortInfo.mkey.getBig(port0.info, 0), mkeyOf(guid));
  const before = manager.transactions.counts.sent;
  subnet.runFor(60 * S);
  assert.ok(manager.transactions.counts.sent - before < 100, "nothing is set again and again");
  assert.equal(manager.configurator.counts.failedSets, 0);
  for (let i = 0; i < 3; i++) {
    subnet.port(3).disable();
    subnet.runFor(MS);
    subnet.port(3).enable();
    assert.ok(
      subnet.run(() => subnet.port(3).isActive, 200 * MS),
      "each trap is repressed, so the next one is sent",
    );
  }
  assert.ok(subnet.switches.every(({ port0 }) => PortInfo.mkeyViolations.get(port0.info, 0) === 0));
});

test("others may look, not write, and do not learn the key; violations are counted", () => {
  const { subnet } = protectedSubnet();
  const [sw] = subnet.switches;
  const found = smp(subnet, [1], Method.GET, SmAttribute.PORT_INFO);
  assert.ok(found !== undefined, "ibnetdiscover still works");
  assert.equal(PortInfo.mkey.getBig(found.view, found.madAt + SMP_DATA_AT), 0n);
  const route = sw!.switch.linear.portOf(2);
  assert.equal(smp(subnet, [1], Method.SET, SmAttribute.LINEAR_FORWARDING), undefined);
  assert.equal(
    smp(subnet, [1], Method.SET, SmAttribute.LINEAR_FORWARDING, mkeyOf(subnet.port(0).node.guid)),
    undefined,
    "another's key",
  );
  assert.equal(sw!.switch.linear.portOf(2), route);
  assert.equal(PortInfo.mkeyViolations.get(sw!.port0.info, 0), 2);
  const own = smp(subnet, [1], Method.SET, SmAttribute.SWITCH_INFO, mkeyOf(sw!.guid));
  assert.ok(own !== undefined, "whoever has the key may write");
  assert.equal(MadHeader.method.get(own.view, own.madAt), Method.GET_RESP);
});

test("PortInfoRecords show M_Keys to those who know the SM_Key only", () => {
  const { subnet } = protectedSubnet();
  const keys = (smKey: bigint): bigint[] =>
    askTable(
      subnet,
      0,
      request(Method.GET_TABLE, SaAttribute.PORT_INFO_RECORD, 0n, () => {}, smKey),
    ).records.map((record) => PortInfo.mkey.getBig(record, PORT_INFO_RECORD_INFO_AT));
  assert.ok(keys(0n).every((key) => key === 0n));
  assert.ok(keys(1n).includes(mkeyOf(subnet.port(2).node.guid)));
});

test("a host that has locked its own port stays out, and holds up nobody", () => {
  const { subnet } = protectedSubnet();
  const port = subnet.port(1);
  port.disable();
  subnet.runFor(MS);
  port.enable();
  PortInfo.mkey.setBig(port.info, 0, 99n);
  PortInfo.mkeyProtect.set(port.info, 0, 2);
  subnet.runFor(30 * S);
  assert.ok(!port.isActive);
  assert.ok([0, 2, 3].every((n) => subnet.port(n).isActive));
  const { sent } = (subnet.endpoint as SubnetManager).transactions.counts;
  assert.ok(sent < 800, `${sent} SMPs`);
});
