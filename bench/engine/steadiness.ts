// Whether the machine stayed the same while figures were measured. The processors of a virtual machine are at times two threads of one core and
// at times two cores, and a word then takes five times as long from one to the other (decision 16): a figure from one state beside a
// reference from the other says nothing.

import { setTimeout } from "node:timers/promises";
import type { CTools } from "./c-tools.ts";
import type { BenchContext, Group } from "./context.ts";
import type { Figure } from "./figure.ts";
import { median, quantile } from "./statistics.ts";

const WORDS = 20_000;
/** So many looks, so far from each other: a state that lasts half a second only is lost among the rounds of a group. */
const LOOKS = 5;
const PAUSE_MS = 150;
/** Between the two states lies a factor of five; within one, less than this. */
const SAME_FACTOR = 2;
const TRIALS = 2;

/** What a bare word took one way, in ns, before and after the figures of a group. */
export interface Steadiness {
  readonly group: string;
  readonly wordNs: readonly [number, number];
  readonly isSteady: boolean;
}

export interface Measured {
  readonly figures: Figure[];
  /** Undefined where there is no C compiler. */
  readonly steadiness: Steadiness | undefined;
}

/** Measures a group, once more if the machine has changed meanwhile; of two such trials the second counts. */
export async function measureSteadily(group: Group, context: BenchContext): Promise<Measured> {
  const { tools } = context;
  if (tools === undefined) return { figures: await group.measure(context), steadiness: undefined };
  for (let trial = 1; ; trial++) {
    const before = await wordNs(tools);
    const figures = await group.measure(context);
    const after = await wordNs(tools);
    const isSteady = Math.max(before, after) <= SAME_FACTOR * Math.min(before, after);
    if (isSteady || trial === TRIALS) return { figures, steadiness: { group: group.name, wordNs: [before, after], isSteady } };
    context.show(`${group.name}: the machine has changed meanwhile, measured again`);
  }
}

async function wordNs(tools: CTools): Promise<number> {
  const looks: number[] = [];
  for (let i = 0; i < LOOKS; i++) {
    if (i > 0) await setTimeout(PAUSE_MS);
    looks.push(quantile((await tools.pingPong(WORDS)).sort(), 0.5));
  }
  return Math.round(median(looks));
}

/** A line for people, if the machine did not stay the same. */
export function steadinessNote({ group, wordNs: [before, after], isSteady }: Steadiness): string | undefined {
  if (isSteady) return undefined;
  return `${group}: the machine changed meanwhile (a word one way: ${before} ns before, ${after} ns after); its ratios mean little`;
}
