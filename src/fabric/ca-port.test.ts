import assert from "node:assert/strict";
import { PerformanceObserver } from "node:perf_hooks";
import { test } from "node:test";
import { bytesOf, newDirectedSmp, newMad, newRequest } from "../mad/mad.ts";
import { buildMadPacket, DIRECTED_ROUTE, gmpAddress } from "../mad/packet.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../spec/mad/headers.ts";
import { Method, MgmtClass, PmAttribute, SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Wire, WireClient } from "../transport/wire.ts";
import { activateLinks, setLid, setMulticastRoute, setRoute } from "./hand-made-subnet.ts";
import { SimulatedSubnet } from "./simulated-subnet.ts";

/** Two hosts on one switch, LIDs 1 and 2, everything ACTIVE. */
function pair() {
  const subnet = new SimulatedSubnet({ hosts: 2 });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  setLid(subnet.port(0), 1);
  setLid(subnet.port(1), 2);
  for (const lid of [1, 2]) setRoute(subnet.switches[0]!, lid, lid);
  subnet.runFor(0);
  return subnet;
}

test("a CA port is a Wire, and what it calls is a WireClient", () => {
  const subnet = pair();
  const wire: Wire = subnet.port(0);
  const calls: string[] = [];
  const client: WireClient = { receive: () => calls.push("packet"), portStateChanged: (active) => calls.push(`${active}`) };
  subnet.port(0).attach(client);
  wire.transmit(buildMadPacket(gmpAddress(1, 1), newMad()));
  assert.deepEqual(calls, [], "nothing comes back from inside a call");
  subnet.runFor(0);
  wire.disable();
  subnet.runFor(0);
  assert.deepEqual(calls, ["packet", "false"]);
  assert.equal(wire.gidCount, 32);
  assert.equal(wire.gids.length, 512);
  assert.equal(wire.pkeys.length, 64);
});

test("life of a port: disabled, enabled to INIT, ACTIVE, disabled and forgotten", () => {
  const subnet = new SimulatedSubnet({ hosts: 1 });
  const port = subnet.port(0);
  assert.deepEqual([port.state, port.physState], [PortState.DOWN, PhysState.DISABLED]);
  port.transmit(buildMadPacket(DIRECTED_ROUTE, newDirectedSmp([1], Method.GET, SmAttribute.NODE_INFO)));
  assert.equal(subnet.fabric.queued, 0, "a disabled port sends nothing");
  port.enable();
  assert.deepEqual([port.state, port.physState], [PortState.INIT, PhysState.LINK_UP]);
  assert.deepEqual(subnet.host(0).events, [], "INIT is no event");
  activateLinks(subnet.fabric);
  setLid(port, 5, 9);
  port.pkeys[3] = 0x8001;
  port.setCapabilityMask(0x02510a68);
  subnet.runFor(0);
  assert.deepEqual(subnet.host(0).events, [true]);
  port.disable();
  subnet.runFor(0);
  assert.deepEqual(subnet.host(0).events, [true, false]);
  assert.deepEqual([port.lid, port.smLid, port.pkeys[3], port.pkeys[0]], [0, 0, 0, 0xffff]);
  assert.equal(PortInfo.capabilityMask.get(port.info, 0), 0x02500a68);
  assert.equal(port.counters[PortCounter.linkDowned], 1);
  assert.equal(subnet.switches[0]!.ports[1]!.state, PortState.DOWN);
});

test("MAD_IFC works before the port is enabled, knows SMA and PMA and nothing else, and leaves the D bit alone", () => {
  const { port } = new SimulatedSubnet({ hosts: 1 }).host(0);
  const response = newMad();
  const ask = (mad: DataView) => port.processMad(bytesOf(mad), bytesOf(response), { slid: 0, ignoreMkey: true });
  assert.ok(ask(newDirectedSmp([], Method.GET, SmAttribute.PORT_INFO, 1)));
  assert.equal(PortInfo.portState.get(response, SMP_DATA_AT), PortState.DOWN);
  assert.equal(Smp.direction.get(response, 0), 0);
  assert.equal(MadHeader.method.get(response, 0), Method.GET_RESP);
  assert.ok(ask(newRequest(MgmtClass.PERF, Method.GET, PmAttribute.CLASS_PORT_INFO)));
  assert.equal(ask(newRequest(MgmtClass.SUBN_ADM, Method.GET, 0x35)), false);
  assert.equal(ask(newRequest(MgmtClass.SUBN_LID_ROUTED, Method.GET, SmAttribute.SM_INFO)), false);
  assert.equal(
    ask(newRequest(MgmtClass.SUBN_LID_ROUTED, Method.TRAP_REPRESS, SmAttribute.NOTICE)),
    false,
    "for the guest's own manager",
  );
  assert.equal(port.processMad(new Uint8Array(8), bytesOf(response), { slid: 0, ignoreMkey: true }), false);
});

