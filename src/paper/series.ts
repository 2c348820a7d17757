// Points of a series from several runs of the same measurement.

import type { Point } from "./report.ts";

/** One value of one run. */
export interface Sample {
  readonly x: number;
  readonly y: number;
}

/** The median, the least and the greatest for each x, in ascending order of x. */
export function pointsOf(samples: readonly Sample[]): Point[] {
  const byX = Map.groupBy(samples, ({ x }) => x);
  return [...byX]
    .sort(([a], [b]) => a - b)
    .map(([x, group]) => {
      const values = group.map(({ y }) => y).sort((a, b) => a - b);
      const median = middle(values);
      return { x, y: median, low: values[0] ?? median, high: values.at(-1) ?? median, samples: values.length };
    });
}

function middle(sorted: readonly number[]): number {
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}

/** Measures at each of `sizes`, and all of that `runs` times, so that what disturbs a while does not disturb one size alone. */
export function sweep<Size>(
  runs: number,
  sizes: readonly Size[],
  once: (size: Size) => Promise<readonly Sample[]>,
): Promise<Sample[]> {
  return repeat(runs, async () => {
    const all: Sample[] = [];
    for (const size of sizes) all.push(...(await once(size)));
    return all;
  });
}

/** Calls `once` `runs` times and gathers what it gives. */
export async function repeat<T>(runs: number, once: () => Promise<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for (let run = 0; run < runs; run++) all.push(...(await once()));
  return all;
}
