// What ports of switches count of data that come from another engine, or pass through one: the same as the hosts at both ends. IBA vol 1, 16.1.3.5.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setRoute } from "../../src/fabric/hand-made-subnet.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, madOf, parseMadPacket } from "../../src/mad/packet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PM_DATA_AT } from "../../src/spec/mad/headers.ts";
import { LFT_DISCARD, Method, MgmtClass, PmAttribute } from "../../src/spec/mad/numbers.ts";
import { PortCountersExtended } from "../../src/spec/mad/pm-attributes.ts";
import { EngineHosts } from "./engine-hosts.ts";
import { Buffer64, connect, datagramQp } from "./pair.ts";

const MS = 1e6;
const BYTES = 100_000;
const MTU = 2048;
const PACKETS = Math.ceil(BYTES / MTU);
const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 16, mtuCode: 4 };
/** Of data only: management has service level 0. */
const SL = 3;
const SENT = `xmitDataSl${SL}`;
const RECEIVED = `rcvDataSl${SL}`;

/** Hosts that exchange messages. */
class World extends EngineHosts {
  /** A message between two hosts, which is answered. */
  exchange(from: string, to: string, opcode: number): void {
    const [a, b] = [this.host(from), this.host(to)];
    const [qp] = connect(a, b, Service.RC, { ...RC, sl: SL });
    qp.postSend({ opcode, sges: [new Buffer64(a, BYTES).sge()], ...new Buffer64(b, BYTES).remote() });
    this.elapse(10 * MS, 50);
    assert.deepEqual(
      a.cq.poll().map(({ syndrome }) => syndrome),
      [0],
    );
  }

  /** @param prepare what is to happen just before it is sent */
  datagram(from: string, to: string, { bytes = 64, isComing = true, prepare = () => {} } = {}): void {
    const [a, b] = [this.host(from), this.host(to)];
    const receiver = datagramQp(b);
    receiver.postReceive([new Buffer64(b, 40 + bytes).sge()]);
    const address = { dlid: b.wire.lid, sl: SL };
    const sges = [new Buffer64(a, bytes).sge()];
    const sender = datagramQp(a);
    prepare();
    sender.postSend({ opcode: SendOpcode.SEND, sges, address, remoteQpn: receiver.number, qkey: 0x1234 });
    this.elapse(1 * MS, 20);
    assert.equal(a.cq.poll()[0]?.syndrome, 0);
    assert.equal(b.cq.poll()[0]?.syndrome, isComing ? 0 : undefined);
  }
}

/** From `s1` to `s2` by way of `s3`. */
const ROUND = ["h1", "s1", "s3", "s2", "h2"];

/** Writes, reads and datagrams along a way: each port of it counts the same, in both directions. */
function exchangeAlong(world: World, way: readonly string[]): void {
  const [from, to, back] = [way[0]!, way.at(-1)!, [...way].reverse()];
  world.begin();
  world.exchange(from, to, SendOpcode.RDMA_WRITE);
  const written = world.same(way, SENT, RECEIVED);
  assert.ok(written >= BYTES / 4, "what was written");
  assert.equal(world.same(way, "unicastXmitPackets", "unicastRcvPackets"), PACKETS);
  assert.ok(world.same(back, SENT, RECEIVED) > 0, "acknowledgements come back");
  world.exchange(from, to, SendOpcode.RDMA_READ);
  assert.ok(world.same(back, SENT, RECEIVED) >= BYTES / 4, "what was read comes back");
  world.datagram(from, to);
  const all = world.same(way, SENT, RECEIVED);
  assert.ok(all > written + 64 / 4);
  for (const direction of [way, back]) {
    assert.equal(world.same(direction, "xmitData", "rcvData"), world.same(direction, SENT, RECEIVED));
    assert.equal(
      world.same(direction, "xmitPackets", "rcvPackets"),
      world.same(direction, "unicastXmitPackets", "unicastRcvPackets"),
    );
  }
}

test("two engines: each port on the way counts what the hosts count", () => {
  exchangeAlong(new World(2), ["h1", "s1", "s2", "h2"]);
});

test("three engines: every way, and none counts what does not cross it", () => {
  const world = new World(3);
  exchangeAlong(world, ["h1", "s1", "s2", "h2"]);
  for (const other of ["s1", "s2"]) assert.equal(world.count(world.port("s3", other), RECEIVED), 0);
  exchangeAlong(world, ["h3", "s3", "s2", "h2"]);
  exchangeAlong(world, ["h3", "s3", "s1", "h1"]);
});

test("an engine in between counts what passes through", () => {
  const world = new World(3);
  world.disable("s1", "s2");
  exchangeAlong(world, ROUND);
  assert.equal(world.count(world.port("s3", "h3"), SENT), 0);
});

