import assert from "node:assert/strict";
import { test } from "node:test";
import { HcaPolls } from "./hca-polls.ts";
import type { PluggedHca } from "./plugged-hca.ts";

/** Time without work of guests: they sleep. */
const CALM = 1e9;

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
  assert.equal(polls.poll(0, CALM, false), 1);
  asked.fill(0);
  for (let i = 0; i < 120; i++) polls.poll(0, 0, false);
  assert.deepEqual(asked, [120, 10, 10], "every fourth sweep asks the next one, of three, if it is quiet");
  work[2] = 1;
  for (let i = 0; i < 12; i++) polls.poll(0, 0, false);
  asked.fill(0);
  assert.equal(polls.poll(0, 0, false), 2);
  assert.deepEqual([asked[0], asked[2]], [1, 1]);
});

test("calm HCAs are asked every 100 µs while programs are served, in every sweep otherwise, and always once a guest has worked", () => {
  const { polls, asked } = three();
  const askedIn = (untilNs: number, idleNs: number, isServing: boolean): number => {
    asked.fill(0);
    for (let nowNs = untilNs - 1_000_000; nowNs < untilNs; nowNs += 10_000) polls.poll(nowNs, idleNs, isServing);
    return asked[0]!;
  };
  assert.equal(askedIn(2_000_000, CALM, true), 10);
  assert.equal(askedIn(3_000_000, CALM, false), 100);
  assert.equal(askedIn(4_000_000, 1_000_000, true), 100);
});

test("an HCA that is gone is asked no more", () => {
  const { hcas, polls, work, asked } = three();
  work[1] = 1;
  polls.poll(0, CALM, false);
  const [gone] = hcas.splice(1, 1) as [PluggedHca];
  polls.forget(gone);
  asked.fill(0);
  for (let i = 0; i < 12; i++) polls.poll(0, 0, false);
  assert.equal(asked[1], 0);
});
