// Data through virtual lanes with credits, hop by hop: what programs and counters see. IBA vol 1, 7.6 (lanes, arbitration), 7.9 (credits),
// 14.2.5.4 and 14.2.5.6 (lifetimes), 16.1.3.5 (counters).

import assert from "node:assert/strict";
import { test } from "node:test";
import { setRoute } from "../../src/fabric/hand-made-subnet.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { MAX_HOPS } from "../../src/fabric/limits.ts";
import type { Port } from "../../src/fabric/port.ts";
import type { SwitchNode } from "../../src/fabric/switch-node.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter, RCV_DATA_SL } from "../../src/spec/ib/port-counters.ts";
import { PortInfo, SwitchInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, type End, fill } from "./pair.ts";

/** Two switches and one cable of 2 Gb/s of data between them. */
const TWO_SWITCHES = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s2 }, d: { switch: s2 } }
links: [{ ends: [s1, s2], width: 1X, speed: SDR }]
`;
const HOSTS = ["a", "b", "c", "d"];
const MTU_2048 = 4;
const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 18, mtuCode: MTU_2048 };
const US = 1000;
const MS = 1e6;
const BUFFER_BYTES = 16 * 1024;
/** A packet of 2 KiB with its headers, in the units of arbitration. */
const PACKET_UNITS = 33;

const lanesWorld = (yaml = TWO_SWITCHES, names: readonly string[] = HOSTS, options = {}, memoryBytes = 16 << 20): CabledHosts =>
  new CabledHosts(yaml, names, 1, memoryBytes, { dataPath: "lanes", ...options });
const counter = (port: Port, slot: number): number => port.counters[slot]!;
const sentAgain = ({ node }: End): number => node.hca.adapter.counters[AdapterCounter.packetsSentAgain]!;

function freeze(world: CabledHosts, name: string, isFrozen: boolean): void {
  const guest = world.system.guests.find((each) => each.name === name)!;
  world.system.domain.setFrozen(guest.node, isFrozen);
  guest.port.setFrozen(isFrozen);
}

/** Writes from one host to another, all posted at once. */
class Stream {
  readonly a: End;
  readonly source: Buffer64;
  readonly target: Buffer64;
  done = 0;

  constructor(a: End, b: End, messages: number, bytes: number, connection: object = {}) {
    this.a = a;
    this.source = new Buffer64(a, bytes);
    this.target = new Buffer64(b, bytes);
    fill(this.source.bytes, messages);
    const [qp] = connect(a, b, Service.RC, { ...RC, ...connection });
    for (let i = 0; i < messages; i++)
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [this.source.sge()], ...this.target.remote() });
  }

  poll(): void {
    for (const { syndrome } of this.a.cq.poll()) {
      assert.equal(syndrome, 0);
      this.done++;
    }
  }

  get isVerified(): boolean {
    return this.source.bytes.equals(this.target.bytes);
  }
}

test("a slow cable: hosts before it wait for credits, nothing is lost, every port counts what crosses it", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  const bytes = 1 << 20;
  const stream = new Stream(a, c, 1, bytes);
  const begin = world.clock.nowNs();
  while (stream.done === 0 && world.clock.nowNs() < begin + 50 * MS) {
    world.elapse(50 * US, 1);
    stream.poll();
  }
  assert.ok(stream.isVerified);
  const ns = world.clock.nowNs() - begin;
  const gbps = (bytes * 8) / ns;
  assert.ok(gbps > 1.9 && gbps < 2, `1X SDR carries 2 Gb/s with headers, got ${gbps}`);
  assert.equal(sentAgain(a), 0);
  const words = bytes / 4;
  for (const [from, to] of [
    ["a", "s1"],
    ["s1", "s2"],
    ["s2", "c"],
  ] as const) {
    assert.ok(counter(world.port(from, to), PortCounter.xmitData) > words, `${from} to ${to}`);
    assert.ok(counter(world.port(to, from), PortCounter.rcvData) > words, `${to} from ${from}`);
    assert.equal(counter(world.port(from, to), PortCounter.xmitDiscards), 0);
  }
  // Ticks are words that could have gone out: most of eight times what was sent at 4X DDR.
  const waited = counter(world.port("a", "s1"), PortCounter.xmitWait);
  assert.ok(waited > 6 * words && waited < 8 * words, `${waited}`);
  assert.equal(counter(world.port("s1", "s2"), PortCounter.xmitWait), 0, "the bottleneck itself never lacks credits");
  assert.equal(world.fabric.lanes?.length, 0);
  assert.equal(world.network.nextDeadlineNs(), Number.POSITIVE_INFINITY);
});

/** Data received over the slow cable by service level, in words. */
function sharesOf(world: CabledHosts, levels: readonly number[], ns: number): number[] {
  const port = world.port("s2", "s1");
  world.elapse(2 * MS, 20);
  const before = levels.map((sl) => port.slData[RCV_DATA_SL + sl]!);
  world.elapse(ns, 100);
  return levels.map((sl, i) => port.slData[RCV_DATA_SL + sl]! - before[i]!);
}

const qos = (turns: string): string => `${TWO_SWITCHES}qos: { vl: [0, 1, 2], ${turns} }\n`;
const near = (got: number, wanted: number, part = 0.03): boolean => Math.abs(got - wanted) <= wanted * part;

test("two service levels share a congested link as VLArbitration says", () => {
  const world = lanesWorld(qos(`low: { 0: ${2 * PACKET_UNITS}, 1: ${6 * PACKET_UNITS} }`));
  const [a, b, c, d] = world.hosts as [End, End, End, End];
  const streams = [new Stream(a, c, 40, 1 << 20, { sl: 0 }), new Stream(b, d, 40, 1 << 20, { sl: 1 })];
  const [zero, one] = sharesOf(world, [0, 1], 50 * MS) as [number, number];
  assert.ok(near(one / zero, 3), `${one} to ${zero}`);
  assert.ok(near((zero + one) * 4 * 8, 2 * 50 * MS), "and the link is busy all the time");
  for (const port of [world.port("a", "s1"), world.port("b", "s1")]) assert.ok(counter(port, PortCounter.xmitWait) > 0);
  assert.ok(world.port("a", "s1").vlXmitWait[0]! > 0);
  assert.ok(streams.every(({ isVerified }) => isVerified));
});

test("one host's own queue pairs share its link in the same way, and a level alone has all of it", () => {
  const yaml = qos(`low: { 0: ${4 * PACKET_UNITS}, 2: ${PACKET_UNITS} }`).replace(
    "a: { switch: s1 }",
    "a: { switch: s1, width: 1X, speed: SDR }",
  );
  const world = lanesWorld(yaml.replace("links: [{ ends: [s1, s2], width: 1X, speed: SDR }]", "links: [[s1, s2]]"));
  const [a, , c, d] = world.hosts as [End, End, End, End];
  new Stream(a, c, 16, 1 << 20, { sl: 0 });
  new Stream(a, d, 16, 1 << 20, { sl: 2 });
  const [zero, two] = sharesOf(world, [0, 2], 20 * MS) as [number, number];
  assert.ok(near(zero / two, 4), `${zero} to ${two}`);
  world.elapse(90 * MS, 90);
  const [none, all] = sharesOf(world, [0, 2], 5 * MS) as [number, number];
  assert.equal(none, 0, "it has ended");
  assert.ok(near(all * 4 * 8, 2 * 5 * MS));
});

test("high priority goes first, and leaves low priority its packet after each VLHighLimit", () => {
  for (const [limit, part] of [
    ["255", 0],
    ["0", 1 / 2],
    ["4", 1 / 9],
  ] as const) {
    const world = lanesWorld(qos(`low: { 0: 255 }, high: { 1: 255 }, high-limit: ${limit}`));
    const [a, b, c, d] = world.hosts as [End, End, End, End];
    new Stream(a, c, 20, 1 << 20, { sl: 0 });
    new Stream(b, d, 20, 1 << 20, { sl: 1 });
    const [low, high] = sharesOf(world, [0, 1], 20 * MS) as [number, number];
    assert.ok(Math.abs(low / (low + high) - part) < 0.01, `limit ${limit}: ${low} of ${low + high}`);
  }
});

test("a receiver that takes nothing holds all up that share its lane, as far back as there are buffers; other lanes go on", () => {
  const world = lanesWorld(qos("low: { 0: 64, 1: 64 }"));
  const [a, b, c, d] = world.hosts as [End, End, End, End];
  const frozen = new Stream(a, c, 4, 256 << 10, { sl: 0 });
  world.elapse(100 * US, 1);
  freeze(world, "c", true);
  world.elapse(10 * MS, 10);
  const victim = new Stream(b, d, 2, 64 << 10, { sl: 0 });
  const free = new Stream(b, d, 2, 64 << 10, { sl: 1 });
  world.elapse(50 * MS, 50);
  const polled = b.cq.poll();
  assert.equal(polled.length, 2, "those of the other lane only");
  assert.ok(free.isVerified && !victim.isVerified && !frozen.isVerified);
  for (const [from, to] of [
    ["s2", "c"],
    ["s1", "s2"],
  ] as const) {
    const view = inspectEnd(world.port(from, to));
    assert.ok(view.counters.xmitWait! > 0, `${from} waits for ${to}`);
    const [lane, ...others] = view.lanes;
    assert.deepEqual([lane?.vl, others.length], [0, 0]);
    assert.ok(lane!.packets > 0 && lane!.queuedBytes > 0);
    assert.ok(lane!.creditBytes < 64 * PACKET_UNITS, "not enough for one more");
    assert.ok(inspectEnd(world.port(to, from)).lanes[0]!.bufferedBytes > BUFFER_BYTES - 64 * PACKET_UNITS);
  }
  freeze(world, "c", false);
  world.elapse(50 * MS, 50);
  assert.ok(victim.isVerified && frozen.isVerified);
  assert.deepEqual([sentAgain(a), sentAgain(b)], [0, 0], "nothing was lost");
  assert.equal(world.fabric.lanes!.length, 0);
});

test("a topology says that it has lanes, and how much room they have", () => {
  const world = new CabledHosts(`${TWO_SWITCHES}lanes: { buffer: 4352 }\n`, HOSTS);
  const [a, , c] = world.hosts as [End, End, End, End];
  const stream = new Stream(a, c, 1, 100_000);
  world.elapse(200 * US, 2);
  const port = world.port("s1", "a");
  assert.ok(port.lanes!.buffered[0]! <= 68, "two packets of 33 blocks");
  world.elapse(1 * MS, 10);
  assert.ok(stream.isVerified);
  const short = new CabledHosts(`${TWO_SWITCHES}lanes: true\n`, HOSTS, 1, 16 << 20, { dataPath: "short" });
  assert.equal(short.fabric.lanes, undefined, "unless somebody wants another path");
});

test("a packet that is first in its queue for longer than HOQLife is discarded and counted", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  const port = world.port("s2", "c");
  assert.equal(PortInfo.hoqLife.get(port.info, 0), 18, "a second");
  const stream = new Stream(a, c, 1, 256 << 10);
  freeze(world, "c", true);
  world.elapse(1000 * MS, 10);
  assert.equal(counter(port, PortCounter.xmitDiscards), 0);
  world.elapse(1500 * MS, 15);
  assert.ok(counter(port, PortCounter.xmitDiscards) > 0);
  assert.equal(
    world.fabric.lanes!.counts.tooOld,
    counter(port, PortCounter.xmitDiscards) + counter(world.port("s1", "s2"), PortCounter.xmitDiscards),
  );
  freeze(world, "c", false);
  world.elapse(5000 * MS, 50);
  stream.poll();
  assert.equal(stream.done, 1);
  assert.ok(stream.isVerified && sentAgain(a) > 0, "RC has sent again what was lost");
});

/** HOQLife and LifeTimeValue above 19 (14.2.5.4, 14.2.5.6). */
const FOR_EVER = 20;

test("a packet that is in a switch for longer than its LifeTimeValue is discarded, however long it may be first in its queue", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  const port = world.port("s2", "c");
  const node = port.node as SwitchNode;
  PortInfo.hoqLife.set(port.info, 0, FOR_EVER);
  // A millisecond.
  SwitchInfo.lifeTime.set(node.switch.info, 0, 8);
  node.attributesChanged();
  new Stream(a, c, 1, 256 << 10);
  freeze(world, "c", true);
  // What waits is looked at again when it is due, though nothing else happens at the port.
  world.elapse(100 * MS, 100);
  assert.ok(counter(port, PortCounter.xmitDiscards) > 0);
});

test("VLStallCount packets in a row too old stall the lane: what is for it is discarded at once for eight times HOQLife", () => {
  const world = lanesWorld();
  const [a, b, c, d] = world.hosts as [End, End, End, End];
  const port = world.port("s2", "c");
  PortInfo.hoqLife.set(port.info, 0, 5);
  PortInfo.vlStallCount.set(port.info, 0, 2);
  port.node.attributesChanged();
  const lifeNs = 4096 * 2 ** 5;
  const packets = 64;
  const lost = new Stream(a, c, 1, packets * 2048);
  const writeFrom = (from: End): (() => number) => {
    const [qp] = connect(from, c, Service.RC, RC);
    const request = { opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(from, 8).sge()], ...new Buffer64(c, 8).remote() };
    return () => qp.postSend(request);
  };
  const [late, later] = [writeFrom(b), writeFrom(d)];
  freeze(world, "c", true);
  const { counts } = world.fabric.lanes!;
  // Seven packets of 8.4 us each fill the buffer of c.
  world.elapse(lifeNs + 80 * US, 40);
  assert.deepEqual([counts.tooOld, counts.stalled], [1, 0]);
  world.elapse(lifeNs, 40);
  assert.equal(counts.tooOld, 2);
  assert.ok(counts.stalled > 0);
  const victim = new Stream(b, d, 1, 16 << 10);
  world.elapse(7 * lifeNs, 40);
  victim.poll();
  assert.equal(victim.done, 1, "nobody waits for c any more");
  assert.equal(counter(port, PortCounter.xmitDiscards), packets - 7);
  assert.deepEqual([counts.tooOld, counts.stalled, world.fabric.lanes!.length], [2, packets - 7 - 2, 7]);
  const stalled = counts.stalled;
  late();
  world.elapse(0.5 * lifeNs, 10);
  assert.equal(counts.stalled, stalled + 1, "seven times HOQLife and a half have passed");
  world.elapse(0.6 * lifeNs, 10);
  later();
  world.elapse(0.5 * lifeNs, 10);
  assert.equal(counts.stalled, stalled + 1, "eight times: it waits as usual");
  freeze(world, "c", false);
  world.elapse(5000 * MS, 50);
  lost.poll();
  assert.ok(lost.done === 1 && lost.isVerified, "and then the lane is open again");
  assert.equal(counts.tooOld, 2);
});

test("a service level that a port maps to VL 15, or to a lane that its link lacks, does not leave there", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  for (const [table, port] of [
    [0xff, world.port("s1", "s2")],
    [0x99, world.port("s1", "s2")],
    [0x77, world.port("a", "s1")],
  ] as const) {
    const before = counter(port, PortCounter.xmitDiscards);
    const own = port.slToVlFrom(0);
    port.setSlToVlFromAll(new Uint8Array(8).fill(table));
    const [qp] = connect(a, c, Service.RC, { ...RC, ackTimeout: 10, retryCount: 1 });
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 8).sge()], ...new Buffer64(c, 8).remote() });
    world.elapse(100 * MS, 20);
    assert.notEqual(a.cq.poll()[0]?.syndrome, 0);
    assert.equal(counter(port, PortCounter.xmitDiscards) - before, 2, "one packet, sent twice");
    port.setSlToVlFromAll(own);
  }
  assert.equal(world.fabric.lanes!.counts.withoutLane, 6);
});

test("forwarding tables that lead round in a circle: a packet ends after so many switches, and the lanes are empty", () => {
  const ring = `
