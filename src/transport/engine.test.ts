import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine } from "./engine.ts";
import { Network } from "./network.ts";
import type { CompiledRequests } from "./plain/compiled-requests.ts";

/** An engine whose compiled program finds what the test says, and how often it was to look. */
function stage() {
  const network = new Network();
  const asked: number[] = [];
  let found = 0;
  const spin = (looks: number): number => {
    asked.push(looks);
    return found;
  };
  network.compiled = { spin } as unknown as CompiledRequests;
  const engine = new Engine(network);
  return {
    engine,
    /** Looks in the last of so many steps that all find as much. */
    steps(count: number, finds: number): number | undefined {
      found = finds;
      for (let i = 0; i < count; i++) engine.step(0);
      return asked.at(-1);
    },
  };
}

test("the more often the compiled program finds something, the longer it looks, up to 4096 times", () => {
  const { steps } = stage();
  assert.equal(steps(1, 0), 16);
  assert.equal(steps(3, 1), 64);
  assert.equal(steps(100, 1), 4096);
  assert.equal(steps(100, 0), 4096, "nothing at all is no reason to look elsewhere");
});

test("where a guest needs the core to answer it looks 16 times, whatever it finds; elsewhere as often as it has learnt", () => {
  const { engine, steps } = stage();
  engine.sharesCore = true;
  assert.equal(steps(100, 1), 16);
  engine.sharesCore = false;
  assert.equal(steps(1, 0), 4096);
});
