import assert from "node:assert/strict";
import { test } from "node:test";
import { nearNames, suggestion } from "./near-names.ts";

test("names that were mistyped are recognised, strange ones are not", () => {
  const names = ["leaf-1", "leaf-2", "leaf-3", "spine1", "n1", "n10", "Core"];
  assert.equal(nearNames("leaf3", names)[0], "leaf-3");
  assert.deepEqual(nearNames("core", names), ["Core"]);
  assert.deepEqual(nearNames("spin1", names), ["spine1"]);
  assert.deepEqual(nearNames("elephant", names), []);
  assert.equal(nearNames("leaf", names).length <= 3, true);
  assert.equal(suggestion("spine", names), "; did you mean spine1?");
  assert.equal(suggestion("", names), "");
});
