import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PAGE_OBJECTS, PAGE_SLOTS, pageOf } from "./page.ts";

test("the pages of a table hold every object once, and none looks at too much", () => {
  const size = 5 * PAGE_SLOTS;
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(size - 1), { maxLength: 300 }), (indexes) => {
      const places = new Set(indexes);
      let looks = 0;
      const at = (index: number): number | undefined => {
        looks++;
        return places.has(index) ? index : undefined;
      };
      const found: number[] = [];
      for (let from: number | undefined = 0; from !== undefined; ) {
        looks = 0;
        const page: { items: number[]; next: number | undefined } = pageOf(
          { size, count: places.size, at },
          from,
          1000,
          (index) => index,
        );
        assert.ok(looks <= PAGE_SLOTS && page.items.length <= PAGE_OBJECTS);
        found.push(...page.items);
        from = page.next;
      }
      assert.deepEqual(
        found,
        [...places].sort((a, b) => a - b),
      );
    }),
    { numRuns: 20 },
  );
});
