// Two guests that never stop working while something happens to a third one: each of their runs must succeed, and its contents be
// what was sent.

import assert from "node:assert/strict";
import type { Session } from "../../src/cli/session.ts";
import { CLOCK_TRIALS, hasLostItsClock } from "../../src/lab/perftest.ts";
import { pairText, runPair } from "./pairs.ts";

const VERIFY = "ibv_rc_pingpong -c -n 300";
const WRITE = "ib_write_bw -D 2";

export interface PairWork {
  readonly runs: number;
  /** Of each run of ib_write_bw, as it says itself. */
  readonly mibPerSecond: readonly number[];
}

/** Keeps n1 and n2 busy until `hasEnded`, and at least once with each program. Fails if one of the programs does. */
export async function keepPairBusy(session: Session, hasEnded: () => boolean): Promise<PairWork> {
  const mibPerSecond: number[] = [];
  let runs = 0;
  const one = async (program: string): Promise<string> => {
    let outcome = await runPair(session, program, `${program} n1`);
    for (let trial = 1; trial < CLOCK_TRIALS && hasLostItsClock(outcome.client, outcome.server); trial++) {
      outcome = await runPair(session, program, `${program} n1`);
    }
    assert.deepEqual(
      [outcome.client.status, outcome.server.status],
      [0, 0],
      `the pair's run ${runs + 1}: ${program}\n${pairText(outcome)}`,
    );
    runs++;
    return outcome.client.stdout;
  };
  do {
    await one(VERIFY);
    mibPerSecond.push(averageBandwidth(await one(WRITE)));
  } while (!hasEnded());
  return { runs, mibPerSecond };
}

/** Columns of ib_write_bw: bytes, iterations, peak, average. */
function averageBandwidth(output: string): number {
  const average = Number(/^ \d+ +\d+ +[\d.]+ +([\d.]+)/m.exec(output)?.[1]);
  assert.ok(average > 0, `a bandwidth in\n${output}`);
  return average;
}
