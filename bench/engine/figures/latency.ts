// How long 8 bytes take one way, beside the C engine and beside a bare word.

import { type BenchContext, type Group, scaled } from "../context.ts";
import { type Figure, type Goal, ratioAtMost } from "../figure.ts";
import { type Lane, Lanes } from "../lanes.ts";
import type { Link } from "../link.ts";
import { clockCostNs, postReceives, sendLatency, writeLatency } from "../loops.ts";
import { quantile, sorted } from "../statistics.ts";

/** Until then an engine counts as warming up. */
const WARM_UP = 10_000;
const SAMPLES = 200_000;
const RECEIVES = 512;
const QUANTILES = [
  ["p50", 0.5],
  ["p99", 0.99],
  ["p99.9", 0.999],
  ["p99.99", 0.9999],
] as const;

type Loop = (link: Link, samples: Float64Array) => void;

const KINDS = [
  ["8 B write", writeLatency],
  ["8 B send/receive", sendLatency],
] as const;

/** Everything that one kind of operation took, in ns. */
interface Measured {
  readonly warmUp: Float64Array;
  readonly engine: Float64Array;
  readonly c: Float64Array | undefined;
}

function samplesOf(lane: Lane<undefined>, loop: Loop, count: number): Float64Array {
  const samples = new Float64Array(count);
  Lanes.run(lane, (link) => loop(link, samples));
  return samples;
}

async function measureAll(context: BenchContext, lanes: Lanes<undefined>): Promise<{ kinds: Measured[]; word: Float64Array }> {
  const { rounds, tools, show } = context;
  const count = scaled(context, SAMPLES);
  const warmUps = KINDS.map(([, loop]) => lanes.all.map((lane) => samplesOf(lane, loop, WARM_UP)));
  const taken = KINDS.map(() => ({ engine: [] as Float64Array[], c: [] as Float64Array[] }));
  const words: Float64Array[] = [];
  for (let round = 1; round <= rounds; round++) {
    show(`latency, round ${round} of ${rounds}`);
    for (const [i, [, loop]] of KINDS.entries()) {
      taken[i]?.engine.push(samplesOf(lanes.engine, loop, count));
      if (lanes.c !== undefined) taken[i]?.c.push(samplesOf(lanes.c, loop, count));
    }
    if (tools !== undefined) words.push(await tools.pingPong(count));
  }
  const kinds = taken.map(({ engine, c }, i) => ({
    warmUp: sorted(warmUps[i]?.slice(0, 1) ?? []),
    engine: sorted(engine),
    c: lanes.c === undefined ? undefined : sorted(c),
  }));
  return { kinds, word: sorted(words) };
}

function figuresOf(name: string, { warmUp, engine, c }: Measured, clockNs: number): Figure[] {
  const at = (samples: Float64Array, fraction: number): number => quantile(samples, fraction) - clockNs;
  const goals: Record<string, Goal> = { p50: ratioAtMost(1.3), "p99.9": ratioAtMost(2) };
  const steady = QUANTILES.map(([label, fraction]) => ({
    name: `${name}, one way, ${label}`,
    value: at(engine, fraction),
    unit: "ns",
    reference: c === undefined ? undefined : { name: "C engine", value: at(c, fraction) },
    goal: goals[label],
  }));
  const early = QUANTILES.slice(0, 3).map(([label, fraction]) => ({
    name: `${name}, one way, first ${WARM_UP}, ${label}`,
    value: at(warmUp, fraction),
    unit: "ns",
  }));
  return [...steady, ...early];
}

/** The medians against a bare word and against each other. */
function comparisons(kinds: readonly Measured[], word: Float64Array, clockNs: number): Figure[] {
  const [write = Number.NaN, send = Number.NaN] = kinds.map(({ engine }) => quantile(engine, 0.5) - clockNs);
  const ofWord = (fraction: number): number => quantile(word, fraction);
  const hasWord = word.length > 0;
  return [
    {
      name: "8 B write against a bare word, p50",
      value: write,
      unit: "ns",
      reference: hasWord ? { name: "C ping-pong", value: ofWord(0.5) } : undefined,
      goal: ratioAtMost(5),
    },
    {
      name: "8 B send/receive against the write, p50",
      value: send,
      unit: "ns",
      reference: { name: "8 B write", value: write },
      goal: ratioAtMost(1.3),
    },
    ...(hasWord ? [{ name: "a bare word, one way, p99.9", value: ofWord(0.999), unit: "ns" }] : []),
    { name: "reading the clock (taken off all of these)", value: clockNs, unit: "ns" },
  ];
}

export const latency: Group = {
  name: "latency",
  summary: "8 B write and 8 B send/receive, one way",
  async measure(context) {
    const lanes = await Lanes.open(context, { prepare: () => ({ value: undefined, near: [], far: [] }) });
    try {
      for (const lane of lanes.all) postReceives(lane.link.far, RECEIVES);
      const { kinds, word } = await measureAll(context, lanes);
      const clockNs = clockCostNs();
      const perKind = kinds.flatMap((measured, i) => figuresOf(KINDS[i]?.[0] ?? "", measured, clockNs));
      return [...comparisons(kinds, word, clockNs), ...perKind];
    } finally {
      await lanes.close();
    }
  },
};
