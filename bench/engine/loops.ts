// The measured loops of an application that holds both ends of a link. They allocate nothing, so that no collection of this process
// is taken for the engine's; the same loops run against every engine.

import type { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { SendControl } from "../../src/driver/send-queue.ts";
import { CqeError, CqeErrorOpcode, SendOpcode } from "../../src/spec/hca/queues.ts";
import type { End, Link } from "./link.ts";
import type { PageRegion } from "./page-region.ts";

const NS_PER_MS = 1e6;
const SMALL = 8;
/** Looks at memory before an answer counts as lost: some ten seconds. */
const LOOKS_MAX = 1e9;
const OPCODE_AT = 0x1c;
const CLOCK_TRIALS = 20_001;

/** What reading the clock twice says when nothing happens in between, in ns (median). */
export function clockCostNs(): number {
  const costs = new Float64Array(CLOCK_TRIALS);
  for (let i = 0; i < CLOCK_TRIALS; i++) {
    const before = performance.now();
    costs[i] = (performance.now() - before) * NS_PER_MS;
  }
  return costs.sort()[CLOCK_TRIALS >> 1] ?? 0;
}

/** Waits for the next completion and takes it. */
function takeCompletion(cq: DriverCompletionQueue): void {
  let looks = 0;
  while (!cq.peek()) if (++looks > LOOKS_MAX) throw new Error("no completion");
  const opcode = cq.view.getUint8(cq.at + OPCODE_AT);
  if (opcode === CqeErrorOpcode.SEND || opcode === CqeErrorOpcode.RECEIVE)
    throw new Error(`a completion in error: syndrome 0x${CqeError.syndrome.get(cq.view, cq.at).toString(16)}`);
  cq.take();
  cq.done();
}

/** Takes `count` completions, waiting for them. */
export function drain(cq: DriverCompletionQueue, count: number): void {
  for (let i = 0; i < count; i++) takeCompletion(cq);
}

function waitForWord(words: Int32Array, index: number, value: number): void {
  let looks = 0;
  while (Atomics.load(words, index) !== value) if (++looks > LOOKS_MAX) throw new Error("a write has not arrived");
}

/** Writes 8 bytes again and again; `samples` gets the ns from posting one until the other guest's memory shows it. */
export function writeLatency({ near, far }: Link, samples: Float64Array): void {
  for (let i = 0; i < samples.length; i++) samples[i] = writeOnce(near, far);
}

function writeOnce(near: End, far: End): number {
  const { sends } = near;
  const value = (near.words[near.word]! + 1) | 0;
  near.words[near.word] = value;
  const before = performance.now();
  sends.begin(SendOpcode.RDMA_WRITE, SendControl.ALWAYS | SendControl.SIGNALED, 0);
  sends.remote(far.region.start, far.region.key);
  sends.data(near.region.start, SMALL, near.region.key);
  sends.end();
  sends.publish();
  sends.ring();
  waitForWord(far.words, far.word, value);
  const ns = (performance.now() - before) * NS_PER_MS;
  takeCompletion(near.cq);
  return ns;
}

/** Posts receives of 8 bytes until `count` are there. */
export function postReceives(end: End, count: number): void {
  for (let i = 0; i < count; i++) postReceive(end);
  end.receives.publish();
}

function postReceive({ receives, region }: End): void {
  receives.begin();
  receives.data(region.start, SMALL, region.key);
  receives.end();
}

/** Sends 8 bytes again and again; `samples` gets the ns from posting one until its completion shows in the other guest's CQ. */
export function sendLatency({ near, far }: Link, samples: Float64Array): void {
  for (let i = 0; i < samples.length; i++) samples[i] = sendOnce(near, far);
}

function sendOnce(near: End, far: End): number {
  const { sends } = near;
  const before = performance.now();
  sends.begin(SendOpcode.SEND, SendControl.ALWAYS | SendControl.SIGNALED, 0);
  sends.data(near.region.start, SMALL, near.region.key);
  sends.end();
  sends.publish();
  sends.ring();
  let looks = 0;
  while (!far.cq.peek()) if (++looks > LOOKS_MAX) throw new Error("a send has not arrived");
  const ns = (performance.now() - before) * NS_PER_MS;
  takeCompletion(far.cq);
  postReceive(far);
  far.receives.publish();
  takeCompletion(near.cq);
  return ns;
}

/** WQEs written before the doorbell rings; the last one of them completes. */
const BATCH = 16;
const BATCHES_IN_FLIGHT = 32;

/** Keeps hundreds of 8-byte writes under way; returns the ns that `batches` batches of 16 took. */
export function writeRate({ near, far }: Link, batches: number): number {
  const before = performance.now();
  for (let done = 0, posted = 0; done < batches; ) {
    if (posted < batches && posted - done < BATCHES_IN_FLIGHT) {
      postBatch(near, far);
      posted++;
      // What has completed meanwhile is taken in passing.
      if (!near.cq.peek()) continue;
    }
    takeCompletion(near.cq);
    done++;
  }
  return (performance.now() - before) * NS_PER_MS;
}

export const WRITES_PER_BATCH = BATCH;

function postBatch({ sends, region }: End, far: End): void {
  for (let i = 1; i <= BATCH; i++) {
    sends.begin(SendOpcode.RDMA_WRITE, i === BATCH ? SendControl.ALWAYS | SendControl.SIGNALED : SendControl.ALWAYS, 0);
    sends.remote(far.region.start, far.region.key);
    sends.data(region.start, SMALL, region.key);
    sends.end();
  }
  sends.publish();
  sends.ring();
}

const MESSAGES_IN_FLIGHT = 8;

/** Where messages come from and go to, round and round. */
export interface Stream {
  readonly from: PageRegion;
  readonly to: PageRegion;
  /** Divides the length of both regions. */
  readonly messageBytes: number;
}

/** Writes `count` messages with a few of them under way; returns the ns they took. */
export function writeStream({ near }: Link, { from, to, messageBytes }: Stream, count: number): number {
  const before = performance.now();
  let offset = 0;
  for (let done = 0, posted = 0; done < count; ) {
    if (posted < count && posted - done < MESSAGES_IN_FLIGHT) {
      postWrite(near, from, to, offset, messageBytes);
      offset = offset + messageBytes < from.length ? offset + messageBytes : 0;
      posted++;
      continue;
    }
    takeCompletion(near.cq);
    done++;
  }
  return (performance.now() - before) * NS_PER_MS;
}

/** Posts one signaled write of `bytes` bytes at `offset` of both regions. */
export function postWrite({ sends }: End, from: PageRegion, to: PageRegion, offset: number, bytes: number): void {
  sends.begin(SendOpcode.RDMA_WRITE, SendControl.ALWAYS | SendControl.SIGNALED, 0);
  sends.remote(to.start + offset, to.key);
  sends.data(from.start + offset, bytes, from.key);
  sends.end();
  sends.publish();
  sends.ring();
}
