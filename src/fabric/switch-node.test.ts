import assert from "node:assert/strict";
import { test } from "node:test";
import type { ManagementEndpoint, ManagementPort } from "../mad/endpoint.ts";
import { newDirectedSmp, newMad, newRequest } from "../mad/mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, gmpAddress, type MadPacket, parseMadPacket, smpAddress } from "../mad/packet.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../spec/mad/headers.ts";
import { Method, MgmtClass, PmAttribute, SmAttribute, Trap } from "../spec/mad/numbers.ts";
import { NodeInfo, Notice, NoticeLinkState, PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { activateLinks, setLid, setMulticastRoute, setRoute } from "./hand-made-subnet.ts";
import { MAX_QUEUED_VL15 } from "./limits.ts";
import { SimulatedSubnet, type SimulatedSubnetOptions } from "./simulated-subnet.ts";

/** An agent that keeps what it gets. */
class Recorder implements ManagementEndpoint {
  readonly port: ManagementPort;
  readonly received: MadPacket[] = [];
  constructor(port: ManagementPort) {
    this.port = port;
  }
  receive(packet: Uint8Array): void {
    const parsed = parseMadPacket(packet.slice());
    if (parsed !== undefined) this.received.push(parsed);
  }
  step(): void {}
  nextDeadlineNs(): number {
    return Number.POSITIVE_INFINITY;
  }
  take(): MadPacket[] {
    return this.received.splice(0);
  }
}

function recorded(options: SimulatedSubnetOptions) {
  const subnet = new SimulatedSubnet({ ...options, endpoint: (port) => new Recorder(port) });
  return { subnet, agent: subnet.endpoint as Recorder };
}

/** Port of switch `from` towards switch `to`. */
const towards = (subnet: SimulatedSubnet, from: number, to: number): number =>
  subnet.switches[from]!.ports.find((port) => port.peer?.node === subnet.switches[to])!.number;

const data = (packet: MadPacket): number => packet.madAt + SMP_DATA_AT;

test("directed route from port 0 through two switches to a host and back, ports in INIT", () => {
  const { subnet, agent } = recorded({ hosts: 3, switches: 3, shape: "line" });
  subnet.enableAll();
  subnet.runFor(0);
  const path = [towards(subnet, 0, 1), towards(subnet, 1, 2), 1];
  agent.port.send(buildMadPacket(DIRECTED_ROUTE, newDirectedSmp(path, Method.GET, SmAttribute.NODE_INFO)));
  assert.equal(agent.received.length, 0, "nothing happens before a step");
  subnet.runFor(0);
  const [reply] = agent.take();
  assert.ok(reply);
  assert.equal(MadHeader.method.get(reply.view, reply.madAt), Method.GET_RESP);
  assert.equal(Smp.direction.get(reply.view, reply.madAt), 1);
  assert.equal(Smp.hopPointer.get(reply.view, reply.madAt), 0);
  assert.equal(NodeInfo.nodeGuid.getBig(reply.view, data(reply)), subnet.port(2).node.guid);
  const returned = [1, 2, 3].map((hop) => reply.view.getUint8(reply.madAt + 192 + hop));
  assert.deepEqual(returned, [towards(subnet, 1, 0), towards(subnet, 2, 1), 1]);
});

test("directed route from a host: to its switch, through it to another host, and to nowhere", () => {
  const { subnet } = recorded({ hosts: 2 });
  subnet.enableAll();
  subnet.runFor(0);
  const ask = (path: number[]) => {
    const mad = newDirectedSmp(path, Method.GET, SmAttribute.NODE_INFO);
    Smp.hopPointer.set(mad, 0, 1); // the kernel's SMI has advanced it
    subnet.host(0).send(DIRECTED_ROUTE, mad);
    subnet.runFor(0);
    return subnet.host(0).received.splice(0);
  };
  const [fromSwitch] = ask([1]);
  assert.ok(fromSwitch);
  assert.equal(NodeInfo.nodeType.get(fromSwitch.view, data(fromSwitch)), 2);
  assert.equal(NodeInfo.localPort.get(fromSwitch.view, data(fromSwitch)), 1, "the port it came by");
  const [fromHost] = ask([1, 2]);
  assert.ok(fromHost);
  assert.equal(NodeInfo.nodeGuid.getBig(fromHost.view, data(fromHost)), subnet.port(1).node.guid);
  assert.equal(ask([1, 3]).length, 0, "no cable");
  assert.equal(ask([1, 99]).length, 0, "no such port");
  assert.equal(ask([1, 2, 1]).length, 0, "a CA passes nothing on");
  const [back] = ask([1, 1]);
  assert.ok(back, "out again where it came in");
  assert.equal(NodeInfo.nodeGuid.getBig(back.view, data(back)), subnet.port(0).node.guid);
  assert.ok(subnet.fabric.counts.badDirectedRoutes > 0);
});

test("LID-routed SMPs: to a switch, through switches to a host; SMInfo and traps are for the agent", () => {
  const { subnet, agent } = recorded({ hosts: 2, switches: 2 });
  subnet.enableAll();
  setLid(subnet.switches[0]!.port0, 10);
  setLid(subnet.switches[1]!.port0, 11);
  setLid(subnet.port(1), 3);
  for (const lid of [3, 11]) setRoute(subnet.switches[0]!, lid, towards(subnet, 0, 1));
  setRoute(subnet.switches[1]!, 3, 1);
  setRoute(subnet.switches[1]!, 10, towards(subnet, 1, 0));
  const send = (dlid: number, method: number, attribute: number) => {
    const mad = newRequest(MgmtClass.SUBN_LID_ROUTED, method, attribute);
    agent.port.send(buildMadPacket(smpAddress(10, dlid), mad));
    subnet.runFor(0);
    return agent.take();
  };
  const [own] = send(10, Method.GET, SmAttribute.SWITCH_INFO);
  assert.equal(own?.slid, 10);
  const [other] = send(11, Method.GET, SmAttribute.NODE_INFO);
  assert.equal(other?.slid, 11);
  assert.equal(NodeInfo.nodeGuid.getBig(other!.view, data(other!)), subnet.switches[1]!.guid);
  const [host] = send(3, Method.GET, SmAttribute.NODE_INFO);
  assert.equal(NodeInfo.nodeGuid.getBig(host!.view, data(host!)), subnet.port(1).node.guid);
  const [smInfo] = send(10, Method.GET, SmAttribute.SM_INFO);
  assert.equal(MadHeader.method.get(smInfo!.view, smInfo!.madAt), Method.GET, "handed on, not answered");
  assert.equal(send(11, Method.GET, SmAttribute.SM_INFO).length, 0, "nobody there");
  assert.equal(send(44, Method.GET, SmAttribute.NODE_INFO).length, 0, "no route");
});

test("mixed route: by LID to a switch, from there directed, and home by LID", () => {
  const { subnet, agent } = recorded({ hosts: 2, switches: 2 });
  subnet.enableAll();
  setLid(subnet.switches[0]!.port0, 10);
  setLid(subnet.switches[1]!.port0, 11);
  setRoute(subnet.switches[0]!, 11, towards(subnet, 0, 1));
  setRoute(subnet.switches[1]!, 10, towards(subnet, 1, 0));
  const mad = newDirectedSmp([1], Method.GET, SmAttribute.NODE_INFO);
  Smp.drSlid.set(mad, 0, 10);
  agent.port.send(buildMadPacket(smpAddress(10, 11), mad));
  subnet.runFor(0);
  const [reply] = agent.take();
  assert.ok(reply);
  assert.equal(NodeInfo.nodeGuid.getBig(reply.view, data(reply)), subnet.port(1).node.guid);
  assert.equal(reply.dlid, 10);
  const back = newDirectedSmp([towards(subnet, 1, 0)], Method.GET, SmAttribute.NODE_INFO);
  Smp.drSlid.set(back, 0, 10);
  agent.port.send(buildMadPacket(smpAddress(10, 11), back));
  subnet.runFor(0);
  const [turned] = agent.take();
  assert.ok(turned, "home by the cable that the directed part used");
  assert.equal(NodeInfo.nodeGuid.getBig(turned.view, data(turned)), subnet.switches[0]!.guid);
});

test("the switch answers PMA by itself; other general MADs go to the agent, or nowhere", () => {
  const { subnet, agent } = recorded({ hosts: 1 });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  const sw = subnet.switches[0]!;
  setLid(sw.port0, 10);
  setLid(subnet.port(0), 3);
  setRoute(sw, 3, 1);
  subnet.host(0).sendGmp(10, newRequest(MgmtClass.SUBN_ADM, Method.GET, 0x35));
  const query = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS);
  query.setUint8(65, 1);
  subnet.host(0).sendGmp(10, query);
  subnet.runFor(0);
  assert.deepEqual(
    agent.take().map((packet) => MadHeader.mgmtClass.get(packet.view, packet.madAt)),
    [MgmtClass.SUBN_ADM],
  );
  const [answer] = subnet.host(0).received;
  assert.equal(answer?.slid, 10);
  assert.equal(answer?.view.getUint32(answer.madAt + 64 + 36), 2, "rcvPackets of switch port 1");
});

