// HCAs on two engine threads, whose messages are packets, beside the same HCAs on one, whose messages are copied in one go. And the same
// packets with both engines taking turns on one core: what they cost when nobody waits for another core.

import { Random } from "../../../src/base/random.ts";
import { InProcessPair } from "../../../src/domain/in-process-pair.ts";
import { systemClock } from "../../../src/host/clock.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import type { Figure } from "../figure.ts";
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

async function openWith(context: BenchContext, engines: number): Promise<Lanes<Stream>> {
  return Lanes.openEngine(context, {
    guests: GUESTS,
    engines,
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
    for (const engines of [1, 2])
      all.push({ lanes: await openWith(context, engines), taken: { samples: [], rate: [], bandwidth: [] } });
    for (const { lanes } of all) measureOnce(context, lanes, undefined);
    for (let round = 1; round <= context.rounds; round++) {
      context.show(`engine threads, round ${round} of ${context.rounds}`);
      for (const { lanes, taken } of all) measureOnce(context, lanes, taken);
    }
  } finally {
    for (const { lanes } of all.reverse()) await lanes.close();
    all.reverse();
  }
  const [one, two] = all.map(({ taken }) => ({
    p50: quantile(sorted(taken.samples), 0.5),
    rate: median(taken.rate),
    bandwidth: median(taken.bandwidth),
  }));
  if (one === undefined || two === undefined) throw new Error("invariant: two arrangements");
  const against = (value: number): { name: string; value: number } => ({ name: "one engine", value });
  return [
    { name: "two engines: 8 B write, one way, p50", value: two.p50, unit: "ns", reference: against(one.p50) },
    { name: "two engines: 8 B writes", value: two.rate, unit: "M/s", reference: against(one.rate) },
    { name: "two engines: 64 KiB writes", value: two.bandwidth, unit: "GB/s", reference: against(one.bandwidth) },
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
  summary: "HCAs on two engine threads, whose messages are packets",
  measure: async (context) => [...onOneCore(context), ...(await onThreads(context))],
};
