// VL arbitration: weights as shares, the limit of high priority, turns without packets. IBA vol 1, 7.6.9.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Arbiter, LANE_COUNT } from "./arbiter.ts";

type Turn = readonly [vl: number, weight: number];

const table = (turns: readonly Turn[]): Uint8Array =>
  Uint8Array.from(Array.from({ length: 32 }, (_, i) => turns[i] ?? [0, 0]).flat());

function arbiter(low: readonly Turn[], high: readonly Turn[] = [], highLimit = 255, laneCount = 8): Arbiter {
  const blocks = [table([]), table(low), table([]), table(high), table([])];
  const made = new Arbiter();
  made.program((number) => blocks[number]!, highLimit, laneCount);
  return made;
}

/** Lanes in the order in which they send `count` packets of `bytes`, while `busy` always have some. */
function sequence(made: Arbiter, busy: readonly number[], bytes: number, count: number): number[] {
  const eligible = new Uint8Array(LANE_COUNT);
  for (const vl of busy) eligible[vl] = 1;
  return Array.from({ length: count }, () => {
    const vl = made.choose(eligible);
    if (vl >= 0) made.charge(bytes);
    return vl;
  });
}

const countOf = (order: readonly number[], vl: number): number => order.filter((each) => each === vl).length;

test("weights are shares, in units of 64 bytes", () => {
  const order = sequence(
    arbiter([
      [0, 1],
      [1, 3],
    ]),
    [0, 1],
    64,
    8,
  );
  assert.deepEqual(order, [0, 1, 1, 1, 0, 1, 1, 1]);
  const small = sequence(
    arbiter([
      [2, 60],
      [5, 180],
      [7, 0],
    ]),
    [2, 5, 7],
    320,
    960,
  );
  assert.deepEqual([countOf(small, 2), countOf(small, 5), countOf(small, 7)], [240, 720, 0]);
});

test("a lane listed twice has two turns; one that has nothing to send loses its turn", () => {
  const made = arbiter([
    [0, 1],
    [1, 1],
    [0, 1],
    [2, 1],
  ]);
  assert.deepEqual(sequence(made, [0, 1, 2], 64, 8), [0, 1, 0, 2, 0, 1, 0, 2]);
  assert.deepEqual(sequence(made, [1, 2], 64, 4), [1, 2, 1, 2]);
  assert.deepEqual(sequence(made, [1], 64, 3), [1, 1, 1]);
  assert.deepEqual(sequence(made, [], 64, 2), [-1, -1]);
});

test("high priority goes first, up to its limit of 4 KiB units; 0 is one packet, 255 is no limit", () => {
  const shares = (limit: number): number => countOf(sequence(arbiter([[0, 255]], [[1, 255]], limit), [0, 1], 1024, 1000), 0);
  assert.equal(shares(255), 0);
  assert.equal(shares(0), 500, "one and one");
  assert.equal(shares(1), 200, "four of high priority, then one of low");
  assert.equal(shares(3), (1000 / 13) | 0);
  const idle = arbiter([[0, 255]], [[1, 255]], 0);
  assert.deepEqual(sequence(idle, [1], 64, 3), [1, 1, 1], "no low priority waits");
  assert.deepEqual(sequence(idle, [0], 64, 2), [0, 0]);
});

test("lanes in no table go last, one packet each; without tables all do; lanes that the link lacks are skipped", () => {
  assert.deepEqual(sequence(arbiter([[0, 1]]), [0, 3], 64, 3), [0, 0, 0]);
  assert.deepEqual(sequence(arbiter([[0, 1]]), [3, 4], 64, 4), [3, 4, 3, 4]);
  assert.deepEqual(sequence(arbiter([]), [0, 1, 2], 2048, 4), [0, 1, 2, 0]);
  const two = arbiter(
    [
      [0, 1],
      [6, 9],
    ],
    [],
    255,
    2,
  );
  assert.deepEqual(sequence(two, [0, 6], 64, 3), [0, 0, 0]);
});