test("unicast: unknown LIDs, LIDs above the top, and looping tables are dropped and counted", () => {
  const subnet = new SimulatedSubnet({ hosts: 3, switches: 3, shape: "loop" });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  setLid(subnet.port(0), 1);
  const mad = newRequest(MgmtClass.COM_MGT, Method.SEND, 0x10);
  const relay = () =>
    subnet.switches.reduce(
      (sum, sw) => sum + sw.ports.reduce((s, p) => s + (p.counters[PortCounter.rcvSwitchRelayErrors] ?? 0), 0),
      0,
    );
  subnet.host(0).sendGmp(7, mad);
  subnet.runFor(0);
  assert.equal(relay(), 1);
  for (let i = 0; i < 3; i++) setRoute(subnet.switches[i]!, 7, towards(subnet, i, (i + 1) % 3));
  subnet.host(0).sendGmp(7, mad);
  subnet.runFor(0);
  assert.equal(relay(), 2, "round and round, then dropped");
  assert.ok(subnet.fabric.counts.delivered < 80);
  SwitchInfo.linearFdbTop.set(subnet.switches[0]!.switch.info, 0, 6);
  subnet.host(0).sendGmp(7, mad);
  subnet.runFor(0);
  assert.equal(relay(), 3);
});

test("multicast: to every port of the mask but the one it came by; a loop in the tables ends at once", () => {
  const subnet = new SimulatedSubnet({ hosts: 6, switches: 3, shape: "loop" });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  subnet.switches.forEach((sw, i) => {
    setMulticastRoute(sw, 0xc001, [1, 2, towards(subnet, i, (i + 1) % 3), towards(subnet, i, (i + 2) % 3)]);
  });
  setLid(subnet.port(0), 1);
  const mad = newRequest(MgmtClass.COM_MGT, Method.SEND, 0x10);
  subnet.host(0).sendGmp(0xc001, mad);
  subnet.runFor(0);
  assert.deepEqual(
    subnet.hosts.map((host) => host.received.length),
    [0, 1, 1, 1, 1, 1],
  );
  assert.equal(subnet.port(3).counters[PortCounter.multicastRcvPackets], 1);
  subnet.host(0).sendGmp(0xc002, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(1).received.length, 1);
});

