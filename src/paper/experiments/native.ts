// The native side: a verbs process of the host, without a VM.

import { countPerOperation } from "../counting.ts";
import { NativePair } from "../native/run.ts";
import type { NativeTest } from "../native/test.ts";
import type { Step, StepContext } from "../plan.ts";
import { pointsOf, repeat, type Sample } from "../series.ts";

/** 2 B to 8 MiB, as perftest has them. */
const ALL_SIZES: readonly number[] = Array.from({ length: 23 }, (_, i) => 2 ** (i + 1));
const COUNTED = { short: 1000, long: 3000 };
const COMMAND = "a Node.js process on vhca/verbs (src/paper/native/process.ts)";

/** Fills a figure whose points are those of one native test. @param label of the series */
export function nativeStep(figure: string, test: Omit<NativeTest, "sizes" | "iterations">, label?: string): Step {
  return {
    figures: [figure],
    side: "native",
    place: "host",
    measure: async (context) => {
      await using pair = await NativePair.start();
      const sizes = context.effort.sizes ?? ALL_SIZES;
      const run = (iterations: number, of: readonly number[]) => runNative(pair, context, { ...test, sizes: of, iterations });
      const iterations = context.effort.native * (test.kind === "bandwidth" ? 4 : 1);
      const samples = await repeat(context.effort.runs, () => run(iterations, sizes));
      const each = test.kind === "bandwidth" ? 1 : 2;
      const counted = async (operations: number): Promise<void> => {
        await run(operations / each, [8]);
      };
      const counts = await countPerOperation(pair.tally, counted, COUNTED);
      const name = label === undefined ? {} : { label };
      return [{ figure, series: { ...name, points: pointsOf(samples), counts, command: COMMAND } }];
    },
  };
}

async function runNative(pair: NativePair, { signal, say }: StepContext, test: NativeTest): Promise<Sample[]> {
  say(`native process: ${test.kind}, ${test.operation}`);
  return (await pair.run(test, signal)).map(({ x, y }) => ({ x, y }));
}