test("MAD_IFC: the driver's own Set passes the M_Key, a stranger's does not", () => {
  const subnet = pair();
  const port = subnet.port(0);
  PortInfo.mkey.setBig(port.info, 0, 7n);
  const set = newRequest(MgmtClass.SUBN_LID_ROUTED, Method.SET, SmAttribute.PORT_INFO, 1);
  bytesOf(set).set(bytesOf(port.info), SMP_DATA_AT);
  PortInfo.portState.set(set, SMP_DATA_AT, 0);
  PortInfo.physState.set(set, SMP_DATA_AT, 0);
  const response = newMad();
  assert.equal(port.processMad(bytesOf(set), bytesOf(response), { slid: 2, ignoreMkey: false }), false);
  assert.equal(port.processMad(bytesOf(set), bytesOf(response), { slid: 0, ignoreMkey: true }), true);
});

test("resolve: the peer, itself, nobody; tables, states and links are honoured", () => {
  const subnet = pair();
  const [a, b] = [subnet.port(0), subnet.port(1)];
  const sw = subnet.switches[0]!;
  assert.equal(a.resolve(2), b.index);
  assert.equal(a.resolve(1), a.index, "loopback");
  assert.equal(a.resolve(3), -1);
  assert.equal(a.resolve(0), -1);
  assert.equal(a.resolve(0xc000), -1);
  const epochs = [a.epoch];
  setRoute(sw, 2, 1);
  assert.equal(a.resolve(2), -1, "the table points back");
  epochs.push(a.epoch);
  setRoute(sw, 2, 2);
  assert.equal(a.resolve(2), b.index);
  epochs.push(a.epoch);
  setLid(b, 9);
  assert.equal(a.resolve(2), -1, "the LID is not the peer's any more");
  setLid(b, 2);
  epochs.push(a.epoch);
  sw.setPortState(2, PortState.DOWN);
  assert.deepEqual([b.state, b.lid, a.resolve(2)], [PortState.INIT, 2, -1], "a bounced link is in INIT");
  epochs.push(a.epoch);
  b.disable();
  assert.equal(a.resolve(2), -1);
  epochs.push(a.epoch);
  b.enable();
  assert.equal(a.resolve(2), -1, "INIT is not enough");
  setLid(b, 2);
  sw.setPortState(2, PortState.ARMED);
  sw.setPortState(2, PortState.ACTIVE);
  b.node.setPortState(1, PortState.ARMED);
  assert.equal(a.resolve(2), b.index, "an ARMED port receives");
  assert.equal(b.resolve(1), -1, "and does not send");
  epochs.push(a.epoch);
  assert.equal(new Set(epochs).size, epochs.length, "every change is a new epoch");
  PortInfo.lmc.set(b.info, 0, 1);
  setRoute(sw, 3, 2);
  assert.equal(a.resolve(3), b.index, "LMC");
});

test("resolve follows many switches, ends in loops, and allocates nothing", async () => {
  const subnet = new SimulatedSubnet({ hosts: 3, switches: 3, shape: "line" });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  const last = subnet.port(2);
  setLid(last, 7);
  const out = (i: number, to: number) =>
    subnet.switches[i]!.ports.find((port) => port.peer?.node === subnet.switches[to]!)!.number;
  setRoute(subnet.switches[0]!, 7, out(0, 1));
  setRoute(subnet.switches[1]!, 7, out(1, 2));
  setRoute(subnet.switches[2]!, 7, 1);
  const from = subnet.port(0);
  assert.equal(from.resolve(7), last.index);
  setRoute(subnet.switches[0]!, 8, out(0, 1));
  setRoute(subnet.switches[1]!, 8, out(1, 0));
  assert.equal(from.resolve(8), -1, "there and back is not forwarded");

  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ["gc"] });
  const targets = new Int32Array(8);
  let sum = 0;
  const spin = (rounds: number) => {
    for (let i = 0; i < rounds; i++) {
      sum += from.resolve(i & 1023) + from.resolve(7);
      sum += from.resolveMulticast(0xc000 + (i & 3), targets);
    }
  };
  spin(50_000);
  await new Promise((resolve) => setImmediate(resolve));
  collections = 0;
  spin(2_000_000);
  await new Promise((resolve) => setImmediate(resolve));
  observer.disconnect();
  assert.ok(Number.isFinite(sum));
  // the compiler allocates too; an object for each call would be a hundred collections
  assert.ok(collections <= 4, `${collections} garbage collections`);
});

