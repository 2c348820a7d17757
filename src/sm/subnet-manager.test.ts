import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../base/random.ts";
import type { SimulatedDriver } from "../fabric/simulated-driver.ts";
import { SimulatedSubnet, type SimulatedSubnetOptions } from "../fabric/simulated-subnet.ts";
import { newDirectedSmp, newRequest } from "../mad/mad.ts";
import { DIRECTED_ROUTE, smpAddress } from "../mad/packet.ts";
import { Mtu, PortState } from "../spec/ib/numbers.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../spec/mad/headers.ts";
import { Method, MgmtClass, NodeType, SmAttribute, SmState } from "../spec/mad/numbers.ts";
import { PortInfo, SmInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { SubnetManagerOptions } from "./options.ts";
import { type SubnetManager, subnetManager } from "./subnet-manager.ts";

const MS = 1e6;
const S = 1e9;

function managed(options: SimulatedSubnetOptions, sm: Partial<SubnetManagerOptions> = {}) {
  const subnet = new SimulatedSubnet({ ...options, endpoint: subnetManager({ random: new Random(11), ...sm }) });
  return { subnet, manager: subnet.endpoint as SubnetManager };
}

const allActive = (subnet: SimulatedSubnet, except: number[] = []) =>
  subnet.hosts.every(({ port }, i) => except.includes(i) || (port.isActive && port.peer?.isActive === true));

/** Every host reaches every other one through the forwarding tables. */
function assertConnected(subnet: SimulatedSubnet, except: number[] = []): void {
  const hosts = subnet.hosts.filter((_, i) => !except.includes(i));
  for (const a of hosts) for (const b of hosts) assert.equal(a.port.resolve(b.port.lid), b.port.index);
}

for (const [hosts, switches, shape] of [
  [2, 1, "line"],
  [4, 1, "line"],
  [32, 1, "line"],
  [8, 2, "line"],
  [32, 3, "line"],
  [9, 3, "loop"],
] as const) {
  test(`${hosts} hosts on ${switches} switch(es) in a ${shape} come up within milliseconds`, () => {
    const { subnet, manager } = managed({ hosts, switches, shape, answerNs: 2 * MS });
    subnet.runFor(1 * MS);
    subnet.enableAll();
    const startNs = subnet.clock.nowNs();
    assert.ok(subnet.run(() => allActive(subnet), 5 * S));
    const tookNs = subnet.clock.nowNs() - startNs;
    assert.ok(tookNs <= 10 * MS, `${tookNs / MS} ms with hosts that take 2 ms to answer`);
    assertConnected(subnet);
    const lids = [...subnet.hosts.map(({ port }) => port.lid), ...subnet.switches.map((sw) => sw.lid)];
    assert.equal(new Set(lids).size, hosts + switches);
    assert.ok(lids.every((lid) => lid > 0));
    assert.equal(subnet.switches[0]!.lid, 1);
    subnet.runFor(100 * MS);
    for (const host of subnet.hosts) assert.deepEqual(host.events, [true]);
    assert.equal(manager.transactions.pending, 0);
    assert.equal(manager.transactions.counts.retried, 0);
    assert.ok(subnet.switches.every((sw) => SwitchInfo.portStateChange.get(sw.switch.info, 0) === 0));
  });
}

test("what a port is given: LIDs, MTU, VLs, timeout, GID prefix, and a request to register again", () => {
  const { subnet } = managed({ hosts: 1 });
  const port = subnet.port(0);
  const requests: boolean[] = [];
  const original = port.processMad.bind(port);
  port.processMad = (request, response, context) => {
    const mad = new DataView(request.buffer, request.byteOffset);
    const isSet = MadHeader.method.get(mad, 0) === Method.SET;
    if (isSet) requests.push(PortInfo.clientReregister.get(mad, SMP_DATA_AT) === 1);
    return original(request, response, context);
  };
  port.enable();
  subnet.runFor(100 * MS);
  assert.ok(port.isActive);
  assert.deepEqual(requests, [true, false], "one Set with LID, ARMED and reregister, one ACTIVE");
  assert.equal(port.smLid, 1);
  assert.equal(port.mtuCode, Mtu.MTU_2048);
  assert.equal(PortInfo.operationalVls.get(port.info, 0), 3);
  assert.equal(PortInfo.operationalVls.get(port.peer!.info, 0), 3, "both ends agree");
  assert.equal(PortInfo.subnetTimeout.get(port.info, 0), 18);
  assert.equal(PortInfo.mkey.getBig(port.info, 0), 0n);
});

test("a host that never answers holds up nobody, is asked again, and comes up when it does answer", () => {
  const { subnet, manager } = managed({ hosts: 4 });
  subnet.host(1).isSilent = true;
  subnet.runFor(1 * MS);
  subnet.enableAll();
  const startNs = subnet.clock.nowNs();
  assert.ok(subnet.run(() => allActive(subnet, [1]), 5 * S));
  assert.ok(subnet.clock.nowNs() - startNs < 25 * MS, "one first timeout at most");
  subnet.runFor(30 * S);
  assert.equal(subnet.port(1).state, PortState.INIT);
  assert.ok(manager.discovery.counts.silent > 2);
  assert.ok(manager.transactions.counts.sent < 3000, `${manager.transactions.counts.sent} SMPs in 30 s`);
  subnet.host(1).isSilent = false;
  assert.ok(subnet.run(() => allActive(subnet), 15 * S));
  assertConnected(subnet);
});

test("a driver whose receives come late: the port is found a few tens of milliseconds after", () => {
  const { subnet } = managed({ hosts: 1 });
  subnet.runFor(1 * MS);
  subnet.host(0).isSilent = true;
  subnet.enableAll();
  subnet.runFor(50 * MS);
  subnet.host(0).isSilent = false;
  const startNs = subnet.clock.nowNs();
  assert.ok(subnet.run(() => allActive(subnet), S));
  assert.ok(subnet.clock.nowNs() - startNs < 50 * MS);
});

test("a host goes away and returns: same LID, old routes gone meanwhile, others undisturbed", () => {
  const { subnet, manager } = managed({ hosts: 3 });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const [a, b] = [subnet.port(0), subnet.port(1)];
  const lid = b.lid;
  b.disable();
  subnet.runFor(5 * MS);
  assert.equal(b.lid, 0);
  assert.equal(a.resolve(lid), -1);
  assert.equal(manager.subnet.byLid.get(lid), undefined);
  b.enable();
  const startNs = subnet.clock.nowNs();
  assert.ok(subnet.run(() => allActive(subnet), S));
  assert.ok(subnet.clock.nowNs() - startNs <= 1 * MS, "the trap starts it at once");
  assert.equal(b.lid, lid);
  assertConnected(subnet);
  assert.deepEqual(subnet.host(0).events, [true]);
  assert.deepEqual(subnet.host(1).events, [true, false, true]);
});

test("hot plug: a host added and one taken away while the subnet runs", () => {
  const { subnet, manager } = managed({ hosts: 2 });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const late = subnet.addHost(0);
  late.port.enable();
  assert.ok(subnet.run(() => allActive(subnet), S));
  assertConnected(subnet);
  const gone = subnet.hosts.splice(0, 1)[0]!;
  subnet.fabric.removeNode(gone.port.node);
  subnet.runFor(10 * MS);
  assert.equal(manager.subnet.nodes.size, 3);
  assertConnected(subnet);
});

test("links that lose one packet in ten: everything still comes up, with several seeds", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const { subnet } = managed({ hosts: 12, switches: 3, shape: "loop", impairment: () => random.chance(0.1) }, { random });
    subnet.enableAll();
    assert.ok(
      subnet.run(() => allActive(subnet), 60 * S),
      `seed ${seed}`,
    );
    subnet.runFor(30 * S);
    assert.ok(allActive(subnet), `seed ${seed}, later`);
    assertConnected(subnet);
  }
});

