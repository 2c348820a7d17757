import assert from "node:assert/strict";
import { test } from "node:test";
import { HcaPolls } from "./hca-polls.ts";
import type { PluggedHca } from "./plugged-hca.ts";

/** Three HCAs, each with as much work as `work` says, and how often each was asked. */
function three() {
  const work = [0, 0, 0];
  const asked = [0, 0, 0];
  const poll = (i: number): number => {
    asked[i]!++;
    return work[i]!;
  };
  const hcas = work.map((_, i) => ({ busyPolls: 0, fn: { hca: { poll: () => poll(i) } } }) as unknown as PluggedHca);
  return { hcas, polls: new HcaPolls(hcas), work, asked };
}

test("in a hurry a busy HCA is asked in every sweep, a quiet one now and then, and work that it has got makes it busy", () => {
  const { polls, work, asked } = three();
  work[0] = 1;
  assert.equal(polls.pollAll(0), 1);
  asked.fill(0);
  for (let i = 0; i < 120; i++) polls.pollHastily(0);
  assert.deepEqual(asked, [120, 10, 10], "every fourth sweep asks the next one, of three, if it is quiet");
  work[2] = 1;
  for (let i = 0; i < 12; i++) polls.pollHastily(0);
  asked.fill(0);
  assert.equal(polls.pollHastily(0), 2);
  assert.deepEqual([asked[0], asked[2]], [1, 1]);
});

test("an HCA that is gone is asked no more", () => {
  const { hcas, polls, work, asked } = three();
  work[1] = 1;
  polls.pollAll(0);
  const [gone] = hcas.splice(1, 1) as [PluggedHca];
  polls.forget(gone);
  asked.fill(0);
  for (let i = 0; i < 12; i++) polls.pollHastily(0);
  assert.equal(asked[1], 0);
});
