import assert from "node:assert/strict";
import { test } from "node:test";
import { LinearTable } from "./linear-table.ts";

/** A table of two blocks that the switch has. */
function written(): LinearTable {
  const table = new LinearTable();
  table.grow(100);
  for (let block = table.take(); block >= 0; block = table.take()) table.finish(block, true);
  return table;
}

test("new blocks are to be written; then only what changes", () => {
  const table = new LinearTable();
  table.grow(100);
  assert.deepEqual([table.length, table.take(), table.take(), table.take(), table.underWay], [128, 0, 1, -1, 2]);
  table.finish(0, true);
  table.finish(1, true);
  table.set(70, 255);
  assert.equal(table.take(), -1, "as it was");
  table.set(70, 3);
  assert.equal(table.portOf(70), 3);
  assert.equal(table.block(1)[6], 3);
  assert.deepEqual([table.take(), table.take()], [1, -1]);
});

test("a block that changes under way is written again, afterwards", () => {
  const table = written();
  table.set(5, 1);
  assert.equal(table.take(), 0);
  table.set(5, 2);
  assert.equal(table.take(), -1, "not twice at once");
  table.finish(0, true);
  assert.equal(table.take(), 0);
});

test("a failed block is written again when asked to, or when it changes", () => {
  const table = written();
  table.set(5, 1);
  table.finish(table.take(), false);
  assert.equal(table.take(), -1);
  table.retryFailed();
  assert.equal(table.take(), 0);
  table.finish(0, false);
  table.set(5, 2);
  assert.equal(table.take(), 0);
});