test("a link between switches goes down: traffic takes the other way round, and comes back", () => {
  const { subnet } = managed({ hosts: 6, switches: 3, shape: "loop" });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const trunk = [...subnet.fabric.links].find(({ a, b }) => a.node.switch !== undefined && b.node.switch !== undefined)!;
  const lids = subnet.hosts.map(({ port }) => port.lid);
  trunk.setPlugged(false);
  subnet.runFor(5 * MS);
  assertConnected(subnet);
  trunk.setPlugged(true);
  subnet.runFor(5 * MS);
  assertConnected(subnet);
  assert.ok(trunk.a.isActive && trunk.b.isActive);
  assert.deepEqual(
    subnet.hosts.map(({ port }) => port.lid),
    lids,
  );
  for (const host of subnet.hosts) assert.deepEqual(host.events, [true], "hosts do not notice");
});

test("a part of the subnet is cut off and joined again", () => {
  const { subnet, manager } = managed({ hosts: 4, switches: 2, shape: "line" });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const trunk = [...subnet.fabric.links].find(({ a, b }) => a.node.switch !== undefined && b.node.switch !== undefined)!;
  trunk.setPlugged(false);
  subnet.runFor(5 * MS);
  assert.equal(manager.subnet.nodes.size, 3);
  assert.equal(subnet.port(0).resolve(subnet.port(1).lid), -1);
  trunk.setPlugged(true);
  subnet.runFor(5 * MS);
  assert.equal(manager.subnet.nodes.size, 6);
  assertConnected(subnet);
});

