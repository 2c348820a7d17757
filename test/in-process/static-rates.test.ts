// Static rates with lanes: packets to one destination are spaced as queue pairs and address handles say. IBA vol 1, 9.11; docs "infinihost" 7.3.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { SPACED_DESTINATIONS } from "../../src/fabric/lanes/limits.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, datagramQp, type End } from "./pair.ts";

/** 4X DDR, 16 Gb/s of data, but for the cable of `slow`, which has an eighth of that. */
const STAR = `
switches: { s1: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s1 }, slow: { switch: s1, width: 1X, speed: SDR } }
`;
const HOSTS = ["a", "b", "c", "slow"];
const LINK_BYTES_PER_NS = 2;
const Rate = { FULL: 0, QUARTER: 1, EIGHTH: 2, HALF: 3 } as const;
const PATH = { retryCount: 7, rnrRetry: 7, ackTimeout: 18, mtuCode: 4 };
const MTU = 2048;
const US = 1e3;
const MS = 1e6;

const newWorld = (): CabledHosts => new CabledHosts(STAR, HOSTS, 1, 16 << 20, { dataPath: "lanes" });
const near = (got: number, wanted: number, part: number): void =>
  assert.ok(Math.abs(got - wanted) <= wanted * part, `${got} is not ${wanted}`);

/** Writes of `a` to others; what the port there has received in a while, as a part of what the link carries. */
class Streams {
  readonly world = newWorld();

  add(to: number, staticRate: number): void {
    const [a, b] = [this.world.hosts[0] as End, this.world.hosts[to] as End];
    const [qp] = connect(a, b, Service.RC, { ...PATH, staticRate });
    const [source, target] = [new Buffer64(a, 1 << 20), new Buffer64(b, 1 << 20)];
    for (let i = 0; i < 8; i++) qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  }

  /** @param stepNs how often hosts have their turn, at least */
  shares(names: readonly string[], stepNs = 50 * US): number[] {
    const received = (): number[] => names.map((name) => 4 * inspectEnd(this.world.port(name, "s1")).counters.rcvData!);
    this.world.elapse(0.2 * MS, (0.2 * MS) / stepNs);
    const before = received();
    this.world.elapse(1 * MS, MS / stepNs);
    return received().map((bytes, i) => (bytes - before[i]!) / (1 * MS * LINK_BYTES_PER_NS));
  }
}

for (const [name, rate, part] of [
  ["a quarter", Rate.QUARTER, 1 / 4],
  ["an eighth", Rate.EIGHTH, 1 / 8],
  ["half", Rate.HALF, 1 / 2],
  ["all", Rate.FULL, 1],
] as const) {
  test(`a connection gets ${name} of the link, however rarely anybody looks`, () => {
    for (const stepNs of [20 * US, 200 * US]) {
      const streams = new Streams();
      streams.add(1, rate);
      near(streams.shares(["b"], stepNs)[0]!, part, 0.02);
    }
  });
}

test("it is the destination that has the rate: connections to one share it, those to others have theirs, and what is left is for who has none", () => {
  const streams = new Streams();
  streams.add(1, Rate.EIGHTH);
  streams.add(1, Rate.EIGHTH);
  streams.add(2, Rate.QUARTER);
  streams.add(3, Rate.EIGHTH);
  const [b, c, slow] = streams.shares(["b", "c", "slow"]) as [number, number, number];
  near(b, 1 / 8, 0.02);
  near(c, 1 / 4, 0.02);
  near(slow, 1 / 8, 0.03);
  const free = new Streams();
  free.add(1, Rate.QUARTER);
  free.add(2, Rate.FULL);
  const [spaced, other] = free.shares(["b", "c"]) as [number, number];
  near(spaced, 1 / 4, 0.06);
  near(spaced + other, 1, 0.02);
});

