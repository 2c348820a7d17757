import assert from "node:assert/strict";
import { test } from "node:test";
import { SparseRecords } from "./sparse-records.ts";

test("records are zero until written, keep apart, and are zero again after a reset", () => {
  const records = new SparseRecords(3);
  records.reset(1 << 20);
  for (const index of [0, 1, 255, 256, 99_999, (1 << 20) - 1]) {
    const at = records.wordsAt(index);
    assert.deepEqual([...records.block(index).subarray(at, at + 3)], [0, 0, 0]);
    records.blockForWriting(index).set([index, 2, 3], at);
  }
  for (const index of [0, 1, 255, 256, 99_999, (1 << 20) - 1]) {
    const at = records.wordsAt(index);
    assert.deepEqual([...records.block(index).subarray(at, at + 3)], [index, 2, 3]);
  }
  assert.equal(records.block(2)[records.wordsAt(2)], 0);
  records.reset(10);
  assert.equal(records.length, 10);
  assert.equal(records.block(0)[0], 0);
  assert.throws(() => records.blockForWriting(300), /invariant/);
});
