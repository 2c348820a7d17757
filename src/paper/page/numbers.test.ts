// What stands at an axis.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decadeTicks, formatBytes, formatNumber, linearTicks, sizeTicks } from "./numbers.ts";

test("sizes as the paper writes them", () => {
  assert.deepEqual([1, 4, 1000, 1024, 65536, 1048576, 3 * 2 ** 30].map(formatBytes), ["1", "4", "1000", "1K", "64K", "1M", "3G"]);
});

test("three digits that matter, whole numbers from a thousand on", () => {
  assert.deepEqual([0, 0.00123, 1.005, 47.26, 999.4, 1234.6, 1e6].map(formatNumber), [
    "0",
    "0.00123",
    "1",
    "47.3",
    "999",
    "1,235",
    "1,000,000",
  ]);
});

test("size axes have a tick at each size, or at the same powers whatever the first size is", () => {
  const powers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
  assert.deepEqual(sizeTicks([65536, 8, 8, 64], 12), { domain: [8, 65536], values: [8, 64, 65536] });
  assert.deepEqual(sizeTicks(powers(1, 16), 12).values, [4, 16, 64, 256, 1024, 4096, 16384, 65536]);
  assert.deepEqual(sizeTicks(powers(0, 20), 6).values, [1, 16, 256, 4096, 65536, 1048576]);
  assert.deepEqual(sizeTicks([64], 12), { domain: [32, 128], values: [64] });
});

test("value axes hold all values, and end at 1, 2 or 5", () => {
  assert.deepEqual(decadeTicks(1.4, 8032).values, [1, 10, 100, 1000, 10000]);
  assert.deepEqual(decadeTicks(43.7, 600), { domain: [20, 1000], values: [20, 50, 100, 200, 500, 1000] });
  assert.deepEqual(decadeTicks(10, 10).domain, [10, 20]);
  assert.deepEqual(linearTicks(9900), { domain: [0, 10000], values: [0, 2000, 4000, 6000, 8000, 10000] });
  assert.deepEqual(linearTicks(0.3).values, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
  assert.deepEqual(linearTicks(0).domain, [0, 1]);
});
