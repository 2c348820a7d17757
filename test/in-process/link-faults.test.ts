// What faulty cables do to data, and what of it programs see: RC nothing but time, UC and UD exactly the packets that were dropped. IBA vol 1,
// 9.7.6 (loss), 9.8.2 (UC), 16.1.3.5 (counters).

import assert from "node:assert/strict";
import { test } from "node:test";
import { setMulticastRoute, setRoute } from "../../src/fabric/hand-made-subnet.ts";
import { SwitchNode } from "../../src/fabric/switch-node.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter, PortDetail } from "../../src/spec/ib/port-counters.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, datagramQp, type End, fill } from "./pair.ts";

const TWO_SWITCHES = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s2 }, c: { switch: s2 } }
links: [[s1, s2]]
`;
const RING = `
switches: { s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s2 } }
links: [[s1, s2], [s2, s3], [s3, s1]]
`;
const SQUARE = `
switches: { s1: { ports: 4 }, s2: { ports: 4 }, s3: { ports: 4 }, s4: { ports: 4 } }
hosts: { a: { switch: s1 }, b: { switch: s3 } }
links: [[s1, s2], [s2, s3], [s3, s4], [s4, s1]]
`;
const MTU_2048 = 4;
const PATIENT = { retryCount: 7, rnrRetry: 7, ackTimeout: 10, mtuCode: MTU_2048 };
const MESSAGE = 10_000;
const MESSAGES = 30;

const packetsSent = ({ node }: End): number => node.hca.adapter.counters[AdapterCounter.packetsSent]!;

/** `count` sends and as many writes from a to b; what came must be what was sent. */
function sendVerified(world: CabledHosts, a: End, b: End, count: number): void {
  const [qp, peer] = connect(a, b, Service.RC, PATIENT);
  const [source, sent, written] = [
    new Buffer64(a, count * MESSAGE),
    new Buffer64(b, count * MESSAGE),
    new Buffer64(b, count * MESSAGE),
  ];
  fill(source.bytes, count);
  for (let i = 0; i < count; i++) {
    peer.postReceive([sent.sge(i * MESSAGE, MESSAGE)]);
    const sges = [source.sge(i * MESSAGE, MESSAGE)];
    qp.postSend({ opcode: SendOpcode.SEND_IMM, sges, immediate: i });
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges, ...written.remote(i * MESSAGE) });
  }
  const done = { sends: 0, receives: [] as number[] };
  for (let ms = 0; ms < 20_000 && (done.sends < 2 * count || done.receives.length < count); ms++) {
    world.elapse(1e6, 1);
    for (const { syndrome } of a.cq.poll()) {
      assert.equal(syndrome, 0);
      done.sends++;
    }
    for (const { syndrome, immediate } of b.cq.poll()) {
      assert.equal(syndrome, 0);
      done.receives.push(immediate);
    }
  }
  assert.equal(done.sends, 2 * count);
  assert.deepEqual(
    done.receives,
    Array.from({ length: count }, (_, i) => i),
  );
  assert.ok(source.bytes.equals(sent.bytes), "what was sent");
  assert.ok(source.bytes.equals(written.bytes), "what was written");
}

for (const loss of [0.001, 0.01, 0.1]) {
  test(`RC over a cable that loses ${100 * loss} %: everything once, in order and whole`, () => {
    const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"], 5);
    const [a, b] = world.hosts as [End, End, End];
    world.setFaults("s1", "s2", { loss });
    sendVerified(world, a, b, MESSAGES);
    assert.ok(packetsSent(a) >= 2 * MESSAGES * Math.ceil(MESSAGE / 2048), "they went as packets");
    if (loss >= 0.01) assert.ok(world.link("s1", "s2").counts.lost > 0);
  });
}

test("a corrupted packet is dropped by the port it arrives at, which counts it; RC sends it again", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
  const [a, b] = world.hosts as [End, End, End];
  world.setFaults("s1", "s2", { corruption: 0.05 });
  sendVerified(world, a, b, MESSAGES);
  const { counts } = world.link("s1", "s2");
  const errors = [world.port("s1", "s2"), world.port("s2", "s1")].map(({ counters }) => counters[PortCounter.rcvErrors]!);
  assert.ok(errors[0]! > 0 && errors[1]! > 0, `both ways: ${errors}`);
  assert.equal(errors[0]! + errors[1]!, counts.corrupted);
  const details = [world.port("s1", "s2"), world.port("s2", "s1")].map((port) => port.details[PortDetail.localPhysicalErrors]!);
  assert.deepEqual(details, errors, "PortRcvErrorDetails says the same");
  assert.deepEqual([counts.lost, counts.delayed], [0, 0]);
});

test("a long cable takes its time, each way, and keeps the order", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
  const [a, b] = world.hosts as [End, End, End];
  world.setFaults("s1", "s2", { delayNs: 500_000 });
  const [qp] = connect(a, b, Service.RC, { ...PATIENT, ackTimeout: 14 });
  const [source, target] = [new Buffer64(a, 8), new Buffer64(b, 8)];
  fill(source.bytes, 3);
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  world.system.domain.settle();
  assert.equal(world.network.nextDeadlineNs(), world.clock.nowNs() + 500_000);
  world.elapse(499_999, 1);
  assert.equal(target.bytes[0], 0);
  world.elapse(1, 1);
  assert.deepEqual(target.bytes, source.bytes);
  world.elapse(499_999, 1);
  assert.equal(a.cq.poll().length, 0);
  world.elapse(1, 1);
  assert.equal(a.cq.poll()[0]?.syndrome, 0);
  assert.equal(world.network.nextDeadlineNs(), Number.POSITIVE_INFINITY);
  sendVerified(world, a, b, MESSAGES);
  assert.equal(a.node.hca.adapter.counters[AdapterCounter.packetsSentAgain], 0, "nothing overtook anything");
});

test("a cable that loses everything: RC gives up after its retries, on the way there or back", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
  const [a, b] = world.hosts as [End, End, End];
  const target = new Buffer64(b, 8);
  for (const from of ["s1", "b"]) {
    world.setFaults(from, "s2", { loss: 1 });
    const [qp] = connect(a, b, Service.RC, { ...PATIENT, retryCount: 2 });
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 8).sge()], ...target.remote() });
    world.elapse(1e9, 100);
    assert.deepEqual(
      a.cq.poll().map(({ syndrome }) => syndrome),
      [Syndrome.TRANSPORT_RETRY],
    );
    world.setFaults(from, "s2", undefined);
  }
});

test("a cable on the way back only: RC goes as packets, UC does not", () => {
  const world = new CabledHosts(SQUARE, ["a", "b"]);
  const [a, b] = world.hosts as [End, End];
  const leave = (node: string, to: End, peer: string): void => {
    const port = world.port(node, peer);
    assert.ok(port.node instanceof SwitchNode);
    setRoute(port.node, to.wire.lid, port.number);
  };
  leave("s1", b, "s2");
  leave("s2", b, "s3");
  leave("s3", a, "s4");
  leave("s4", a, "s1");
  world.setFaults("s3", "s4", { loss: 0.4 });
  const [qp] = connect(a, b, Service.UC, { mtuCode: MTU_2048 });
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 8).sge()], ...new Buffer64(b, 8).remote() });
  world.system.domain.settle();
  assert.equal(a.cq.poll()[0]?.syndrome, 0);
  assert.equal(packetsSent(a), 0);
  sendVerified(world, a, b, MESSAGES);
  assert.ok(packetsSent(a) > 0, "acknowledgements cross it");
  assert.ok(world.link("s3", "s4").counts.lost > 0);
});

test("a mended cable: messages take the short path again", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
  const [a, b, c] = world.hosts as [End, End, End];
  sendVerified(world, a, b, 2);
  assert.equal(packetsSent(a), 0);
  world.setFaults("s1", "s2", { loss: 0.01 });
  sendVerified(world, a, b, 2);
  const before = packetsSent(a);
  assert.ok(before > 0);
  sendVerified(world, b, c, 2);
  assert.equal(packetsSent(b), 0, "the cable is not on their way");
  world.setFaults("s1", "s2", undefined);
  sendVerified(world, a, b, 2);
  assert.equal(packetsSent(a), before);
});

test("either path can be forced: the short one misses the faults, packets go where nothing is wrong", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
  const [a, b] = world.hosts as [End, End, End];
  world.setFaults("s1", "s2", { loss: 1 });
  world.network.setPath("short");
  sendVerified(world, a, b, 2);
  assert.equal(packetsSent(a), 0);
  world.setFaults("s1", "s2", undefined);
  world.network.setPath("packets");
  sendVerified(world, a, b, 2);
  const before = packetsSent(a);
  assert.ok(before > 0);
  world.network.setPath("auto");
  sendVerified(world, a, b, 2);
  assert.equal(packetsSent(a), before);
});

for (const [name, service] of [["UD", Service.UD] as const, ["UC", Service.UC] as const]) {
  test(`${name} loses exactly what was dropped`, () => {
    const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"]);
    const [a, b] = world.hosts as [End, End, End];
    const rings = { sendWqes: 256, receiveWqes: 256 };
    const isDatagram = service === Service.UD;
    const [qp, peer] = isDatagram
      ? [datagramQp(a, 0x1234, rings), datagramQp(b, 0x1234, rings)]
      : connect(a, b, Service.UC, { mtuCode: MTU_2048 }, rings);
    const [source, target] = [new Buffer64(a, 512), new Buffer64(b, 200 * 1024)];
    world.setFaults("s1", "s2", { loss: 0.2, corruption: 0.1 });
    const count = 200;
    for (let i = 0; i < count; i++) peer.postReceive([target.sge(i * 1024, 1024)]);
    const address = isDatagram ? { address: { dlid: b.wire.lid }, remoteQpn: peer.number, qkey: 0x1234 } : {};
    const droppedSoFar = (): number => world.link("s1", "s2").counts.lost + world.link("s1", "s2").counts.corrupted;
    const before = droppedSoFar();
    for (let i = 0; i < count; i++) {
      qp.postSend({ opcode: SendOpcode.SEND_IMM, sges: [source.sge()], immediate: i, ...address });
      // One after the other, so that a cut-off tail is seen as well.
      world.system.domain.settle();
    }
    const sent = a.cq.poll();
    const received = b.cq.poll().map(({ immediate }) => immediate);
    assert.equal(sent.filter(({ syndrome }) => syndrome === 0).length, count, "the sender hears nothing of it");
    const dropped = droppedSoFar() - before;
    const { counts } = world.link("s1", "s2");
    assert.ok(counts.lost > 0 && counts.corrupted > 0);
    assert.equal(received.length, count - dropped);
    assert.deepEqual(
      received,
      [...received].sort((x, y) => x - y),
    );
  });
}

test("a cable is pulled under load: traffic goes on over the other way, without a lost or doubled byte", () => {
  const world = new CabledHosts(RING, ["a", "b"]);
  const [a, b] = world.hosts as [End, End];
  const [qp, peer] = connect(a, b, Service.RC, { ...PATIENT, ackTimeout: 16 });
  const [counter, source, target] = [new Buffer64(b, 8), new Buffer64(a, 8), new Buffer64(b, 8)];
  const link = world.link("s1", "s2");
  let [posted, sum, received] = [0, 0n, 0];
  for (let round = 0; round < 400; round++) {
    if (round === 100) link.setPlugged(false);
    if (round === 250) link.setPlugged(true);
    if (posted < 300) {
      peer.postReceive([target.sge()]);
      qp.postSend({ opcode: SendOpcode.ATOMIC_FA, sges: [source.sge()], swapAdd: BigInt(++posted), ...counter.remote() });
      qp.postSend({ opcode: SendOpcode.SEND_IMM, sges: [source.sge()], immediate: posted });
      sum += BigInt(posted);
    }
    world.elapse(1e6, 1);
    for (const { syndrome } of a.cq.poll()) assert.equal(syndrome, 0);
    for (const { syndrome, immediate } of b.cq.poll()) assert.deepEqual([syndrome, immediate], [0, ++received]);
  }
  assert.equal(received, 300);
  assert.equal(counter.bytes.readBigUInt64LE(0), sum, "each addition once");
});

/** A tree over both switches, by hand. */
function routeGroup(world: CabledHosts, mlid: number): void {
  const portTo = (node: string, ...peers: string[]): number[] => peers.map((peer) => world.port(node, peer).number);
  for (const [node, ports] of [
    ["s1", portTo("s1", "a", "s2")],
    ["s2", portTo("s2", "s1", "b", "c")],
  ] as const) {
    const sw = world.port(node, node === "s1" ? "s2" : "s1").node;
    assert.ok(sw instanceof SwitchNode);
    setMulticastRoute(sw, mlid, ports);
  }
}

test("multicast: each receiver misses what its own cables dropped, and waits for what is long", () => {
  const world = new CabledHosts(TWO_SWITCHES, ["a", "b", "c"], 9);
  const [a, b, c] = world.hosts as [End, End, End];
  const group = { mgid: Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 9]), mlid: 0xc050 };
  routeGroup(world, group.mlid);
  const rings = { sendWqes: 128, receiveWqes: 128 };
  const sender = datagramQp(a, 0x1234, rings);
  const receivers = [b, c].map((host) => {
    const qp = datagramQp(host, 0x1234, rings);
    host.device.multicast.attach(group.mgid, qp.number);
    const buffer = new Buffer64(host, 100 * 64);
    for (let i = 0; i < 100; i++) qp.postReceive([buffer.sge(i * 64, 64)]);
    return host;
  });
  world.setFaults("s2", "b", { loss: 0.3 });
  world.setFaults("s2", "c", { delayNs: 10_000 });
  const source = new Buffer64(a, 16);
  for (let i = 0; i < 100; i++) {
    const address = { dlid: group.mlid, dgid: group.mgid };
    sender.postSend({
      opcode: SendOpcode.SEND_IMM,
      sges: [source.sge()],
      immediate: i,
      address,
      remoteQpn: 0xffffff,
      qkey: 0x1234,
    });
    world.system.domain.settle();
  }
  const [atB, atC] = receivers.map((host) => host.cq.poll().length);
  const { lost } = world.link("s2", "b").counts;
  assert.ok(lost > 10, String(lost));
  assert.deepEqual([atB, atC], [100 - lost, 0]);
  world.elapse(10_000, 1);
  assert.equal(c.cq.poll().length, 100);
});