switches: { s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, c: { switch: s2 } }
links: [{ ends: [s1, s2] }, { ends: [s2, s3] }, { ends: [s3, s1] }]
`;
  const world = lanesWorld(ring, ["a", "c"]);
  const [a, c] = world.hosts as [End, End];
  const circle = [world.port("s1", "s2"), world.port("s2", "s3"), world.port("s3", "s1")];
  for (const { node, number } of circle) setRoute(node as SwitchNode, c.wire.lid, number);
  const crossed = (): number => circle.reduce((sum, port) => sum + counter(port, PortCounter.unicastXmitPackets), 0);
  const before = crossed();
  const [qp] = connect(a, c, Service.RC, { ...RC, ackTimeout: 10, retryCount: 0 });
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 8).sge()], ...new Buffer64(c, 8).remote() });
  world.elapse(20 * MS, 20);
  assert.notEqual(a.cq.poll()[0]?.syndrome, 0);
  assert.equal(world.fabric.lanes!.counts.unroutable, 1);
  assert.equal(world.fabric.lanes!.length, 0);
  assert.equal(crossed() - before, MAX_HOPS);
});

test("a cable that is pulled under load: what waits there is lost and counted, credits begin anew", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  const stream = new Stream(a, c, 4, 256 << 10, { ackTimeout: 14 });
  for (let i = 0; i < 3; i++) {
    world.elapse(400 * US, 4);
    world.link("s1", "s2").setPlugged(false);
    world.elapse(100 * US, 1);
    world.link("s1", "s2").setPlugged(true);
    world.elapse(400 * MS, 20);
  }
  stream.poll();
  assert.equal(stream.done, 4);
  assert.ok(stream.isVerified && sentAgain(a) > 0);
  assert.ok(counter(world.port("s1", "s2"), PortCounter.xmitDiscards) >= 6, "a buffer full");
  assert.equal(world.fabric.lanes!.length, 0);
  const lanes = world.port("s1", "s2").lanes!;
  assert.ok(lanes.credits.every((blocks) => blocks === world.fabric.lanes!.bufferBlocks));
});

test("cables that lose packets and take a while: everything once, and all credits come back", () => {
  const world = lanesWorld();
  const [a, , c] = world.hosts as [End, End, End, End];
  world.setFaults("s1", "s2", { loss: 0.02, corruption: 0.01, delayNs: 20_000 });
  const stream = new Stream(a, c, 10, 100_000, { ackTimeout: 12 });
  world.elapse(3000 * MS, 600);
  stream.poll();
  assert.equal(stream.done, 10);
  assert.ok(stream.isVerified && sentAgain(a) > 0);
  assert.equal(world.fabric.lanes!.length, 0);
  for (const [from, to] of [
    ["s1", "s2"],
    ["s2", "s1"],
    ["a", "s1"],
  ] as const) {
    const { credits } = world.port(from, to).lanes!;
    assert.ok(
      credits.every((blocks) => blocks === world.fabric.lanes!.bufferBlocks),
      `${from} to ${to}: ${credits}`,
    );
    assert.ok(world.port(from, to).lanes!.buffered.every((blocks) => blocks === 0));
  }
});

test("connections of one host share its link, whoever began first", () => {
  const world = lanesWorld(
    `switches: { s1: { ports: 8 } }\nhosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s1 } }\n`,
    ["a", "b", "c"],
  );
  const [a, b, c] = world.hosts as [End, End, End];
  for (const to of [b, c, c]) new Stream(a, to, 4, 1 << 20);
  world.elapse(1 * MS, 20);
  const [toB, toC] = ["b", "c"].map((name) => counter(world.port(name, "s1"), PortCounter.rcvData)) as [number, number];
  assert.ok(near(2 * toB, toC, 0.1), `${toB} ${toC}`);
  assert.ok(near(4 * (toB + toC), 2 * MS, 0.05), "all of the link");
});
