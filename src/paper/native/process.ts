// A program of the host that uses two HCAs of a device domain through vhca/verbs, without a VM: the paper's "native" side. One thread
// holds both ends, as the machine may have no third core.
//
//   node process.ts N1.sock N2.sock '{"kind":"latency","operation":"send","sizes":[8],"iterations":1000}'

import { type Context, openDevice } from "../../verbs/index.ts";
import { measureCommands, measureMessages } from "./channel.ts";
import { awaitByte, connectEnds, type End, IN_FLIGHT, postReceive, send, take, takeIfThere, write } from "./ends.ts";
import { medianOf } from "./median.ts";
import { measureRegistration } from "./registration.ts";
import type { NativeResult, NativeTest } from "./test.ts";

const MIB = 2 ** 20;
const US_PER_MS = 1000;
/** Iterations before the first that counts: V8 compiles meanwhile. */
const WARM_UP = 3000;
const WARM_UP_BYTES = 64;
/** A bandwidth of large messages need not move more than this. */
const BYTES_MAX = 2 ** 30;
const ITERATIONS_MIN = 20;

/** One message from an end to the other. */
type OneWay = (from: End, to: End, bytes: number, round: number) => void;

const sendOnce: OneWay = (from, to, bytes) => {
  postReceive(to, bytes);
  send(from, bytes);
  take(to.recvCq);
  take(from.sendCq);
};

const writeOnce: OneWay = (from, to, bytes, round) => {
  const value = (round & 0x7f) + 1;
  from.mr.bytes[bytes - 1] = value;
  write(from, bytes, to.mr);
  awaitByte(to, bytes, value);
  take(from.sendCq);
  to.mr.bytes[bytes - 1] = 0;
};

/** The receiver sleeps until the HCA tells it of the message. */
const sendWithEvent: OneWay = (from, to, bytes) => {
  postReceive(to, bytes);
  to.recvCq.reqNotify();
  send(from, bytes);
  to.channel.getEventSync();
  take(to.recvCq);
  take(from.sendCq);
};

/** Median of µs one way: half of a message there and one back. */
function latency(near: End, far: End, bytes: number, once: OneWay, iterations: number): number {
  const samples = new Float64Array(iterations);
  for (let round = 0; round < iterations; round++) {
    const start = performance.now();
    once(near, far, bytes, round);
    once(far, near, bytes, round);
    samples[round] = ((performance.now() - start) * US_PER_MS) / 2;
  }
  return medianOf(samples);
}

/** How many messages make a bandwidth. */
const countFor = (bytes: number, iterations: number): number =>
  Math.max(ITERATIONS_MIN, Math.min(iterations, Math.floor(BYTES_MAX / bytes)));

/** MB/s of writes one after another, many under way. */
function writeBandwidth(near: End, far: End, bytes: number, iterations: number): number {
  const count = countFor(bytes, iterations);
  const start = performance.now();
  for (let posted = 0, done = 0; done < count; ) {
    if (posted < count && posted - done < IN_FLIGHT) {
      write(near, bytes, far.mr);
      posted++;
    }
    if (takeIfThere(near.sendCq)) done++;
  }
  return rate(count, bytes, start);
}

/** The same of sends. A receive waits for each that is under way. */
function sendBandwidth(near: End, far: End, bytes: number, iterations: number): number {
  const count = countFor(bytes, iterations);
  for (let i = 0; i < IN_FLIGHT; i++) postReceive(far, bytes);
  const start = performance.now();
  for (let posted = 0, sent = 0, received = 0; sent < count || received < count; ) {
    if (posted < count && posted - received < IN_FLIGHT && posted - sent < IN_FLIGHT) {
      send(near, bytes);
      posted++;
    }
    if (takeIfThere(near.sendCq)) sent++;
    if (takeIfThere(far.recvCq)) {
      received++;
      if (received + IN_FLIGHT <= count) postReceive(far, bytes);
    }
  }
  return rate(count, bytes, start);
}

const rate = (count: number, bytes: number, start: number): number => (count * bytes) / (performance.now() - start) / 1000;

function measure(near: Context, far: Context, test: NativeTest): NativeResult {
  const { kind, operation, sizes, iterations } = test;
  if (kind === "registration") return measureRegistration(near, sizes, iterations);
  if (kind === "commands") return measureCommands(near, sizes, iterations);
  const [a, b] = connectEnds(near, far, Math.max(...sizes, WARM_UP_BYTES));
  if (kind === "bandwidth") {
    const of = operation === "send" ? sendBandwidth : writeBandwidth;
    of(a, b, WARM_UP_BYTES, WARM_UP);
    return sizes.map((x) => ({ x, y: of(a, b, x, iterations) }));
  }
  const once = kind === "events" ? sendWithEvent : operation === "send" ? sendOnce : writeOnce;
  latency(a, b, WARM_UP_BYTES, once, kind === "events" ? WARM_UP / 10 : WARM_UP);
  return sizes.map((x) => ({ x, y: latency(a, b, x, once, iterations) }));
}

async function openAndMeasure(first: string, second: string, test: NativeTest): Promise<NativeResult> {
  const memoryBytes = Math.max(...test.sizes) + 64 * MIB;
  const [near, far] = [openDevice(first, { memoryBytes }), openDevice(second, { memoryBytes })];
  await Promise.all([near.portActive(), far.portActive()]);
  return measure(near, far, test);
}

const [, , first = "", second = "", question = ""] = process.argv;
const test = JSON.parse(question) as NativeTest;
const result =
  test.kind === "messages" ? measureMessages(first, test.sizes, test.iterations) : await openAndMeasure(first, second, test);
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit();
