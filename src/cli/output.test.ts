import assert from "node:assert/strict";
import { test } from "node:test";
import { LabError } from "../lab/lab-error.ts";
import { alignColumns, grid, printError, wrapList } from "./output.ts";

test("a package that does not exist is the user's mistake, a mirror that does not answer is not", () => {
  const statuses = (["usage", "unknown-package", "no-mirror", "boot"] as const).map((code) =>
    printError(new LabError(code, code)),
  );
  assert.deepEqual([...statuses, printError(new Error("invariant"))], [2, 2, 3, 3, 3]);
});

test("grid: as many columns as fit, read from top to bottom", () => {
  const values = ["a", "bb", "c", "d", "e"].map((name, i) => [name, String(i * 10)] as const);
  // Each column takes 2 + 2 + 2, and 4 lie between two of them.
  assert.deepEqual(grid(values, 16), ["a   0     d   30", "bb  10    e   40", "c   20"]);
  assert.deepEqual(grid(values, 15), ["a   0", "bb  10", "c   20", "d   30", "e   40"]);
  assert.deepEqual(grid(values, 3).length, 5, "never less than one column");
  assert.deepEqual(grid([], 80), []);
});

test("wrapList: no line longer than the width, and nothing lost", () => {
  const words = Array.from({ length: 30 }, (_, i) => `0x${(i * 1000).toString(16)}`);
  const lines = wrapList(words, 40);
  assert.ok(lines.length > 1 && lines.every((line) => line.length <= 40));
  assert.deepEqual(lines.join(" ").split(", "), words);
  assert.deepEqual(wrapList([], 40), []);
});

test("alignColumns: cells below each other, rows of any length", () => {
  assert.deepEqual(alignColumns([["a", "1"], ["bbb", "22", "x"], []], [false, true]), ["a     1", "bbb  22  x", ""]);
});