test("a lost trap: the light sweep finds the change", () => {
  let isLossy = false;
  const { subnet } = managed({ hosts: 2, switches: 2, impairment: () => isLossy });
  subnet.port(0).enable();
  subnet.runFor(S);
  isLossy = true;
  subnet.port(1).enable();
  subnet.runFor(6 * S); // all repeats of the trap are lost
  isLossy = false;
  assert.ok(subnet.run(() => allActive(subnet), 11 * S));
});

test("Set(DOWN) from outside bounces a port; the manager makes it active again", () => {
  const { subnet } = managed({ hosts: 2 });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  subnet.switches[0]!.setPortState(1, PortState.DOWN);
  assert.equal(subnet.port(0).state, PortState.INIT);
  assert.ok(subnet.run(() => allActive(subnet), 100 * MS));
  subnet.runFor(10 * MS);
  assert.deepEqual(subnet.host(0).events, [true, false, true]);
});

test("a Set that a port refuses: the manager looks again at once", () => {
  const { subnet } = managed({ hosts: 2 });
  const port = subnet.port(0);
  const original = port.processMad.bind(port);
  let refusals = 2;
  port.processMad = (request, response, context) => {
    const isActivation = request[3] === Method.SET && (request[SMP_DATA_AT + 32] ?? 0) % 16 === PortState.ACTIVE;
    const isAnswered = original(request, response, context);
    const mad = new DataView(response.buffer, response.byteOffset);
    if (isActivation && refusals-- > 0) {
      port.state = PortState.INIT;
      Smp.status.set(mad, 0, 0x1c);
    }
    return isAnswered;
  };
  subnet.enableAll();
  assert.ok(subnet.run(() => allActive(subnet), S));
  assert.equal(refusals, -1);
});

test("two nodes with one GUID: one of them works, the rest of the subnet too", () => {
  const { subnet, manager } = managed({ hosts: 3 });
  Object.defineProperty(subnet.port(1).node, "guid", { value: subnet.port(0).node.guid });
  subnet.enableAll();
  subnet.runFor(20 * S);
  assert.ok(manager.discovery.counts.duplicateGuids > 0);
  assert.ok(subnet.port(2).isActive);
  assert.equal([0, 1].filter((i) => subnet.port(i).isActive).length, 1);
});

