// Experiment 5: IP over InfiniBand, by netperf, beside the guests' Ethernet.

import { countPerOperation, hcaTally, type TakeTally } from "../counting.ts";
import type { Experiment, FigureSpec, Step, StepContext } from "../plan.ts";
import type { Side } from "../report.ts";
import { pointsOf, sweep } from "../series.ts";
import {
  roundTripCommand,
  runTransactions,
  streamCommand,
  streamRate,
  type Target,
  transactionRate,
  virtioTally,
} from "./netperf.ts";

const size = { name: "message size", unit: "B", scale: "log" } as const;

const STREAM: FigureSpec = {
  ...{ id: "ipoib-stream", experiment: 5, title: "IPoIB: netperf TCP_STREAM", kind: "lines", x: size, isLowerBetter: false },
  y: { name: "throughput", unit: "MB/s", scale: "log" },
  notes: [
    "IPoIB in datagram mode, whose packets hold 2044 bytes; the Ethernet's hold 1500, and virtio-net carries up to 64 KiB of TCP at once.",
  ],
};

const ROUND_TRIPS: FigureSpec = {
  ...{ id: "ipoib-rr", experiment: 5, title: "IPoIB: netperf TCP_RR", kind: "lines", x: size, isLowerBetter: false },
  y: { name: "transactions", unit: "1/s", scale: "log" },
  notes: ["A request and an answer of the same size are a transaction."],
};

/** The packets of a stream are not counted: how many there are is TCP's choice. */
const COUNTED = { short: 100, long: 300 };

function step(side: Side, place: "mapped" | "trapped", target: Target, tallyOf: (context: StepContext) => TakeTally): Step {
  return {
    figures: [STREAM.id, ROUND_TRIPS.id],
    side,
    place,
    measure: async (context) => {
      const { runs, slowSizes, seconds, transactions } = context.effort;
      const first = slowSizes[0] ?? 1;
      const stream = await sweep(runs, slowSizes, (bytes) => streamRate(context, target, bytes));
      const rates = await sweep(runs, slowSizes, (bytes) => transactionRate(context, target, bytes));
      const run = (count: number): Promise<void> => runTransactions(context, target, count);
      const counts = await countPerOperation(tallyOf(context), run, COUNTED);
      return [
        { figure: STREAM.id, series: { points: pointsOf(stream), command: streamCommand(target, first, seconds) } },
        {
          figure: ROUND_TRIPS.id,
          series: { points: pointsOf(rates), counts, command: roundTripCommand(target, first, transactions) },
        },
      ];
    },
  };
}

const overHca = (context: StepContext): TakeTally => hcaTally(context.pair);

export const ipoib: Experiment = {
  number: 5,
  name: "ipoib",
  figures: [STREAM, ROUND_TRIPS],
  steps: [
    step("mapped", "mapped", "n1-ib", overHca),
    step("tcp", "mapped", "n1", virtioTally),
    { ...step("trapped", "trapped", "n1-ib", overHca), isSlow: true },
  ],
};
