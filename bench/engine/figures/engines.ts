// Messages that are packets, on one engine and between two engine threads, beside those that are copied in one go. And the same
// packets with both engines taking turns on one core: what they cost when nobody waits for another core.

import { Random } from "../../../src/base/random.ts";
import { InProcessPair } from "../../../src/domain/in-process-pair.ts";
import { systemClock } from "../../../src/host/clock.ts";
import type { DataPath } from "../../../src/transport/network.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { atLeast, atMost, type Figure, type Goal } from "../figure.ts";
import { Lanes } from "../lanes.ts";
import type { Link } from "../link.ts";
import { type Stream, WRITES_PER_BATCH, writeLatency, writeRate, writeStream } from "../loops.ts";
import { newPages, PageRegion } from "../page-region.ts";
import { median, quantile, sorted } from "../statistics.ts";

const KIB = 1024;
const SET_BYTES = 256 * KIB;
const MESSAGE_BYTES = 64 * KIB;
const STREAM_BYTES = 2 ** 28;
const BATCHES = 10_000;
const SAMPLES = 20_000;
const OPERATIONS = 50_000;
const GUESTS = { memoryMiB: 32, mtts: 2 ** 16 };

/** What one arrangement of engines does, in each round. */
interface Taken {
  readonly samples: Float64Array[];
  readonly rate: number[];
  readonly bandwidth: number[];
}

function streamOf({ near, far }: Link): Stream {
  const [from, to] = [near, far].map(({ guest, region }) => {
    const pages = newPages(guest.device, SET_BYTES);
    return new PageRegion(guest.device, region.pd, pages);
  });
  if (from === undefined || to === undefined) throw new Error("invariant: two ends");
  return { from, to, messageBytes: MESSAGE_BYTES };
}

/** How the HCAs are arranged, and what is asked of that. */
interface Arrangement {
  readonly name: string;
  readonly engines: number;
  readonly dataPath: DataPath;
  readonly goals?: { readonly p50: Goal; readonly bandwidth: Goal };
}

const ARRANGEMENTS: readonly [Arrangement, ...Arrangement[]] = [
  { name: "one engine", engines: 1, dataPath: "short" },
  {
    name: "by packets",
    engines: 1,
    dataPath: "packets",
    goals: { p50: atMost(3000, "ns"), bandwidth: atLeast(1.5, "GB/s") },
  },
  { name: "two engines", engines: 2, dataPath: "auto" },
];

async function openWith(context: BenchContext, { engines, dataPath }: Arrangement): Promise<Lanes<Stream>> {
  return Lanes.openEngine(context, {
    guests: GUESTS,
    engines,
    dataPath,
    prepare: (link) => {
      const value = streamOf(link);
      return { value, near: [value.from], far: [value.to] };
    },
  });
}

function measureOnce(context: BenchContext, lanes: Lanes<Stream>, taken: Taken | undefined): void {
  Lanes.run(lanes.engine, (link, stream) => {
    const samples = new Float64Array(scaled(context, SAMPLES));
    writeLatency(link, samples);
    const batches = scaled(context, BATCHES);
    const rate = (batches * WRITES_PER_BATCH) / writeRate(link, batches);
    const count = Math.max(8, Math.round(scaled(context, STREAM_BYTES) / MESSAGE_BYTES));
    const bandwidth = (count * MESSAGE_BYTES) / writeStream(link, stream, count);
    taken?.samples.push(samples);
    // Per ns: thousands of millions a second.
    taken?.rate.push(rate * 1000);
    taken?.bandwidth.push(bandwidth);
  });
}

async function onThreads(context: BenchContext): Promise<Figure[]> {
  const all: { lanes: Lanes<Stream>; taken: Taken }[] = [];
  try {
    for (const arrangement of ARRANGEMENTS)
      all.push({ lanes: await openWith(context, arrangement), taken: { samples: [], rate: [], bandwidth: [] } });
    for (const { lanes } of all) measureOnce(context, lanes, undefined);
    for (let round = 1; round <= context.rounds; round++) {
      context.show(`engine threads, round ${round} of ${context.rounds}`);
      for (const { lanes, taken } of all) measureOnce(context, lanes, taken);
    }
  } finally {
    for (const { lanes } of [...all].reverse()) await lanes.close();
  }
  const [reference, ...others] = all.map(({ taken }, i) => resultsOf(ARRANGEMENTS[i] ?? ARRANGEMENTS[0], taken));
  if (reference === undefined) throw new Error("invariant: several arrangements");
  return others.flatMap((each) => figuresOf(each, reference));
}

interface Results extends Pick<Arrangement, "name" | "goals"> {
  readonly p50: number;
  readonly rate: number;
  readonly bandwidth: number;
}

const resultsOf = ({ name, goals }: Arrangement, taken: Taken): Results => ({
  name,
  ...(goals === undefined ? {} : { goals }),
  p50: quantile(sorted(taken.samples), 0.5),
  rate: median(taken.rate),
  bandwidth: median(taken.bandwidth),
});

function figuresOf({ name, p50, rate, bandwidth, goals }: Results, one: Results): Figure[] {
  const against = (value: number): { name: string; value: number } => ({ name: one.name, value });
  return [
    { name: `${name}: 8 B write, one way, p50`, value: p50, unit: "ns", reference: against(one.p50), goal: goals?.p50 },
    { name: `${name}: 8 B writes`, value: rate, unit: "M/s", reference: against(one.rate) },
    {
      name: `${name}: 64 KiB writes`,
      value: bandwidth,
      unit: "GB/s",
      reference: against(one.bandwidth),
      goal: goals?.bandwidth,
    },
  ];
}

/** Time of one operation, in ns, of a pair whose ends are on the same engine or on two that take turns. */
function timeOf(pair: InProcessPair, bytes: number, count: number): number {
  const once = pair.operation("write", bytes);
  const before = performance.now();
  for (let i = 0; i < count; i++) once();
  return ((performance.now() - before) * 1e6) / count;
}

function onOneCore(context: BenchContext): Figure[] {
  const [short, packets] = [1, 2].map((engines) => new InProcessPair({ clock: systemClock, random: new Random(1), engines }));
  if (short === undefined || packets === undefined) throw new Error("invariant: two pairs");
  const count = scaled(context, OPERATIONS);
  const figures: Figure[] = [];
  for (const bytes of [8, MESSAGE_BYTES]) {
    const times = { short: [] as number[], packets: [] as number[] };
    for (const pair of [short, packets]) timeOf(pair, bytes, Math.ceil(count / 4));
    for (let round = 1; round <= context.rounds; round++) {
      context.show(`packets on one core, round ${round} of ${context.rounds}`);
      times.short.push(timeOf(short, bytes, Math.ceil(count / 4)));
      times.packets.push(timeOf(packets, bytes, Math.ceil(count / 4)));
    }
    const [value, reference] = [median(times.packets), median(times.short)];
    const name = `one core: ${bytes === 8 ? "8 B" : "64 KiB"} write by packets, from post to completion`;
    figures.push({ name, value, unit: "ns", reference: { name: "short path", value: reference } });
  }
  return figures;
}

export const engines: Group = {
  name: "engines",
  summary: "messages that are packets: on one engine, and between two engine threads",
  measure: async (context) => [...onOneCore(context), ...(await onThreads(context))],
};