test("a host that says it is a switch is left out where there is only one, and brings nobody else down", () => {
  const { subnet, manager } = managed({ hosts: 3 }, { maySwitchBeBehind: () => false });
  const port = subnet.port(1);
  const original = port.processMad.bind(port);
  port.processMad = (request, response, context) => {
    const isAnswered = original(request, response, context);
    if (request[17] === SmAttribute.NODE_INFO) {
      response[SMP_DATA_AT + 2] = NodeType.SWITCH;
      response[SMP_DATA_AT + 3] = 254;
    }
    return isAnswered;
  };
  subnet.enableAll();
  assert.ok(subnet.run(() => allActive(subnet, [1]), S));
  subnet.runFor(20 * S);
  assert.equal(manager.subnet.nodes.size, 3);
  assert.ok(!port.isActive);
  assert.ok(manager.transactions.counts.sent < 500);
});

test("a flapping port costs a bounded number of scans, and the others stay up", () => {
  const { subnet, manager } = managed({ hosts: 2 });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const before = manager.discovery.counts.scans;
  for (let i = 0; i < 2000; i++) {
    subnet.port(1).disable();
    subnet.runFor(0.5 * MS);
    subnet.port(1).enable();
    subnet.runFor(0.5 * MS);
  }
  assert.ok(manager.discovery.counts.scans - before < 250, `${manager.discovery.counts.scans - before} scans in 2 s`);
  assert.deepEqual(subnet.host(0).events, [true]);
  assert.ok(subnet.run(() => allActive(subnet), S));
});

test("SMInfo: asked by LID and by directed route; a takeover is refused", () => {
  const { subnet } = managed({ hosts: 1 }, { priority: 9 });
  subnet.enableAll();
  subnet.run(() => allActive(subnet), S);
  const host = subnet.host(0);
  const answerTo = (send: () => void) => {
    send();
    subnet.runFor(0);
    return host.received.splice(0)[0];
  };
  const byLid = answerTo(() =>
    host.send(smpAddress(0, host.port.smLid), newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, SmAttribute.SM_INFO)),
  );
  assert.ok(byLid);
  const at = byLid.madAt + SMP_DATA_AT;
  assert.equal(SmInfo.state.get(byLid.view, at), SmState.MASTER);
  assert.equal(SmInfo.priority.get(byLid.view, at), 9);
  assert.equal(SmInfo.guid.getBig(byLid.view, at), subnet.switches[0]!.guid);
  assert.equal(SmInfo.smKey.getBig(byLid.view, at), 1n, "OpenSM ignores a manager whose SM_Key is not its own");
  assert.deepEqual([subnet.switches[0]!.port0.isSm, host.port.isSm], [true, false]);
  const directed = newDirectedSmp([1], Method.GET, SmAttribute.SM_INFO);
  Smp.hopPointer.set(directed, 0, 1);
  const byRoute = answerTo(() => host.send(DIRECTED_ROUTE, directed));
  assert.equal(SmInfo.state.get(byRoute!.view, byRoute!.madAt + SMP_DATA_AT), SmState.MASTER);
  const takeover = answerTo(() =>
    host.send(smpAddress(0, host.port.smLid), newRequest(MgmtClass.SUBN_LID_ROUTED, Method.SET, SmAttribute.SM_INFO, 1)),
  );
  assert.equal(Smp.status.get(takeover!.view, takeover!.madAt), 0x0c);
});

test("LIDs found on a running subnet are kept", () => {
  const { subnet } = managed({ hosts: 2 });
  const driverKeepsLid = (host: SimulatedDriver, lid: number) => PortInfo.lid.set(host.port.info, 0, lid);
  subnet.enableAll();
  driverKeepsLid(subnet.host(0), 77);
  driverKeepsLid(subnet.host(1), 77);
  subnet.run(() => allActive(subnet), S);
  const lids = subnet.hosts.map(({ port }) => port.lid);
  assert.ok(lids.includes(77), "the first one keeps it");
  assert.notEqual(lids[0], lids[1]);
});

test("equal subnets get equal tables", () => {
  const tables = [3, 4].map((seed) => {
    const { subnet } = managed({ hosts: 12, switches: 3, shape: "loop" }, { random: new Random(seed) });
    subnet.enableAll();
    subnet.run(() => allActive(subnet), S);
    return subnet.switches.map((sw) => Array.from({ length: 20 }, (_, lid) => sw.switch.linear.portOf(lid)));
  });
  assert.deepEqual(tables[0], tables[1]);
});