test("resolveMulticast: the members, never the sender, each once even when tables loop", () => {
  const subnet = new SimulatedSubnet({ hosts: 6, switches: 3, shape: "loop" });
  subnet.enableAll();
  activateLinks(subnet.fabric);
  const between = subnet.switches.map((sw) =>
    sw.ports.filter((port) => port.peer?.node.switch !== undefined).map((p) => p.number),
  );
  const out = new Int32Array(16);
  subnet.switches.forEach((sw, i) => {
    setMulticastRoute(sw, 0xc005, [1, 2, ...between[i]!]);
  });
  const count = subnet.port(0).resolveMulticast(0xc005, out);
  assert.deepEqual([...out.subarray(0, count)].sort(), [1, 2, 3, 4, 5]);
  assert.equal(subnet.port(0).resolveMulticast(0xc006, out), 0);
  assert.equal(subnet.port(0).resolveMulticast(0xc005, out.subarray(0, 2)), 2, "no more than there is room for");
  subnet.port(4).disable();
  assert.equal(subnet.port(0).resolveMulticast(0xc005, out), 4);
});

test("loopback: a packet to the port's own LID comes back to its own client, in ACTIVE only", () => {
  const subnet = pair();
  const mad = newRequest(MgmtClass.SUBN_ADM, Method.GET, 0x35);
  subnet.host(0).sendGmp(1, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(0).received.length, 1);
  assert.equal(subnet.host(0).received[0]!.slid, 1);
  assert.equal(subnet.port(0).counters[PortCounter.xmitPackets], 0, "it never was on the wire");
  subnet.port(0).state = PortState.ARMED;
  subnet.host(0).sendGmp(1, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(0).received.length, 1);
});

test("a frozen port: nothing arrives, nothing leaves, no way leads there, until it goes on", () => {
  const subnet = pair();
  const mad = newRequest(MgmtClass.COM_MGT, Method.SEND, 0x10);
  const frozen = subnet.port(1);
  frozen.setFrozen(true);
  assert.equal(subnet.port(0).resolve(2), -1);
  subnet.host(0).sendGmp(2, mad);
  subnet.host(1).sendGmp(1, mad);
  subnet.runFor(0);
  assert.deepEqual([subnet.host(0).received.length, subnet.host(1).received.length], [0, 0]);
  frozen.setFrozen(false);
  assert.equal(subnet.port(0).resolve(2), frozen.index);
  subnet.host(0).sendGmp(2, mad);
  subnet.host(1).sendGmp(1, mad);
  subnet.runFor(0);
  assert.deepEqual([subnet.host(0).received.length, subnet.host(1).received.length], [1, 1]);
});

test("host to host: general MADs need ACTIVE ports, counters are words and packets, PMA reads the same", () => {
  const subnet = pair();
  const mad = newRequest(MgmtClass.COM_MGT, Method.SEND, 0x10);
  subnet.host(0).sendGmp(2, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(1).received.length, 1);
  const [a, sw, b] = [subnet.port(0).counters, subnet.switches[0]!.ports[2]!.counters, subnet.port(1).counters];
  assert.deepEqual([a[PortCounter.xmitData], a[PortCounter.xmitPackets]], [72, 1]);
  assert.deepEqual([sw[PortCounter.xmitData], sw[PortCounter.unicastXmitPackets]], [72, 1]);
  assert.deepEqual([b[PortCounter.rcvData], b[PortCounter.unicastRcvPackets]], [72, 1]);
  const query = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS);
  query.setUint8(65, 1);
  subnet.host(0).sendGmp(2, query);
  subnet.runFor(0);
  const answer = subnet.host(0).received[0]!;
  const rcvPackets = answer.view.getUint32(answer.madAt + 64 + 36);
  assert.equal(rcvPackets, 2, "the first MAD and the query itself");
  assert.equal(b[PortCounter.xmitPackets], 1);
  subnet.port(1).state = PortState.INIT;
  subnet.host(0).sendGmp(2, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(1).received.length, 1, "a port in INIT takes SMPs only");
  assert.equal(subnet.fabric.counts.refused, 1);
  subnet.port(1).state = PortState.ACTIVE;
  subnet.switches[0]!.ports[2]!.state = PortState.INIT;
  subnet.host(0).sendGmp(2, mad);
  subnet.runFor(0);
  assert.equal(subnet.host(1).received.length, 1);
  assert.equal(sw[PortCounter.xmitDiscards], 1);
});
