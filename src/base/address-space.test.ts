import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AddressSpace, PAGE_BYTES } from "./address-space.ts";
import { newMemory, OUTSIDE } from "./bytes.ts";

const none = newMemory(8);

test("AddressSpace: low and high RAM, the hole between, and the last byte", () => {
  const space = new AddressSpace(none);
  const ram = newMemory(64 * PAGE_BYTES);
  assert.equal(space.map(0, 16 * PAGE_BYTES, ram, 0, true), undefined);
  assert.equal(space.map(0x1_0000_0000, 16 * PAGE_BYTES, ram, 32 * PAGE_BYTES, false), undefined);
  assert.ok(space.locate(0, 16 * PAGE_BYTES - 1));
  assert.equal(space.run, 1);
  assert.equal(space.locate(0, 16 * PAGE_BYTES), false);
  assert.ok(space.locate(1, 0x1234));
  assert.equal(space.at, 32 * PAGE_BYTES + 0x1234);
  assert.equal(space.writable, false);
  assert.equal(space.locate(2, 0x1234), false);
  assert.equal(space.locate(-1, -1), false, "addresses near 2^64 are not memory");
  assert.equal(space.locateRun(0, 15 * PAGE_BYTES, PAGE_BYTES + 1), false, "a run must not leave its range");
});

test("AddressSpace: refuses what does not fit, forgets what is unmapped", () => {
  const space = new AddressSpace(none);
  const ram = newMemory(8 * PAGE_BYTES);
  assert.match(space.map(1, PAGE_BYTES, ram, 0, true) ?? "", /aligned/);
  assert.match(space.map(-PAGE_BYTES, PAGE_BYTES, ram, 0, true) ?? "", /8 TiB or empty/);
  assert.match(space.map(0, 9 * PAGE_BYTES, ram, 0, true) ?? "", /outside/);
  const huge = { byteLength: 2 ** 32, windowAt: OUTSIDE, open: () => ram };
  assert.match(space.mapSource(0, 2 ** 30 + PAGE_BYTES, huge, 0, true) ?? "", /1 GiB/, "else `run` would overflow");
  assert.match(space.map(2 ** 43, PAGE_BYTES, ram, 0, true) ?? "", /8 TiB/);
  assert.equal(space.map(0, 4 * PAGE_BYTES, ram, 0, true), undefined);
  assert.match(space.map(3 * PAGE_BYTES, PAGE_BYTES, ram, 0, true) ?? "", /overlaps/);
  assert.ok(space.locate(0, 0));
  const before = space.generation;
  assert.equal(space.unmap(0, 4 * PAGE_BYTES), 4 * PAGE_BYTES);
  assert.notEqual(space.generation, before);
  assert.equal(space.locate(0, 0), false);
});

test("AddressSpace: memory is opened when a device first comes there, once", () => {
  const space = new AddressSpace(none);
  const ram = newMemory(4 * PAGE_BYTES);
  let opened = 0;
  const open = (): typeof ram => {
    opened++;
    return ram;
  };
  assert.equal(space.mapSource(0, 4 * PAGE_BYTES, { byteLength: 4 * PAGE_BYTES, windowAt: OUTSIDE, open }, 0, true), undefined);
  assert.equal(space.locate(0, 4 * PAGE_BYTES), false);
  assert.equal(opened, 0);
  assert.ok(space.locate(0, PAGE_BYTES));
  assert.equal(space.memory, ram);
  assert.ok(space.locate(0, 0));
  assert.equal(opened, 1);
});

test("AddressSpace: agrees with a map of pages", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 6 }), fc.boolean()), { maxLength: 20 }), (steps) => {
      const space = new AddressSpace(none);
      const ram = newMemory(64 * PAGE_BYTES);
      const model = new Map<number, number>();
      for (const [page, count, isMap] of steps) {
        const pages = Array.from({ length: count }, (_, i) => page + i);
        if (isMap) {
          const error = space.map(page * PAGE_BYTES, count * PAGE_BYTES, ram, page * PAGE_BYTES, true);
          assert.equal(error === undefined, !pages.some((p) => model.has(p)));
          if (error === undefined) for (const p of pages) model.set(p, p * PAGE_BYTES);
        } else {
          const gone = space.unmap(page * PAGE_BYTES, count * PAGE_BYTES) / PAGE_BYTES;
          let left = 0;
          for (const p of [...model.keys()]) if (!space.locate(0, p * PAGE_BYTES)) left += model.delete(p) ? 1 : 0;
          assert.equal(left, gone);
        }
      }
      for (let p = 0; p < 50; p++) {
        assert.equal(space.locate(0, p * PAGE_BYTES), model.has(p));
        if (model.has(p)) assert.equal(space.at, model.get(p));
      }
    }),
  );
});