test("what is sent no faster than its slowest cable takes it fills no buffers, and holds up nobody", () => {
  const waitOf = (rate: number): [wait: number, other: number] => {
    const streams = new Streams();
    streams.add(3, rate);
    streams.add(2, Rate.FULL);
    const [other] = streams.shares(["c"]) as [number];
    return [streams.world.port("a", "s1").counters[PortCounter.xmitWait]!, other];
  };
  const [waitAtFull, otherAtFull] = waitOf(Rate.FULL);
  const [wait, other] = waitOf(Rate.EIGHTH);
  assert.ok(waitAtFull > 0 && otherAtFull < 0.5, "without, the other stands behind it in the same buffer");
  assert.equal(wait, 0);
  near(other, 7 / 8, 0.05);
});

test("datagrams come spaced by the packet before them, as their address vectors say", () => {
  const world = newWorld();
  const [a, b] = world.hosts as [End, End];
  const count = 20;
  const receiver = datagramQp(b, 0x1234, { receiveWqes: count });
  const target = new Buffer64(b, 40 + MTU);
  for (let i = 0; i < count; i++) receiver.postReceive([target.sge()]);
  const sender = datagramQp(a, 0x1234, { sendWqes: count });
  const source = new Buffer64(a, MTU);
  const lengths = Array.from({ length: count }, (_, i) => (i % 2 === 0 ? MTU : 256));
  for (const length of lengths) {
    const address = { dlid: b.wire.lid, staticRate: Rate.QUARTER };
    sender.postSend({
      ...{ opcode: SendOpcode.SEND, sges: [source.sge(0, length)], address },
      ...{ remoteQpn: receiver.number, qkey: 0x1234 },
    });
  }
  const tick = 20;
  const times: number[] = [];
  for (let ns = 0; ns < 100 * US; ns += tick) {
    world.elapse(tick, 1);
    for (const { syndrome } of b.cq.poll()) {
      assert.equal(syndrome, 0);
      times.push(ns);
    }
  }
  assert.equal(times.length, count);
  // Stored once, in the switch: a packet arrives two times of its own after it went out.
  const wire = (length: number): number => (8 + 12 + 8 + length + 4 + 2) / LINK_BYTES_PER_NS;
  for (let i = 1; i < count; i++) {
    const [last, own] = [wire(lengths[i - 1]!), wire(lengths[i]!)];
    near(times[i]! - times[i - 1]!, 4 * last + 2 * (own - last), 0.05);
  }
});

test("more destinations than are kept apart: the rest waits, all goes, and nothing is left behind", () => {
  const world = newWorld();
  const [a] = world.hosts as [End];
  const count = SPACED_DESTINATIONS + 500;
  const source = new Buffer64(a, 64);
  const posts = 100;
  let dlid = 1000;
  for (let sent = 0; sent < count; sent += posts) {
    const sender = datagramQp(a, 0x1234, { sendWqes: posts });
    for (let i = 0; i < posts; i++) {
      const address = { dlid: dlid++, staticRate: Rate.EIGHTH };
      sender.postSend({
        ...{ opcode: SendOpcode.SEND, sges: [source.sge()], address, remoteQpn: 0xabc, qkey: 0x1234 },
        isSignaled: false,
      });
    }
  }
  const port = world.port("s1", "a");
  const before = port.counters[PortCounter.rcvPackets]!;
  world.elapse(2 * MS, 20);
  assert.ok(port.counters[PortCounter.rcvPackets]! - before >= count);
  assert.equal(world.fabric.lanes!.length, 0);
  assert.equal(world.network.nextDeadlineNs(), Number.POSITIVE_INFINITY);
});

test("a cable that is pulled under spaced packets: they are lost, and the next ones go", () => {
  const streams = new Streams();
  const { world } = streams;
  streams.add(1, Rate.EIGHTH);
  world.elapse(0.3 * MS, 30);
  world.link("a", "s1").setPlugged(false);
  world.elapse(1 * MS, 10);
  assert.equal(world.fabric.lanes!.length, 0);
  world.link("a", "s1").setPlugged(true);
  world.elapse(3000 * MS, 300);
  const done = world.hosts[0]!.cq.poll().map(({ syndrome }) => syndrome);
  assert.deepEqual(done, new Array(8).fill(0));
});