test("trap 128: sent to the SM when a link changes, repeated until repressed, PortStateChange set", () => {
  const { subnet, agent } = recorded({ hosts: 2 });
  const sw = subnet.switches[0]!;
  subnet.port(0).enable();
  subnet.runFor(0);
  assert.equal(agent.take().length, 0, "nobody to tell while there are no LIDs");
  assert.equal(SwitchInfo.portStateChange.get(sw.switch.info, 0), 1);
  setLid(sw.port0, 10, 10);
  subnet.port(1).enable();
  subnet.runFor(0);
  const [trap] = agent.take();
  assert.ok(trap);
  assert.equal(MadHeader.method.get(trap.view, trap.madAt), Method.TRAP);
  assert.equal(Notice.trapNumber.get(trap.view, data(trap)), Trap.LINK_STATE);
  assert.equal(Notice.issuerLid.get(trap.view, data(trap)), 10);
  assert.equal(NoticeLinkState.lid.get(trap.view, data(trap) + 10), 10);
  subnet.port(1).disable();
  subnet.runFor(0);
  assert.equal(agent.take().length, 0, "the first one is still pending");
  subnet.runFor(600e6);
  assert.equal(agent.take().length, 1, "repeated");
  const repress = newMad();
  new Uint8Array(repress.buffer).set(trap.bytes.subarray(trap.madAt));
  MadHeader.method.set(repress, 0, Method.TRAP_REPRESS);
  agent.port.send(buildMadPacket(smpAddress(10, 10), repress));
  subnet.runFor(0);
  assert.equal(agent.take().length, 1, "what changed meanwhile is told now");
  subnet.runFor(60e9);
  assert.ok(agent.take().length <= 10, "not for ever");
  assert.equal(subnet.fabric.nextDeadlineNs(), Number.POSITIVE_INFINITY);
});

