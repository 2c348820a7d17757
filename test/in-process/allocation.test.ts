// The engine moves messages without allocating: a collection would stop every guest at once. The driver that posts does
// allocate, so requests are posted first and only then carried out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { SendRequest } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, datagramQp, type End, TestBed } from "./pair.ts";

const BATCH = 1024;
/** Code that is not compiled yet allocates (each counter it adds to is a number on the heap); it may take this long. */
const BATCHES_MAX = 400;
/** So many batches must be carried out … */
const QUIET_BATCHES = 20;
/** … with no more than what reading the heap costs; one object per message would be at least 16 bytes of each. */
const ALLOWED_BYTES_PER_MESSAGE = 2;
/** One that is not, such as when V8 puts in place what it has compiled, undoes as many that were. */
const LOST_QUIET_BATCHES = 5;

/** Small whole numbers are never objects: times in ns are, from two seconds on, wherever compiled code does not know better. */
const START_NS = 2 ** 40;
/** Time goes on in steps of many messages, each of which may make such numbers. */
const STEP_NS = 100e6;

// What V8 inlines depends on when it comes to compile what. Where it does not, a time that crosses a call becomes an object; so nothing is inlined here.
for (const flag of ["--no-turbo-inlining", "--no-maglev-inlining"]) setFlagsFromString(flag);

type Bed = Pick<TestBed, "domain" | "clock">;

/** Posts batches and carries them out until carrying out no longer allocates; fails if that does not come to pass. */
function assertStopsAllocating(bed: Bed, post: () => void, reap: () => number): void {
  bed.clock.advanceNs(START_NS);
  let quiet = 0;
  let last = 0;
  for (let batch = 0; batch < BATCHES_MAX && quiet < QUIET_BATCHES; batch++) {
    for (let i = 0; i < BATCH; i++) post();
    const before = process.memoryUsage().heapUsed;
    carryOut(bed);
    const bytes = process.memoryUsage().heapUsed - before;
    assert.equal(reap(), BATCH);
    // A collection in between (of the driver's garbage) makes the heap smaller; such a batch says nothing.
    if (bytes < 0) continue;
    last = bytes / BATCH;
    quiet = last < ALLOWED_BYTES_PER_MESSAGE ? quiet + 1 : Math.max(0, quiet - LOST_QUIET_BATCHES);
  }
  assert.equal(quiet, QUIET_BATCHES, `${last} bytes per message after ${BATCHES_MAX} batches`);
}

/** Until nothing is under way any more. */
function carryOut({ domain, clock }: Bed): void {
  for (;;) {
    sweepUntilIdle(domain, clock.nowNs());
    if (domain.network.nextDeadlineNs() === Number.POSITIVE_INFINITY) return;
    clock.advanceNs(STEP_NS);
  }
}

/** What the engine thread does in its sweeps. */
function sweepUntilIdle({ nodes, engine, network }: Bed["domain"], now: number): void {
  for (let work = 1; work > 0; ) {
    work = 0;
    for (let i = 0; i < nodes.length; i++) work += nodes[i]!.hca.poll(now);
    work += network.receive(now);
    work += engine.step(now);
    for (let i = 0; i < nodes.length; i++) nodes[i]!.hca.events.flush();
  }
}

/** The guest's completion queues, each large enough for a batch. */
function largeCqs(bed: TestBed): [DriverCompletionQueue, DriverCompletionQueue] {
  const cq = (i: 0 | 1): DriverCompletionQueue => new DriverCompletionQueue(bed[i].device, 2 * BATCH - 1, bed[i].pd);
  return [cq(0), cq(1)];
}

const rings = { sendWqes: BATCH, receiveWqes: BATCH };

