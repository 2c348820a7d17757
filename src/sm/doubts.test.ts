import assert from "node:assert/strict";
import { test } from "node:test";
import { Doubts } from "./doubts.ts";

const S = 1e9;

test("a cable moved soon after a Set raises a doubt, which is settled when the cables have come to rest", () => {
  const doubts = new Doubts();
  doubts.look(1, 0);
  assert.equal(doubts.dueNs, Number.POSITIVE_INFINITY, "nothing was written");
  doubts.wrote(1 * S);
  doubts.look(1, 2 * S);
  assert.equal(doubts.dueNs, Number.POSITIVE_INFINITY, "nothing has moved");
  doubts.look(2, 4.5 * S);
  assert.equal(doubts.dueNs, Number.POSITIVE_INFINITY, "not so soon");
  doubts.wrote(5 * S);
  doubts.look(3, 6 * S);
  assert.equal(doubts.dueNs, 7 * S);
  doubts.look(4, 6.5 * S);
  assert.equal(doubts.dueNs, 7.5 * S);
  doubts.settle(7.5 * S);
  assert.equal(doubts.dueNs, Number.POSITIVE_INFINITY);
});

test("cables that never come to rest do not put it off for ever, and are not followed more often", () => {
  const doubts = new Doubts();
  for (let i = 0; i < 40; i++) {
    doubts.wrote(i * S * 0.5);
    doubts.look(i + 1, i * S * 0.5);
  }
  assert.equal(doubts.dueNs, 10 * S);
  doubts.settle(20 * S);
  doubts.look(50, 20.1 * S);
  assert.equal(doubts.dueNs, 30 * S);
});
