// Every packaged program that verbs users know, between two stock guests (programs.ts), and what a guest is told when an administrator
// takes its port down and up again.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../../src/cli/session.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "../../src/lab/perftest.ts";
import { startSession } from "../vm/session.ts";
import { watchPort } from "./asyncwatch.ts";
import { assertQuietKernels } from "./figures.ts";
import { isLong, say, sayTable, shortOrLong } from "./long-runs.ts";
import { type PairOutcome, pairText, runPair } from "./pairs.ts";
import { PROGRAMS, type Program } from "./programs.ts";

const TIMEOUT_MS = shortOrLong(60_000, 240_000);

async function run(session: Session, program: Program): Promise<PairOutcome> {
  for (let trial = 1; ; trial++) {
    const outcome = await runPair(session, program.server, program.client, { timeoutMs: TIMEOUT_MS });
    if (!hasLostItsClock(outcome.client, outcome.server) || trial === CLOCK_TRIALS) return outcome;
    say(`${program.name}: perftest could not measure its clock, once more`);
  }
}

async function check(session: Session, program: Program): Promise<void> {
  const outcome = await run(session, program);
  const { server, client } = outcome;
  if (program.refuses !== undefined) {
    assert.ok(!client.timedOut && client.status !== 0, `it must refuse\n${pairText(outcome)}`);
    assert.match(client.stdout + client.stderr + server.stdout + server.stderr, program.refuses, pairText(outcome));
    return;
  }
  assert.deepEqual([client.status, server.status], [0, 0], pairText(outcome));
  if (program.says !== undefined) assert.match(client.stdout + client.stderr, program.says, pairText(outcome));
}

/** ENDURANCE_ONLY: only those whose name contains it. */
const only = process.env.ENDURANCE_ONLY ?? "";
const isWanted = ({ name, isLong: isForLong }: Program): boolean => (isLong || !isForLong) && name.includes(only);

for (const kernel of shortOrLong(["6.12"] as const, ["6.12", "newest"] as const)) {
  test(`packaged programs between two guests, kernel ${kernel}`, async (t) => {
    const session = await startSession(t, { nodes: 2, kernel });
    if (session === undefined) return;
    const results: [string, string][] = [];

    for (const program of PROGRAMS.filter(isWanted)) {
      await t.test(program.name, async () => {
        results.push([program.name, "failed"]);
        await check(session, program);
        results[results.length - 1] = [program.name, program.refuses === undefined ? "works" : "refuses, as it must"];
      });
    }

    await t.test("ibv_asyncwatch is told when its port goes down and comes back, and when its LID changes", async () => {
      say(`asyncwatch: ${(await watchPort(session)).join(", ")}`);
      const after = await runPair(session, "ibv_rc_pingpong -n 100", "ibv_rc_pingpong -n 100 n1");
      assert.equal(after.client.status, 0, pairText(after));
    });

    await t.test("the kernels have nothing to complain about", () => assertQuietKernels(session, ["n1", "n2"]));
    if (isLong) sayTable(["program", `kernel ${kernel}`], results);
  });
}
