// Words that a driver stores while the device looks at them, each on its own processor: neither ever sees half of one. Code that is not compiled
// yet takes the accesses of a DataView apart.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { type Memory, memoryOf, newMemory, publishWord } from "../../src/base/bytes.ts";
import type { DeviceAccess } from "../../src/driver/access.ts";
import { Doorbell } from "../../src/driver/doorbell.ts";
import { DoorbellRecord } from "../../src/transport/doorbell-record.ts";
import type { Icm } from "../../src/transport/icm.ts";

const LOOKS = 2_000_000;
const BYTES = 64;
/** Where the other thread is told to end. */
const END_AT = 32;

/** Rings with all bits, and with none, by turns, until it is told to end. */
function ring(memory: Memory): void {
  const doorbell = new Doorbell({ uarPage: () => memory } as unknown as DeviceAccess, 0, 0);
  for (let i = 0; Atomics.load(memory.words, END_AT >> 2) === 0; i++) doorbell.ring(-(i & 1), -(i & 1));
}

function defineTests(): void {
  for (const flag of ["--no-opt", "--no-maglev"]) setFlagsFromString(flag);

  test("a doorbell that another thread rings", async () => {
    const buffer = new SharedArrayBuffer(BYTES);
    const memory = memoryOf(buffer);
    const worker = new Worker(new URL(import.meta.url), { workerData: buffer });
    await new Promise((resolve) => worker.once("online", resolve));
    const seen = new Set<number>();
    for (let i = 0; i < LOOKS; i++) seen.add(Atomics.load(memory.words, i & 1));
    publishWord(memory, END_AT, 1);
    await new Promise((resolve) => worker.once("exit", resolve));
    const halves = [...seen].filter((word) => word !== 0 && word !== -1);
    assert.deepEqual(halves, []);
  });

  test("a doorbell record is read without a DataView", () => {
    const { words, bytes } = newMemory(8);
    const memory = {
      words,
      bytes,
      get view(): DataView {
        throw new Error("half a word could be read");
      },
    };
    bytes.writeUInt32BE(0xabcd0100, 0);
    bytes.writeUInt32BE(0x12345678, 4);
    const record = new DoorbellRecord({ dma: { generation: 1, memory, at: 0 }, locate: () => true } as unknown as Icm, 0, 0);
    assert.deepEqual([record.counter(0), record.first(), record.second()], [0x0100, 0xabcd0100 | 0, 0x12345678]);
  });
}

if (isMainThread) defineTests();
else ring(memoryOf(workerData as SharedArrayBuffer));
