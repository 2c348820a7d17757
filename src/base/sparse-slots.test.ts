import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SparseSlots } from "./sparse-slots.ts";

test("sparse slots behave like an array of the same length", () => {
  const length = 5000;
  const change = fc.tuple(fc.nat(length - 1), fc.option(fc.nat(), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const slots = new SparseSlots<number>();
      slots.reset(length);
      const model = new Map<number, number>();
      for (const [index, value] of changes) {
        slots.set(index, value);
        if (value === undefined) model.delete(index);
        else model.set(index, value);
      }
      for (const [index] of changes) assert.equal(slots.get(index), model.get(index));
      assert.deepEqual(
        [...slots.entries()],
        [...model].sort(([a], [b]) => a - b),
      );
    }),
  );
});

test("sparse slots: nothing outside, nothing after a reset, and a large table costs nothing", () => {
  const slots = new SparseSlots<string>();
  assert.equal(slots.get(0), undefined);
  assert.throws(() => slots.set(0, "x"), /invariant/);
  slots.reset(2 ** 22);
  slots.set(2 ** 22 - 1, "last");
  assert.deepEqual(
    [slots.length, slots.get(2 ** 22 - 1), slots.get(2 ** 22), slots.get(2 ** 31)],
    [2 ** 22, "last", undefined, undefined],
  );
  slots.reset(16);
  assert.deepEqual([...slots.entries()], []);
});
