import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { copyBytes, memoryOf, newMemory } from "./bytes.ts";
import { SimClock } from "./clock.ts";
import { counterSlots, countersObject, newCounters } from "./counters.ts";
import { limitWarnings } from "./log.ts";
import { nameOf } from "./names.ts";
import { Random } from "./random.ts";
import { add24, diff24, isBefore24 } from "./seq24.ts";

test("seq24: add and diff are inverse, also across the wrap", () => {
  const psn = fc.integer({ min: 0, max: 0xffffff });
  fc.assert(fc.property(psn, fc.integer({ min: -(2 ** 23), max: 2 ** 23 - 1 }), (a, n) => diff24(add24(a, n), a) === n));
  assert.equal(add24(0xffffff, 1), 0);
  assert.equal(isBefore24(0xffffff, 0), true);
  assert.equal(isBefore24(0, 0xffffff), false);
});

test("copyBytes: any length, any alignment, overlapping or not", () => {
  const memory = newMemory(512);
  fc.assert(
    fc.property(fc.nat(200), fc.nat(200), fc.nat(200), fc.boolean(), (fromAt, toAt, length, same) => {
      for (let i = 0; i < 512; i++) memory.bytes[i] = (i * 7 + 3) & 0xff;
      const target = same ? memory : newMemory(512);
      const expected = memory.bytes.subarray(fromAt, fromAt + length).toString("hex");
      copyBytes(memory, fromAt, target, toAt, length);
      assert.equal(target.bytes.subarray(toAt, toAt + length).toString("hex"), expected);
    }),
  );
});

test("memoryOf: all views show the same bytes", () => {
  const memory = memoryOf(new ArrayBuffer(64), 16, 32);
  memory.view.setUint32(4, 0x01020304);
  assert.equal(memory.bytes[4], 1);
  assert.equal(memory.words[1], 0x04030201);
  assert.equal(memory.words.length, 8);
});

test("Random: the seed repeats the run, and the numbers are spread", () => {
  const a = new Random(7);
  const b = new Random(7);
  const buckets = new Array<number>(8).fill(0);
  for (let i = 0; i < 8000; i++) {
    const value = a.below(8);
    assert.equal(value, b.below(8));
    buckets[value] = (buckets[value] ?? 0) + 1;
  }
  for (const count of buckets) assert.ok(count > 800 && count < 1200, `bucket of ${count}`);
});

test("SimClock stands still until it is moved, and never goes back", () => {
  const clock = new SimClock();
  clock.advanceNs(5);
  assert.equal(clock.nowNs(), 5);
  assert.throws(() => clock.advanceNs(-1));
});

test("counters: names to slots and back", () => {
  const set = counterSlots("a", "b");
  const values = newCounters(set);
  values[set.b] = 3;
  assert.deepEqual(countersObject(set, values), { a: 0, b: 3 });
  assert.deepEqual(countersObject(set, values, false), { b: 3 });
});

test("nameOf prints unknown numbers as hex", () => {
  assert.equal(nameOf({ RTS: 3 }, 3), "RTS");
  assert.equal(nameOf({ RTS: 3 }, 0x1f), "0x1f");
});

test("limitWarnings: a flood becomes a few lines and a count", () => {
  const lines: string[] = [];
  let now = 0;
  const log = limitWarnings({ debug: () => {}, info: () => {}, warn: (m) => lines.push(m) }, () => now, 2);
  for (let i = 0; i < 10; i++) log.warn(`m${i}`);
  now = 2e9;
  log.warn("later");
  assert.deepEqual(lines, ["m0", "m1", "8 similar messages left out", "later"]);
});
