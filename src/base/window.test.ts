import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryOf, newMemory, OUTSIDE, sliceOf } from "./bytes.ts";
import { MAX_WINDOW_BYTES, newWindow, STATIC_BYTES, Window } from "./window.ts";

const PAGE_BYTES = 4096;
const small = (): Window => new Window(new WebAssembly.Memory({ initial: 3 }));
const SMALL_BYTES = 3 * 65536;

test("Window: stretches never overlap nor touch the static data, and what is given back can be had again in one piece", () => {
  const step = fc.record({ isTake: fc.boolean(), bytes: fc.integer({ min: 1, max: 50_000 }), pick: fc.nat(100) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const window = small();
      const taken: { at: number; bytes: number }[] = [];
      const owner = new Uint8Array(SMALL_BYTES / PAGE_BYTES).fill(1, 0, STATIC_BYTES / PAGE_BYTES);
      const mark = (at: number, bytes: number, value: number): void => {
        for (let page = at / PAGE_BYTES; page * PAGE_BYTES < at + bytes; page++) {
          assert.notEqual(owner[page], value);
          owner[page] = value;
        }
      };
      for (const { isTake, bytes, pick } of steps) {
        if (isTake) {
          const at = window.take(bytes);
          if (at === OUTSIDE) {
            assert.ok(!Buffer.from(owner).includes(Buffer.alloc(Math.ceil(bytes / PAGE_BYTES))), "there was room");
            continue;
          }
          mark(at, bytes, 1);
          taken.push({ at, bytes });
        } else {
          const [gone] = taken.splice(pick % (taken.length || 1), 1);
          if (gone === undefined) continue;
          window.give(gone.at, gone.bytes);
          mark(gone.at, gone.bytes, 0);
        }
      }
      for (const { at, bytes } of taken) window.give(at, bytes);
      assert.equal(window.take(SMALL_BYTES - STATIC_BYTES), STATIC_BYTES);
      assert.equal(window.take(1), OUTSIDE);
    }),
  );
});

test("Window: nothing can be given back twice, nor what was never taken", () => {
  const window = small();
  const at = window.take(2 * PAGE_BYTES);
  window.take(PAGE_BYTES);
  window.give(at, 2 * PAGE_BYTES);
  assert.throws(() => window.give(at + PAGE_BYTES, 1), /invariant/);
  assert.throws(() => window.give(0, PAGE_BYTES), /invariant/);
  assert.throws(() => window.give(SMALL_BYTES - PAGE_BYTES, 2 * PAGE_BYTES), /invariant/);
});

test("Window: room is short while there could be more than the less than half that is free", () => {
  const window = new Window(new WebAssembly.Memory({ initial: 9 })); // 512 KiB, and static data
  const quarter = 2 * 65536;
  const [first] = [window.take(quarter), window.take(quarter / 2)];
  window.willGive();
  assert.equal(window.isShort, false, "more than half is free");
  window.take(quarter);
  assert.equal(window.isShort, true);
  window.collects();
  window.take(4096);
  assert.equal(window.isShort, false, "a second look finds nothing more");
  window.willGive();
  assert.equal(window.isShort, true);
  window.collects();
  window.give(first!, quarter);
  window.willGive();
  assert.equal(window.isShort, false);
});

test("Window: its memories know where they lie, also above 2 GiB, and so do parts of them", () => {
  const window = newWindow();
  if (window === undefined) throw new Error("the machine has no addresses left");
  assert.equal(window.words.byteLength, MAX_WINDOW_BYTES);
  const low = window.memoryAt(65536, 8192);
  assert.deepEqual([low.windowAt, sliceOf(low, 4096, 64).windowAt], [65536, 69632]);
  const end = window.words.byteLength - 8192;
  const high = sliceOf(window.memoryAt(end, 8192), 4096, 4096);
  assert.equal(high.windowAt, (end + 4096) | 0);
  high.view.setUint32(4092, 0x01020304);
  assert.equal(window.words.at(-1), 0x04030201);
  assert.ok(sliceOf(high, 4092, 4).windowAt < OUTSIDE);
});

test("memory elsewhere is outside, whatever part of it", () => {
  const memory = newMemory(64);
  const part = sliceOf(memory, 32, 16);
  assert.deepEqual([memory.windowAt, part.windowAt, memoryOf(new ArrayBuffer(8)).windowAt], [OUTSIDE, OUTSIDE, OUTSIDE]);
  const fields = ["bytes", "view", "words", "windowAt"];
  for (const each of [memory, part, small().memoryAt(65536, 8)]) assert.deepEqual(Object.keys(each), fields);
});

test("newWindow: a smaller one if the engine refuses, none if it is too small for a guest", (t) => {
  const real = WebAssembly.Memory;
  t.after(() => Object.assign(WebAssembly, { Memory: real }));
  const asked: number[] = [];
  let granted = 0;
  const stingy = function (this: unknown, size: { initial: number; maximum: number }): WebAssembly.Memory {
    asked.push(size.initial);
    if (size.initial > granted) throw new RangeError("could not allocate memory");
    return new real(size);
  };
  Object.assign(WebAssembly, { Memory: stingy });
  assert.equal(newWindow(), undefined);
  assert.deepEqual(asked, [65535, 32767, 16383, 8191, 4095], "4 GiB to 256 MiB, each less 64 KiB");
  granted = 16384;
  assert.equal(newWindow()?.words.byteLength, 16383 * 65536);
  assert.equal(newWindow(2 ** 28)?.words.byteLength, 2 ** 28);
  assert.equal(newWindow(2 ** 28 - 131_072), undefined);
});
