import assert from "node:assert/strict";
import { test } from "node:test";
import { LateQueue } from "./late-queue.ts";
import { Random } from "./random.ts";

test("what is due first comes first, and of the same time what came first", () => {
  const random = new Random(7);
  for (let round = 0; round < 200; round++) {
    const queue = new LateQueue<{ dueNs: number; order: number }>();
    const expected: { dueNs: number; order: number }[] = [];
    for (let order = 0; order < 60; order++) {
      if (random.chance(0.3)) {
        const [first] = expected.sort((a, b) => a.dueNs - b.dueNs || a.order - b.order);
        assert.equal(queue.dueNs, first?.dueNs ?? Number.POSITIVE_INFINITY);
        assert.equal(queue.shift(), expected.shift());
      }
      const item = { dueNs: random.below(8), order };
      queue.push(item.dueNs, item);
      expected.push(item);
    }
    expected.sort((a, b) => a.dueNs - b.dueNs || a.order - b.order);
    for (const item of expected) assert.equal(queue.shift(), item, `seed ${random.seed}`);
    assert.equal(queue.length, 0);
    assert.equal(queue.shift(), undefined);
  }
});