test("what came before a cable went down stays with the ports that it came by", () => {
  const world = new World(3);
  world.begin();
  world.exchange("h1", "h2", SendOpcode.RDMA_WRITE);
  world.disable("s2", "s1");
  const direct = world.same(["h1", "s1", "s2", "h2"], SENT, RECEIVED);
  world.exchange("h1", "h2", SendOpcode.RDMA_WRITE);
  assert.deepEqual(world.counts(["s1", "s2"], SENT, RECEIVED), [direct, direct]);
  assert.equal(world.same(["s1", "s3", "s2"], SENT, RECEIVED), direct);
  assert.equal(world.same(["s2", "h2"], SENT, RECEIVED), 2 * direct);
});

test("where other cables lose packets, ports of the way count what they counted before", () => {
  for (const engine of [0, 1, 2]) {
    const world = new World(3);
    world.disable("s1", "s2");
    const { fabric } = world.system.engines[engine]!;
    const bystander = fabric.addCa({ name: "x", description: "x" });
    fabric.fabric.setFaults(bystander.link!, { loss: 1, corruption: 0, delayNs: 0 });
    exchangeAlong(world, ROUND);
  }
});

test("a packet for which a switch has no route, or that it would send back, is counted up to there", () => {
  const world = new World(2);
  world.begin();
  const port = world.port("s2", "s1");
  const { lid } = world.hosts[1]!.wire;
  setRoute(world.switch(2), lid, LFT_DISCARD);
  world.datagram("h1", "h2", { isComing: false });
  const words = world.same(["h1", "s1", "s2"], SENT, RECEIVED);
  assert.ok(words >= 64 / 4);
  assert.equal(world.count(port, "rcvSwitchRelayErrors"), 1);
  assert.equal(world.count(port, "dlidMappingErrors"), 1);
  setRoute(world.switch(2), lid, port.number);
  world.datagram("h1", "h2", { isComing: false });
  assert.equal(world.same(["h1", "s1", "s2"], SENT, RECEIVED), 2 * words);
  assert.equal(world.count(port, "rcvSwitchRelayErrors"), 2);
  assert.equal(world.count(port, "loopingErrors"), 1);
  assert.deepEqual(world.counts(["s2", "h2"], SENT, RECEIVED), [0, 0]);
});

test("a packet that goes round is counted each time, and where it ends", () => {
  const world = new World(3);
  world.begin();
  const { lid } = world.hosts[1]!.wire;
  for (const [from, to] of [
    ["s1", "s2"],
    ["s2", "s3"],
    ["s3", "s1"],
  ] as const)
    setRoute(world.switch(Number(from.slice(1))), lid, world.port(from, to).number);
  world.datagram("h1", "h2", { isComing: false });
  // Nine switches: the first one, and those between which it is passed on eight times.
  assert.equal(world.same(["s1", "s2", "s3", "s1"], "unicastXmitPackets", "unicastRcvPackets"), 3);
  assert.equal(world.count(world.port("s1", "s3"), "rcvSwitchRelayErrors"), 1);
  assert.equal(world.count(world.port("s1", "s3"), "loopingErrors"), 1);
});

test("a packet for which the next cable has no room is discarded before it", () => {
  const world = new World(3);
  world.disable("s1", "s2");
  world.begin();
  const prepare = (): void => world.fillRing("s3", "s2");
  world.datagram("h1", "h2", { bytes: MTU, isComing: false, prepare });
  assert.ok(world.same(["h1", "s1", "s3"], SENT, RECEIVED) >= MTU / 4);
  assert.deepEqual(world.counts(["s3", "s2", "h2"], SENT, RECEIVED), [0, 0, 0, 0]);
  assert.equal(world.count(world.port("s3", "s2"), "xmitDiscards"), 1);
});

test("a PortCountersExtended query across engines says what our own API says", () => {
  const world = new World(2);
  const port = world.port("s2", "h2");
  world.exchange("h1", "h2", SendOpcode.RDMA_WRITE);
  const { port: asker } = world.system.guests[0]!;
  const query = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS_EXTENDED);
  query.setUint8(PM_DATA_AT + 1, port.number);
  const answers: bigint[][] = [];
  asker.observer = (packet, isSent) => {
    const parsed = isSent ? undefined : parseMadPacket(packet);
    if (parsed === undefined) return;
    const { xmitData, unicastXmitPackets, rcvData } = PortCountersExtended;
    answers.push([xmitData, unicastXmitPackets, rcvData].map(({ offset }) => madOf(parsed).getBigUint64(PM_DATA_AT + offset)));
  };
  asker.transmit(buildMadPacket(gmpAddress(asker.lid, port.node.ports[0]!.lid), query));
  world.elapse(1 * MS, 20);
  const { counters } = inspectEnd(port);
  assert.ok(counters.xmitData! >= BYTES / 4);
  assert.deepEqual(answers, [[counters.xmitData, counters.unicastXmitPackets, counters.rcvData].map((value) => BigInt(value!))]);
});
