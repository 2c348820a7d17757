// What every fuzz target stands on: seeds in a row until the time is up, a failure that names its seed and the command that
// repeats it, bounds on the steps and on the CPU time of one case. docs/fuzzing.md.
//
//   FUZZ_SECONDS  how long each target runs, from a seed that the time gives (`npm run fuzz` sets it); else 1.5 from the same seed every time
//   FUZZ_SEED     the first seed; without FUZZ_SECONDS this one case only
//   FUZZ_TRACE    prints what a case says it does, to look at a failure
//   FUZZ_TARGET   runs the targets of this name, and those below it (`sm` runs `sm/agents`), and no others

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { reporter } from "./progress.ts";
import { SEED_PLACE, watchCases } from "./watch.ts";

const SECONDS_BY_DEFAULT = 1.5;
/** Where `npm test` begins: what it finds is then the change's fault, and found again. New seeds are for `npm run fuzz`. */
const FIRST_SEED = 1;
/** CPU time after which a case counts as hung. */
const CASE_CPU_MS = 5000;
/** Steps of one case, unless the target says otherwise. */
const STEPS_MAX = 100_000;
/** Distinct states remembered, so that a long run does not grow. */
const STATES_MAX = 1 << 16;

const { FUZZ_SECONDS, FUZZ_SEED, FUZZ_TARGET, FUZZ_TRACE } = process.env;
const isReplay = FUZZ_SEED !== undefined && FUZZ_SECONDS === undefined;

/** What one case may do, and what it has seen. */
export class Budget {
  readonly #states: Set<string>;
  #stepsLeft: number;

  constructor(steps: number, states: Set<string>) {
    this.#stepsLeft = steps;
    this.#states = states;
  }

  /** To be called in every loop whose end the code under test decides; throws when the case has done too much. */
  step(): void {
    this.#stepsLeft--;
    assert.ok(this.#stepsLeft >= 0, "the case does not come to an end: its step budget is used up");
  }

  /** Says what the case does next; printed with FUZZ_TRACE. */
  trace(...what: unknown[]): void {
    if (FUZZ_TRACE !== undefined) console.error(...what);
  }

  /** Notes that something worth counting was reached, say an opcode with its status. */
  note(state: string): void {
    if (this.#states.size < STATES_MAX) this.#states.add(state);
  }
}

export interface FuzzOptions {
  /** Part of FUZZ_SECONDS that this target takes, where a file has several (1). */
  share?: number;
  /** Steps of one case. */
  steps?: number;
}

export type FuzzCase = (random: Random, budget: Budget) => void | Promise<void>;

/** True if FUZZ_TARGET lets this target run. */
export function isWanted(name: string, wanted: string | undefined = FUZZ_TARGET): boolean {
  return wanted === undefined || name === wanted || name.startsWith(`${wanted}/`);
}

/** Declares a target: a test that runs `run` with one seed after another. Every case makes its own world from its seed. */
export function fuzz(name: string, run: FuzzCase, options: FuzzOptions = {}): void {
  if (!isWanted(name)) return;
  // A target asked for by name has all the time for itself.
  const share = name === FUZZ_TARGET ? 1 : (options.share ?? 1);
  const seconds = isReplay ? 0 : Number(FUZZ_SECONDS ?? SECONDS_BY_DEFAULT) * share;
  const first = Number(FUZZ_SEED ?? (FUZZ_SECONDS === undefined ? FIRST_SEED : Date.now() % 2 ** 32));
  test(`fuzz: ${name}`, async (t) => {
    const { cases, states } = await runCases(name, run, { first, seconds, steps: options.steps ?? STEPS_MAX });
    assert.ok(cases > 0, "no case has run");
    t.diagnostic(`${name}: ${cases} cases from seed ${first}, ${states} states`);
  });
}

/** Runs seeds from `first` until `seconds` have passed, at least one. Throws what a case throws, with its seed. */
export async function runCases(
  name: string,
  run: FuzzCase,
  { first, seconds, steps, caseCpuMs = CASE_CPU_MS }: { first: number; seconds: number; steps: number; caseCpuMs?: number },
): Promise<{ cases: number; states: number }> {
  const states = new Set<string>();
  const report = reporter(name, first);
  const watch = await watchCases(repeatWith(name, SEED_PLACE), caseCpuMs);
  const end = performance.now() + seconds * 1000;
  let cases = 0;
  try {
    do {
      const seed = (first + cases) % 2 ** 32;
      watch.begin(seed);
      try {
        await run(new Random(seed), new Budget(steps, states));
      } catch (cause) {
        throw new Error(`${name}: ${messageOf(cause)}\nrepeat: ${repeatWith(name, String(seed))}`, { cause });
      }
      cases++;
      report(cases, states.size);
    } while (performance.now() < end);
  } finally {
    await watch.end();
  }
  report(cases, states.size, true);
  return { cases, states: states.size };
}

/** The command that runs one case again. */
export const repeatWith = (name: string, seed: string): string => `FUZZ_SEED=${seed} FUZZ_TARGET=${name} npm run fuzz`;

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
