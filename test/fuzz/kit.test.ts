// The kit itself: a failure names its seed and is the same again with it, and a case that does not end is found.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import type { FuzzCase } from "./kit.ts";
import { isWanted, runCases } from "./kit.ts";

const run = (body: FuzzCase, first = 100, seconds = 10) => runCases("toy", body, { first, seconds, steps: 50 });

test("a failure names the seed and the command, and the seed repeats it", async () => {
  const fails: FuzzCase = (random) => assert.notEqual(random.below(50), 7, "seven");
  const seedOf = (error: unknown): number => {
    const match = /toy: seven\nrepeat: FUZZ_SEED=(\d+) FUZZ_TARGET=toy npm run fuzz/.exec(String(error));
    assert.ok(match, String(error));
    return Number(match[1]);
  };
  const seed = seedOf(await run(fails).catch((error: unknown) => error));
  assert.ok(seed > 100);
  assert.equal(seedOf(await run(fails, seed, 0).catch((error: unknown) => error)), seed);
});

test("at least one case runs, and states are counted once", async () => {
  const result = await run((_random, budget) => budget.note("same"), 1, 0);
  assert.deepEqual(result, { cases: 1, states: 1 });
});

test("a case that goes round and round uses up its steps", async () => {
  await assert.rejects(
    run((_random, budget) => {
      for (;;) budget.step();
    }),
    /does not come to an end.*\nrepeat: FUZZ_SEED=100 /s,
  );
});

test("a case that never returns ends the process, with its seed", () => {
  const program = `
    import { runCases } from ${JSON.stringify(new URL("kit.ts", import.meta.url).href)};
    await runCases("toy", () => { for (;;); }, { first: 77, seconds: 1, steps: 1, caseCpuMs: 300 });`;
  const { signal, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.equal(signal, "SIGKILL");
  assert.match(stderr, /FUZZ_SEED=77 FUZZ_TARGET=toy npm run fuzz/);
});

test("FUZZ_TARGET names a target or a group of them", () => {
  assert.deepEqual(
    ["sm", "sm/agents", "smoke"].map((name) => isWanted(name, "sm")),
    [true, true, false],
  );
  assert.equal(isWanted("anything", undefined), true);
});
