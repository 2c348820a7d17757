// A guest killed again and again at random moments under load, beside a pair that works all the time: its peer is told, the pair
// notices nothing, and the next guest takes its place.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../../src/base/random.ts";
import type { Session } from "../../src/cli/session.ts";
import type { ExecResult } from "../../src/lab/vm/ssh.ts";
import { keepPairBusy } from "./busy-pair.ts";
import { assertNoGrowth, type ProcessFigures, processFigures } from "./figures.ts";
import { say } from "./long-runs.ts";
import { assertData } from "./reload.ts";
import { hcaOf, waitUntil } from "./wait.ts";

/** What moves when the plug is pulled. The peer is the one that asks: an answerer is told nothing, as on the wire. */
const LOADS = ["ib_write_bw", "ib_send_bw", "ib_read_bw", "ib_atomic_bw"];
const DELAY_MS = 1500;
/** The victim has moved something: the connection is up. */
const MOVED_OPERATIONS = 100;
/** A requester gives up after 8 waits (IBA 9.7.6.1.3); a program that hangs is ended long after that. */
const HANG_MS = 60_000;
const START_ATTEMPTS = 10;

export interface KillReport {
  readonly kills: number;
  readonly pairRuns: number;
  readonly before: ProcessFigures;
  readonly after: ProcessFigures;
}

/** Kills n3 `times` times while n1 asks it for data; n1 and n2 work all the while. */
export async function killOften(session: Session, times: number, random: Random): Promise<KillReport> {
  // the first death and restart fill caches that stay
  await killOnce(session, "ib_write_bw", 0);
  const before = processFigures();
  let isOver = false;
  const pair = keepPairBusy(session, () => isOver);
  pair.catch(() => {});
  try {
    for (let i = 1; i <= times; i++) {
      const load = LOADS[random.below(LOADS.length)] ?? "";
      const delayMs = random.below(DELAY_MS);
      const told = await killOnce(session, load, delayMs);
      say(`kill ${i} of ${times}: ${load}, ${delayMs} ms after its first data; the peer: ${told}`);
    }
  } finally {
    isOver = true;
  }
  const { runs } = await pair;
  const after = processFigures();
  assertNoGrowth(before, after);
  return { kills: times, pairRuns: runs, before, after };
}

/** One death of n3, and its next life; what its peer says. */
async function killOnce(session: Session, load: string, delayMs: number): Promise<string> {
  const { peer } = await startLoad(session, load);
  await sleep(delayMs);
  await session.lab.node("n3").kill();
  const { status, stdout, stderr, timedOut } = await peer;
  const text = stdout + stderr;
  assert.ok(!timedOut && status !== 0, `the peer of the dead guest: status ${status}\n${text}`);
  const told = /Failed status (\d+)[^\n]*/.exec(text);
  assert.equal(told?.[1], "12", `IBV_WC_RETRY_EXC_ERR\n${text}`);
  await session.lab.node("n3").restart();
  await assertData(session, ["n3", "n1"]);
  return told?.[0] ?? "";
}

/** What n1 has asked others for, which in the pair it never does, and what has arrived at n3. */
async function operations(session: Session): Promise<number> {
  const { rdmaWrites = 0, rdmaReads = 0, atomics = 0 } = (await hcaOf(session, "n1")).counters;
  return rdmaWrites + rdmaReads + atomics + ((await hcaOf(session, "n3")).counters.receives ?? 0);
}

/** n1 begins to ask n3 for data, without end; resolves when they flow. */
async function startLoad(session: Session, load: string): Promise<{ peer: Promise<ExecResult> }> {
  const command = `${load} --run_infinitely`;
  const before = await operations(session);
  // it ends with its guest
  session.lab
    .node("n3")
    .exec(command)
    .catch(() => {});
  for (let attempt = 1; attempt <= START_ATTEMPTS; attempt++) {
    await sleep(300 * attempt);
    let hasEnded = false;
    const peer = session.lab.node("n1").exec(`${command} n3`, { timeoutMs: HANG_MS });
    const ended = (): void => {
      hasEnded = true;
    };
    peer.then(ended, ended);
    const flows = async (): Promise<boolean> => (await operations(session)) - before >= MOVED_OPERATIONS;
    if (await waitUntil(flows, () => hasEnded)) return { peer };
  }
  assert.fail(`${load} does not start`);
}
