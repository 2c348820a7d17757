// What ports of switches count of data between hosts, whichever way these go: from memory to memory, as packets, over cables that lose some, or hop by
// hop through lanes. IBA vol 1, 16.1.3.5.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { InProcessGuest } from "../../src/domain/in-process-fabric.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, madOf, parseMadPacket } from "../../src/mad/packet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { PM_DATA_AT } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, PmAttribute } from "../../src/spec/mad/numbers.ts";
import { PortCounters } from "../../src/spec/mad/pm-attributes.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, datagramQp, type End } from "./pair.ts";

const RING = `
switches: { s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s2 } }
links: [[s1, s2], [s2, s3], [s3, s1]]
`;
const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 10, mtuCode: 4 };
const MS = 1e6;
type Way = readonly (readonly [from: string, to: string])[];
const DIRECT: Way = [
  ["a", "s1"],
  ["s1", "s2"],
  ["s2", "b"],
];
const ROUND: Way = [
  ["s1", "s3"],
  ["s3", "s2"],
];

/** Counters that have grown since `zero`. */
class Counts {
  readonly #world: CabledHosts;
  readonly #before = new Map<string, Record<string, number>>();

  constructor(world: CabledHosts) {
    this.#world = world;
    for (const [x, y] of [...DIRECT, ...ROUND])
      for (const [from, to] of [
        [x, y],
        [y, x],
      ] as const)
        this.#before.set(`${from} ${to}`, inspectEnd(world.port(from, to)).counters);
  }

  of(from: string, to: string, name: string): number {
    return (inspectEnd(this.#world.port(from, to)).counters[name] ?? 0) - (this.#before.get(`${from} ${to}`)?.[name] ?? 0);
  }

  /** Along a way, at both ends of each cable. */
  along(way: Way, sent: string, received: string): number[] {
    return way.flatMap(([from, to]) => [this.of(from, to, sent), this.of(to, from, received)]);
  }
}

function write(world: CabledHosts, bytes: number, connection: object = {}, opcode: number = SendOpcode.RDMA_WRITE): void {
  const [a, b] = world.hosts as [End, End];
  const [qp] = connect(a, b, Service.RC, { ...RC, ...connection });
  qp.postSend({ opcode, sges: [new Buffer64(a, bytes).sge()], ...new Buffer64(b, bytes).remote() });
  world.elapse(50 * MS, 50);
  assert.equal(a.cq.poll()[0]?.syndrome, 0);
}

for (const dataPath of ["auto", "packets", "lanes"] as const) {
  test(`${dataPath}: every port on the way counts what the hosts count, by service level, too`, () => {
    const world = new CabledHosts(RING, ["a", "b"], 1, 16 << 20, { dataPath });
    const counts = new Counts(world);
    write(world, 100_000, { sl: 3 });
    const words = counts.along(DIRECT, "xmitData", "rcvData");
    assert.ok(words[0]! >= 25_000);
    assert.deepEqual(
      words,
      words.map(() => words[0]),
    );
    assert.deepEqual(counts.along(DIRECT, "xmitDataSl3", "rcvDataSl3"), words);
    const packets = counts.along(DIRECT, "unicastXmitPackets", "unicastRcvPackets");
    assert.deepEqual(
      packets,
      packets.map(() => 49),
    );
    assert.deepEqual(counts.along(ROUND, "xmitData", "rcvData"), [0, 0, 0, 0]);
    const [a, b] = world.hosts as [End, End];
    const receiver = datagramQp(b);
    receiver.postReceive([new Buffer64(b, 256).sge()]);
    const address = { address: { dlid: b.wire.lid }, remoteQpn: receiver.number, qkey: 0x1234 };
    datagramQp(a).postSend({ opcode: SendOpcode.SEND, sges: [new Buffer64(a, 64).sge()], ...address });
    world.elapse(1 * MS);
    assert.deepEqual(
      counts.along(DIRECT, "xmitPackets", "rcvPackets"),
      packets.map(() => 50),
    );
    write(world, 100_000, { sl: 3 }, SendOpcode.RDMA_READ);
    const back = DIRECT.map(([from, to]) => [to, from] as const);
    assert.ok(
      counts.along(back, "xmitData", "rcvData").every((each) => each >= 25_000),
      "what is read comes back",
    );
  });
}

test("a PortCounters query at the switch counts them in", () => {
  const world = new CabledHosts(RING, ["a", "b"]);
  const counts = new Counts(world);
  write(world, 100_000);
  const port = world.port("s1", "s2");
  const [{ port: asker }] = world.system.guests as [InProcessGuest];
  const before = port.counters[PortCounter.xmitData]!;
  const query = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS);
  query.setUint8(PM_DATA_AT + 1, port.number);
  const answers: number[] = [];
  asker.observer = (packet, isSent) => {
    const parsed = isSent ? undefined : parseMadPacket(packet);
    if (parsed !== undefined) answers.push(PortCounters.xmitData.get(madOf(parsed), PM_DATA_AT));
  };
  asker.transmit(buildMadPacket(gmpAddress(asker.lid, port.node.ports[0]!.lid), query));
  world.elapse(1 * MS);
  assert.equal(answers.length, 1);
  assert.ok(answers[0]! - before >= 25_000, "nobody had looked before");
  assert.equal(counts.of("s1", "s2", "xmitData") >= 25_000, true);
});

test("what was sent before a cable is pulled stays with the way that it took", () => {
  const world = new CabledHosts(RING, ["a", "b"]);
  const counts = new Counts(world);
  const [a, b] = world.hosts as [End, End];
  const [qp] = connect(a, b, Service.RC, { ...RC, ackTimeout: 16 });
  const request = { opcode: SendOpcode.RDMA_WRITE, sges: [new Buffer64(a, 100_000).sge()], ...new Buffer64(b, 100_000).remote() };
  qp.postSend(request);
  world.system.domain.settle();
  world.link("s1", "s2").setPlugged(false);
  world.elapse(500 * MS, 500);
  qp.postSend(request);
  world.elapse(500 * MS, 50);
  assert.deepEqual(
    a.cq.poll().map(({ syndrome }) => syndrome),
    [0, 0],
  );
  const all = counts.of("a", "s1", "xmitDataSl0");
  assert.deepEqual(
    [counts.of("s1", "s2", "xmitDataSl0") >= all / 2, counts.of("s1", "s3", "xmitDataSl0") >= all / 2],
    [true, true],
  );
});

test("over a cable that loses packets, ports behind it count only those that came", () => {
  const world = new CabledHosts(RING, ["a", "b"]);
  world.setFaults("s1", "s2", { loss: 0.1 });
  const counts = new Counts(world);
  for (let i = 0; i < 5; i++) write(world, 20_000);
  const [sent, into, out, in2, out2, received] = counts.along(DIRECT, "unicastXmitPackets", "unicastRcvPackets") as number[];
  assert.equal(into, sent);
  assert.equal(out, sent);
  assert.ok(in2! < out!, "lost on the way");
  assert.deepEqual([out2, received], [in2, in2]);
  assert.equal(world.port("s1", "s2").counters[PortCounter.xmitDiscards], 0);
});