for (const [name, size] of [
  ["8 B", 8],
  ["16 KiB", 16384],
] as const) {
  for (const kind of ["send", "write", "read", "atomic"] as const) {
    if (kind === "atomic" && size !== 8) continue;
    test(`RC ${kind} of ${name}: carried out without allocating`, () => {
      const bed = new TestBed(2);
      const [near, far] = largeCqs(bed);
      const [qp, peer] = connect(
        bed[0],
        bed[1],
        Service.RC,
        {},
        { ...rings, sendCq: near, receiveCq: near },
        { ...rings, sendCq: far, receiveCq: far },
      );
      const local = new Buffer64(bed[0], size);
      const remote = new Buffer64(bed[1], size);
      const request = requestOf(kind, local, remote);
      const post = (): void => {
        if (kind === "send") peer.postReceive([remote.sge()]);
        qp.postSend(request);
      };
      assertStopsAllocating(bed, post, () => reap(near, far));
    });
  }
}

test("UD send: carried out without allocating", () => {
  const bed = new TestBed(2);
  const [near, far] = largeCqs(bed);
  const sender = datagramQp(bed[0], 0x1234, { ...rings, sendCq: near, receiveCq: near });
  const receiver = datagramQp(bed[1], 0x1234, { ...rings, sendCq: far, receiveCq: far });
  const local = new Buffer64(bed[0], 64);
  const remote = new Buffer64(bed[1], 256);
  const request: SendRequest = {
    opcode: SendOpcode.SEND,
    sges: [local.sge()],
    address: { dlid: bed[1].wire.lid },
    remoteQpn: receiver.number,
    qkey: 0x1234,
  };
  const post = (): void => {
    receiver.postReceive([remote.sge()]);
    sender.postSend(request);
  };
  assertStopsAllocating(bed, post, () => reap(near, far));
});

const TWO_SWITCHES = `
switches: { s1: { ports: 4 }, s2: { ports: 4 } }
hosts: { a: { switch: s1 }, b: { switch: s2 } }
links: [{ ends: [s1, s2], width: 1X }]
`;

function assertCabledHostsDoNotAllocate(topology: string): CabledHosts {
  const world = new CabledHosts(topology, ["a", "b"]);
  const [a, b] = world.hosts as [End, End];
  const bed = { domain: world.system.domain, clock: world.clock };
  const [near, far] = [a, b].map(({ device, pd }) => new DriverCompletionQueue(device, 2 * BATCH - 1, pd)) as [
    DriverCompletionQueue,
    DriverCompletionQueue,
  ];
  const [qp] = connect(
    a,
    b,
    Service.RC,
    { mtuCode: 4, ackTimeout: 18 },
    { ...rings, sendCq: near, receiveCq: near },
    { ...rings, sendCq: far, receiveCq: far },
  );
  const request = requestOf("write", new Buffer64(a, 8192), new Buffer64(b, 8192));
  assertStopsAllocating(
    bed,
    () => qp.postSend(request),
    () => reap(near, far),
  );
  return world;
}

test("RC writes between two switches, from memory to memory: carried out without allocating", () => {
  assertCabledHostsDoNotAllocate(TWO_SWITCHES);
});

test("the same through virtual lanes, half of them held back", () => {
  const world = assertCabledHostsDoNotAllocate(`${TWO_SWITCHES}lanes: true\n`);
  assert.ok(world.port("a", "s1").counters[PortCounter.xmitWait]! > 0);
});

function requestOf(kind: "send" | "write" | "read" | "atomic", local: Buffer64, remote: Buffer64): SendRequest {
  const sges = [local.sge()];
  if (kind === "send") return { opcode: SendOpcode.SEND, sges };
  if (kind === "write") return { opcode: SendOpcode.RDMA_WRITE, sges, ...remote.remote() };
  if (kind === "read") return { opcode: SendOpcode.RDMA_READ, sges, ...remote.remote() };
  return { opcode: SendOpcode.ATOMIC_FA, sges, swapAdd: 1n, ...remote.remote() };
}

/** Takes all completions; how many the requester's side had. */
function reap(near: DriverCompletionQueue, far: DriverCompletionQueue): number {
  far.poll();
  return near.poll().filter((done) => done.syndrome === 0).length;
}