test("trap 128 goes by LID to an SM on a host", () => {
  const subnet = new SimulatedSubnet({ hosts: 2 });
  const sw = subnet.switches[0]!;
  subnet.port(0).enable();
  setLid(sw.port0, 10, 3);
  setLid(subnet.port(0), 3, 3);
  setRoute(sw, 3, 1);
  subnet.port(1).enable();
  subnet.runFor(0);
  assert.equal(subnet.host(0).received.length, 1);
  assert.equal(subnet.host(0).received[0]!.slid, 10);
});

test("links: SET DOWN renegotiates, a pulled cable takes both ends down, DISABLED keeps it down", () => {
  const { subnet } = recorded({ hosts: 1 });
  const [host, sw] = [subnet.port(0), subnet.switches[0]!];
  host.enable();
  activateLinks(subnet.fabric);
  subnet.runFor(0);
  host.node.setPortState(1, PortState.DOWN);
  subnet.runFor(0);
  assert.deepEqual([host.state, sw.ports[1]!.state], [PortState.INIT, PortState.INIT]);
  assert.deepEqual(subnet.host(0).events, [true, false]);
  const [link] = subnet.fabric.links;
  link!.setPlugged(false);
  assert.deepEqual([host.state, host.physState], [PortState.DOWN, PhysState.POLLING]);
  link!.setPlugged(true);
  assert.equal(host.state, PortState.INIT);
  sw.setPhysState(1, PhysState.DISABLED);
  link!.setPlugged(false);
  link!.setPlugged(true);
  assert.equal(host.state, PortState.DOWN);
  PortInfo.linkWidthEnabled.set(host.info, 0, 1);
  PortInfo.linkWidthEnabled.set(sw.ports[1]!.info, 0, 2);
  sw.setPhysState(1, PhysState.POLLING);
  assert.equal(host.state, PortState.DOWN, "no width in common");
});

test("the queue is bounded: VL 15 is lost at the receiver and counted, budget limits a step", () => {
  const subnet = new SimulatedSubnet({ hosts: 1 });
  subnet.enableAll();
  subnet.runFor(0);
  const packet = buildMadPacket(DIRECTED_ROUTE, newDirectedSmp([1], Method.GET, SmAttribute.NODE_INFO));
  for (let i = 0; i < MAX_QUEUED_VL15 + 10; i++) subnet.port(0).transmit(packet);
  assert.equal(subnet.fabric.queued, MAX_QUEUED_VL15);
  assert.equal(subnet.switches[0]!.ports[1]!.counters[PortCounter.vl15Dropped], 10);
  assert.equal(subnet.fabric.nextDeadlineNs(), subnet.clock.nowNs());
  assert.equal(subnet.fabric.step(subnet.clock.nowNs(), 7), 7);
  assert.equal(subnet.fabric.queued, MAX_QUEUED_VL15 - 7, "these were malformed directed routes and are gone");
  subnet.runFor(0);
  assert.equal(subnet.fabric.queued, 0);
  assert.equal(subnet.switches[0]!.ports[1]!.queuedVl15, 0);
});

test("a general MAD on VL 15, an SMP on VL 0, an SMP class to QP1: refused", () => {
  const { subnet, agent } = recorded({ hosts: 1 });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  setLid(subnet.switches[0]!.port0, 10);
  setLid(subnet.port(0), 3);
  setRoute(subnet.switches[0]!, 3, 1);
  const smp = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, SmAttribute.NODE_INFO);
  const onVl0 = buildMadPacket(smpAddress(3, 10), smp);
  onVl0[0] = 0x00;
  subnet.port(0).transmit(onVl0);
  const gmpOnVl15 = buildMadPacket(gmpAddress(3, 10), newRequest(MgmtClass.PERF, Method.GET, 1));
  gmpOnVl15[0] = 0xf0;
  subnet.port(0).transmit(gmpOnVl15);
  subnet.port(0).transmit(buildMadPacket(gmpAddress(3, 10), smp));
  subnet.runFor(0);
  assert.equal(agent.take().length, 0);
  assert.equal(subnet.host(0).received.length, 0);
  assert.equal(subnet.switches[0]!.ports[1]!.counters[PortCounter.rcvErrors], 3);
});
