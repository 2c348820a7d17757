// Ten million operations without one garbage collection: posting, carrying out and completing allocate nothing, in the driver's bare rings
// and in the engine. A collection stops every guest at once, and shows as the worst of all latencies.

import assert from "node:assert/strict";
import { PerformanceObserver } from "node:perf_hooks";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendControl } from "../../src/driver/send-queue.ts";
import { CqeErrorOpcode, SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, type Guest, TestBed } from "./pair.ts";

const OPERATIONS = 10_000_000;
/** Code that is not compiled yet allocates (each counter it adds to is a number on the heap): rounds of so many operations … */
const WARM_UP = 500_000;
/** … are run until one leaves next to nothing on the heap. Compiling may take its time where others use the cores too. */
const WARM_UP_BYTES = 64 * 1024;
const WARM_UPS_MAX = 20;
const BATCH = 256;
/** Times of engines are numbers that are objects where they cross calls, unlike the small ones of the first two seconds. */
const START_NS = 2 ** 40;
const OPCODE_AT = 0x1c;
const SMALL = 8;
const KINDS = [SendOpcode.RDMA_WRITE, SendOpcode.SEND, SendOpcode.RDMA_READ, SendOpcode.ATOMIC_FA] as const;

interface Side {
  readonly qp: DriverQueuePair;
  readonly cq: DriverCompletionQueue;
  readonly address: number;
  readonly key: number;
}

function joined(bed: TestBed): { near: Side; far: Side } {
  const cqOf = ({ device, pd }: Guest): DriverCompletionQueue => new DriverCompletionQueue(device, 2 * BATCH - 1, pd);
  const cqs = [cqOf(bed[0]), cqOf(bed[1])] as const;
  const rings = { sendWqes: BATCH, receiveWqes: BATCH, sges: 1 };
  const queues = cqs.map((cq) => ({ ...rings, sendCq: cq, receiveCq: cq }));
  const qps = connect(bed[0], bed[1], Service.RC, {}, queues[0], queues[1]);
  const side = (i: 0 | 1): Side => {
    const { address, lkey } = new Buffer64(bed[i], SMALL).sge();
    return { qp: qps[i], cq: cqs[i], address: Number(address), key: lkey };
  };
  return { near: side(0), far: side(1) };
}

function postReceives({ qp: { receives }, address, key }: Side): void {
  assert.ok(receives);
  for (let i = 0; i < BATCH; i++) {
    receives.begin();
    receives.data(address, SMALL, key);
    receives.end();
  }
  receives.publish();
}

function postSends({ qp: { sends }, address, key }: Side, far: Side, opcode: number): void {
  for (let i = 0; i < BATCH; i++) {
    sends.begin(opcode, SendControl.ALWAYS | SendControl.SIGNALED, 0);
    if (opcode !== SendOpcode.SEND) sends.remote(far.address, far.key);
    if (opcode === SendOpcode.ATOMIC_FA) sends.atomic(0, 1, 0, 0);
    sends.data(address, SMALL, key);
    sends.end();
  }
  sends.publish();
  sends.ring();
}

/** Takes what has completed; -1 if one of them failed. */
function reap({ cq }: Side): number {
  let count = 0;
  for (; cq.peek(); count++) {
    if (cq.view.getUint8(cq.at + OPCODE_AT) >= CqeErrorOpcode.RECEIVE) return -1;
    cq.take();
  }
  cq.done();
  return count;
}

/** What the engine thread does in its sweeps. */
function carryOut({ domain: { nodes, engine, network } }: TestBed, now: number): void {
  for (let work = 1; work > 0; ) {
    work = 0;
    for (let i = 0; i < nodes.length; i++) work += nodes[i]?.hca.poll(now) ?? 0;
    work += network.receive(now);
    work += engine.step(now);
    for (let i = 0; i < nodes.length; i++) nodes[i]?.hca.events.flush();
  }
}

/** Batches of every kind in turn; returns how many operations went wrong. */
function operate(bed: TestBed, near: Side, far: Side, operations: number): number {
  let wrong = 0;
  const now = bed.clock.nowNs();
  for (let done = 0, kind = 0; done < operations; done += BATCH) {
    const opcode = KINDS[kind] ?? SendOpcode.NOP;
    kind = (kind + 1) % KINDS.length;
    if (opcode === SendOpcode.SEND) postReceives(far);
    postSends(near, far, opcode);
    carryOut(bed, now);
    if (reap(near) !== BATCH) wrong++;
    if (reap(far) !== (opcode === SendOpcode.SEND ? BATCH : 0)) wrong++;
  }
  return wrong;
}

async function warmUp(bed: TestBed, near: Side, far: Side): Promise<void> {
  for (let round = 0; round < WARM_UPS_MAX; round++) {
    const before = process.memoryUsage().heapUsed;
    assert.equal(operate(bed, near, far, WARM_UP), 0);
    const bytes = process.memoryUsage().heapUsed - before;
    if (bytes >= 0 && bytes < WARM_UP_BYTES) return;
    // Lets finished code come from the compiler's threads.
    await nextTurn();
  }
}

test(`${OPERATIONS} writes, sends, reads and atomics: no garbage collection`, async (t) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const bed = new TestBed(2);
  bed.clock.advanceNs(START_NS);
  const { near, far } = joined(bed);
  await warmUp(bed, near, far);
  await nextTurn();
  collect();
  const collections: { startTime: number; duration: number }[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) collections.push({ startTime, duration });
  });
  observer.observe({ entryTypes: ["gc"] });
  t.after(() => observer.disconnect());
  const wrong = operate(bed, near, far, OPERATIONS);
  const end = performance.now();
  // Entries are handed over by the event loop.
  await nextTurn();
  await nextTurn();
  assert.equal(wrong, 0);
  // Once the event loop has its turn, V8 may tidy up just because nothing was allocated for so long.
  assert.deepEqual(
    collections.filter(({ startTime }) => startTime < end),
    [],
  );
});
