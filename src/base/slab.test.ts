import assert from "node:assert/strict";
import { test } from "node:test";
import { Slabs } from "./slab.ts";

test("pieces are zero, aligned, and nobody else's; large ones have a buffer of their own", () => {
  const slabs = new Slabs();
  const sizes = [1, 8, 13, 312, 4096, 4097, 70_000, ...Array.from({ length: 400 }, (_, i) => 200 + i)];
  const views = sizes.map((size, i) => {
    const { buffer, offset, doubles } = slabs.take(size);
    assert.equal(offset % 8, 0);
    assert.equal(doubles.buffer, buffer);
    const view = new Uint8Array(buffer, offset, size);
    assert.ok(view.every((byte) => byte === 0));
    return view.fill((i % 255) + 1);
  });
  for (const [i, view] of views.entries()) assert.ok(view.every((byte) => byte === (i % 255) + 1));
  assert.ok(new Set(views.map(({ buffer }) => buffer)).size < 8);
});
