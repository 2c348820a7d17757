// The native side: a verbs process of the host, without a VM.

import { countPerOperation } from "../counting.ts";
import { NativePair } from "../native/run.ts";
import type { NativeTest } from "../native/test.ts";
import type { Measured, Step, StepContext } from "../plan.ts";
import { pointsOf, repeat, type Sample } from "../series.ts";

/** 2 B to 8 MiB, as perftest has them. */
const ALL_SIZES: readonly number[] = Array.from({ length: 23 }, (_, i) => 2 ** (i + 1));
const COUNTED_BYTES = 8;
/** A message takes less time when many are under way. */
const BANDWIDTH_TIMES = 4;
const COUNTED = { short: 1000, long: 3000 };
export const COMMAND = "a Node.js process on vhca/verbs (src/paper/native/process.ts)";

/** Fills a figure whose points are those of one native test. */
export function nativeStep(figure: string, test: Omit<NativeTest, "sizes" | "iterations">): Step {
  return {
    figures: [figure],
    side: "native",
    place: "host",
    measure: async (context) => {
      await using pair = await NativePair.start();
      const sizes = context.effort.sizes ?? ALL_SIZES;
      return [{ figure, series: await nativeSeries(pair, context, test, sizes) }];
    },
  };
}

/** The points of a native test at `sizes`, and what each of its messages has cost. */
export async function nativeSeries(
  pair: NativePair,
  context: StepContext,
  test: Omit<NativeTest, "sizes" | "iterations">,
  sizes: readonly number[],
): Promise<Measured["series"]> {
  const isOneWay = test.kind === "bandwidth";
  const { native, runs } = context.effort;
  const iterations = isOneWay ? native * BANDWIDTH_TIMES : native;
  const run = (count: number, of: readonly number[]) => runNative(pair, context, { ...test, sizes: of, iterations: count });
  const samples = await repeat(runs, () => run(iterations, sizes));
  const counted = async (messages: number): Promise<void> => {
    await run(isOneWay ? messages : messages / 2, [COUNTED_BYTES]);
  };
  const counts = await countPerOperation(pair.tally, counted, COUNTED);
  return { points: pointsOf(samples), counts, command: COMMAND };
}

export async function runNative(pair: NativePair, { signal, say }: StepContext, test: NativeTest): Promise<Sample[]> {
  say(`native process: ${test.kind}, ${test.operation}`);
  return (await pair.run(test, signal)).map(({ x, y }) => ({ x, y }));
}
