// How many bytes a second one queue pair moves, beside memcpy over the same amount of memory and beside the C engine.

import { PAGE_BYTES } from "../../../src/driver/dma-heap.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { type Figure, ratioAtLeast } from "../figure.ts";
import { type Lane, Lanes } from "../lanes.ts";
import type { Link } from "../link.ts";
import { type Stream, writeStream } from "../loops.ts";
import { newPages, PageRegion, shuffled } from "../page-region.ts";
import { median } from "../statistics.ts";

const KIB = 1024;
const MIB = KIB * KIB;
const GIGA = 1e9;
/** What one measurement moves. */
const TOTAL_BYTES = 2 ** 31;
/** Fits into a core's cache with its copy. */
const SMALL_SET = 256 * KIB;
/** Fits into no cache. */
const LARGE_SET = 64 * MIB;

interface Case {
  readonly name: string;
  readonly messageBytes: number;
  readonly setBytes: number;
  readonly isScattered: boolean;
}

const CASES: readonly Case[] = [
  { name: "64 KiB writes in cache", messageBytes: 64 * KIB, setBytes: SMALL_SET, isScattered: false },
  { name: "64 KiB writes out of cache", messageBytes: 64 * KIB, setBytes: LARGE_SET, isScattered: false },
  { name: "1 MiB writes out of cache", messageBytes: MIB, setBytes: LARGE_SET, isScattered: false },
  { name: "4 KiB pages scattered, in cache", messageBytes: 64 * KIB, setBytes: SMALL_SET, isScattered: true },
  { name: "4 KiB pages scattered, out of cache", messageBytes: 64 * KIB, setBytes: LARGE_SET, isScattered: true },
];

/** Registers the memory of every case at both ends: the same pages in different orders. */
function streamsOf({ near, far }: Link): Stream[] {
  const nearPages = newPages(near.guest.device, LARGE_SET);
  const farPages = newPages(far.guest.device, LARGE_SET);
  return CASES.map(({ messageBytes, setBytes, isScattered }) => {
    const count = setBytes / PAGE_BYTES;
    const order = (pages: number[], seed: number): number[] =>
      isScattered ? shuffled(pages.slice(0, count), seed) : pages.slice(0, count);
    const from = new PageRegion(near.guest.device, near.region.pd, order(nearPages, 1));
    const to = new PageRegion(far.guest.device, far.region.pd, order(farPages, 2));
    return { from, to, messageBytes };
  });
}

/** GB/s. */
function bandwidthOf(lane: Lane<Stream[]>, index: number, totalBytes: number): number {
  return Lanes.run(lane, (link, streams) => {
    const stream = streams[index];
    if (stream === undefined) throw new Error(`invariant: case ${index}`);
    const count = Math.max(1, Math.round(totalBytes / stream.messageBytes));
    return (count * stream.messageBytes) / writeStream(link, stream, count);
  });
}

/** What has been measured of one case, in GB/s. */
class Samples {
  readonly engine: number[] = [];
  readonly c: number[] = [];
  readonly memcpy: number[] = [];
  /** The same beside a program that polls, which the engines always have. */
  readonly polledMemcpy: number[] = [];
}

async function measureCase(context: BenchContext, lanes: Lanes<Stream[]>, index: number, samples: Samples): Promise<void> {
  const { tools, show } = context;
  const { name, messageBytes, setBytes, isScattered } = CASES[index] as Case;
  const totalBytes = scaled(context, TOTAL_BYTES);
  const rounds = Math.ceil(context.rounds / 2);
  for (const lane of lanes.all) bandwidthOf(lane, index, totalBytes);
  for (let round = 1; round <= rounds; round++) {
    show(`${name}, round ${round} of ${rounds}`);
    samples.engine.push(bandwidthOf(lanes.engine, index, totalBytes));
    if (lanes.c !== undefined) samples.c.push(bandwidthOf(lanes.c, index, totalBytes));
    if (tools === undefined) continue;
    const memcpy = async (isPolled: boolean): Promise<number> =>
      (await tools.memcpy(messageBytes, setBytes, isScattered ? PAGE_BYTES : 0, totalBytes, isPolled)) / GIGA;
    samples.memcpy.push(await memcpy(false));
    samples.polledMemcpy.push(await memcpy(true));
  }
}

function figuresOf({ name, isScattered }: Case, { engine, c, memcpy, polledMemcpy }: Samples): Figure[] {
  const value = median(engine);
  const goal = ratioAtLeast(isScattered ? 0.8 : 0.9);
  const reference = memcpy.length === 0 ? undefined : { name: "memcpy", value: median(memcpy) };
  const figures: Figure[] = [{ name, value, unit: "GB/s", reference, goal }];
  const others = [
    ["C", "C engine", c],
    ["memcpy beside a program that polls", "memcpy", polledMemcpy],
  ] as const;
  for (const [what, other, samples] of others) {
    if (samples.length === 0) continue;
    figures.push({ name: `${name}, against ${what}`, value, unit: "GB/s", reference: { name: other, value: median(samples) } });
  }
  return figures;
}

export const bandwidth: Group = {
  name: "bandwidth",
  summary: "messages of 64 KiB and more over one queue pair; 4 KiB pages scattered",
  async measure(context) {
    const guests = { memoryMiB: 128, mtts: 2 ** 18 };
    const samples = CASES.map(() => new Samples());
    const prepare = (link: Link) => {
      const value = streamsOf(link);
      return { value, near: value.map(({ from }) => from), far: value.map(({ to }) => to) };
    };
    // Whose guests come first may have the slower pages, by a tenth and more: each has been first once.
    for (const isCFirst of [false, true]) {
      const lanes = await Lanes.open(context, { guests, prepare }, isCFirst);
      try {
        for (const [index, each] of samples.entries()) await measureCase(context, lanes, index, each);
      } finally {
        await lanes.close();
      }
    }
    return CASES.flatMap((each, index) => figuresOf(each, samples[index] as Samples));
  },
};
