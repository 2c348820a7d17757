// A ring of switches where each host sends to the one two switches on: by the shortest ways, buffers around the ring fill with packets that wait for
// each other, for ever but for HOQLife; up/down leaves one turn out and has no such circle. Dally and Seitz, 1987; IBA vol 1, 18.2.5.4, 14.2.5.6.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { RoutingName } from "../../src/sm/routing/names.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, type End } from "./pair.ts";

const COUNT = 5;
const HOPS = 2;
const numbers = Array.from({ length: COUNT }, (_, i) => i);
const RING = `
switches: { ${numbers.map((i) => `s${i}: { ports: 4 }`).join(", ")} }
hosts: { ${numbers.map((i) => `h${i}: { switch: s${i} }`).join(", ")} }
links: [${numbers.map((i) => `[s${i}, s${(i + 1) % COUNT}]`).join(", ")}]
`;
const HOSTS = numbers.map((i) => `h${i}`);
const MESSAGES = 4;
const MESSAGE_BYTES = 1 << 20;
const MS = 1e6;

/** Every host writes to the one two on, all at the same time. */
function ring(routing: RoutingName, ackTimeoutOf: (host: number) => number, lanes = ""): CabledHosts {
  const world = new CabledHosts(RING + lanes, HOSTS, 1, 8 << 20, { dataPath: "lanes", manager: { routing } });
  for (const [i, a] of world.hosts.entries()) {
    const b = world.hosts[(i + HOPS) % COUNT] as End;
    const [qp] = connect(a, b, Service.RC, { retryCount: 7, rnrRetry: 7, ackTimeout: ackTimeoutOf(i), mtuCode: 4 });
    const [source, target] = [new Buffer64(a, MESSAGE_BYTES), new Buffer64(b, MESSAGE_BYTES)];
    for (let k = 0; k < MESSAGES; k++) qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  }
  return world;
}

const completed = (world: CabledHosts): number =>
  world.hosts.reduce((sum, { cq }) => sum + cq.poll().filter(({ syndrome }) => syndrome === 0).length, 0);
const around = (world: CabledHosts) => numbers.map((i) => world.port(`s${i}`, `s${(i + 1) % COUNT}`));

test("a ring with shortest ways comes to a standstill; packets that are too old make room, and are lost", () => {
  const world = ring("minhop", () => 20);
  const { lanes } = world.fabric;
  world.elapse(20 * MS, 100);
  const waiting = lanes!.length;
  assert.ok(waiting > 100, `${waiting}`);
  world.elapse(500 * MS, 100);
  assert.deepEqual([completed(world), lanes!.length, lanes!.counts.tooOld], [0, waiting, 0], "nothing moves");
  for (const port of around(world)) {
    assert.equal(port.peer!.lanes!.buffered[0]! + 33 > lanes!.bufferBlocks, true, "no room for one more packet");
    lanes!.countWaits([port]);
    assert.ok(port.counters[PortCounter.xmitWait]! > 400 * MS * 0.5, "ticks of 4 bytes at 16 Gb/s");
  }
  world.elapse(1000 * MS, 100);
  assert.ok(lanes!.counts.tooOld >= COUNT);
  assert.equal(
    lanes!.counts.tooOld,
    around(world).reduce((sum, port) => sum + port.counters[PortCounter.xmitDiscards]!, 0),
  );
});

test("the same ring with up/down routing: all is delivered and nothing is lost", () => {
  const world = ring("updn", () => 20);
  world.elapse(100 * MS, 500);
  assert.equal(completed(world), COUNT * MESSAGES);
  const { lanes } = world.fabric;
  assert.deepEqual([lanes!.length, lanes!.counts.tooOld], [0, 0]);
});

test("a short HOQLife breaks the circle again and again: RC gets through, more slowly", () => {
  // 4 ms, 17 ms, …, 1 s: a message takes a millisecond or two, so each has the ring for itself when its time comes, and no retry is left to luck.
  const world = ring("minhop", (host) => 10 + 2 * host, "lanes: { head-of-queue: 32us }\n");
  for (const port of around(world)) assert.equal(PortInfo.hoqLife.get(port.info, 0), 3);
  const completions: number[] = [];
  for (let ms = 0; ms < 20_000 && completions.length < COUNT * MESSAGES; ms += 10) {
    world.elapse(10 * MS, 10);
    completions.push(...world.hosts.flatMap(({ cq }) => cq.poll().map(({ syndrome }) => syndrome)));
  }
  assert.deepEqual(completions, new Array(COUNT * MESSAGES).fill(0));
  assert.ok(world.fabric.lanes!.counts.tooOld > 0);
});
