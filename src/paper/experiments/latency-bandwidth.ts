// Experiments 1 and 2: latency and bandwidth of send/receive and RDMA write against the size of the message, polled.

import { countPerOperation } from "../counting.ts";
import type { Experiment, FigureSpec, Step } from "../plan.ts";
import { pointsOf, sweep } from "../series.ts";
import { nativeStep } from "./native.ts";
import { oneWay, roundTripCommand, runTransactions, streamCommand, streamRate, virtioTally } from "./netperf.ts";
import { answeredStep, hcaStep, type Perftest, rxeStep } from "./perftest.ts";

const size = { name: "message size", unit: "B", scale: "log" } as const;
const latencyAxes = { x: size, y: { name: "one-way latency", unit: "µs", scale: "log" } } as const;
const bandwidthAxes = { x: size, y: { name: "bandwidth", unit: "MB/s", scale: "log" } } as const;

const latencyFigure = (id: string, what: string): FigureSpec => ({
  ...{ id, experiment: 1, title: `Latency of ${what}`, kind: "lines", ...latencyAxes, isLowerBetter: true },
  notes: ["Polled. One way: half of what a message takes there and back."],
});

/** Only one of the VMs polls. */
const READ: FigureSpec = {
  ...latencyFigure("latency-read", "RDMA read"),
  y: { name: "latency, there and back", unit: "µs", scale: "log" },
  notes: [
    "Not in the paper. Polled by the reader; the other VM has nothing to do. So two cores are enough for the reader and the HCA.",
  ],
};

const bandwidthFigure = (id: string, what: string): FigureSpec => ({
  ...{ id, experiment: 2, title: `Bandwidth of ${what}`, kind: "lines", ...bandwidthAxes, isLowerBetter: false },
  notes: ["One sender, many messages under way."],
});

/** The steps of a test in guests: over the HCA with doorbells mapped and trapped, and over rxe. */
const inGuests = (test: Perftest): Step[] => [hcaStep(test, "mapped"), hcaStep(test, "trapped"), rxeStep(test)];

/** And with doorbells that are waited for, where a message costs about as much as its doorbell. */
const withAnswers = (test: Perftest): Step[] => [...inGuests(test), answeredStep(test)];

const COUNTED = { short: 100, long: 300 };

const tcpLatency: Step = {
  figures: ["latency-send"],
  side: "tcp",
  place: "mapped",
  measure: async (context) => {
    const { runs, slowSizes, transactions } = context.effort;
    const samples = await sweep(runs, slowSizes, (bytes) => oneWay(context, "n1", bytes));
    // A transaction is two messages, as an iteration of perftest is.
    const run = (messages: number): Promise<void> => runTransactions(context, "n1", messages / 2);
    const counts = await countPerOperation(virtioTally(context), run, COUNTED);
    const command = roundTripCommand("n1", slowSizes[0] ?? 1, transactions);
    return [{ figure: "latency-send", series: { points: pointsOf(samples), counts, command } }];
  },
};

const tcpBandwidth: Step = {
  figures: ["bandwidth-send"],
  side: "tcp",
  place: "mapped",
  measure: async (context) => {
    const { runs, slowSizes, seconds } = context.effort;
    const samples = await sweep(runs, slowSizes, (bytes) => streamRate(context, "n1", bytes));
    return [
      {
        figure: "bandwidth-send",
        series: { points: pointsOf(samples), command: streamCommand("n1", slowSizes[0] ?? 1, seconds) },
      },
    ];
  },
};

export const latency: Experiment = {
  number: 1,
  name: "latency",
  figures: [latencyFigure("latency-send", "send/receive"), latencyFigure("latency-write", "RDMA write"), READ],
  steps: [
    nativeStep("latency-send", { kind: "latency", operation: "send" }),
    nativeStep("latency-write", { kind: "latency", operation: "write" }),
    ...withAnswers({ figure: "latency-send", program: "ib_send_lat", kind: "latency" }),
    ...withAnswers({ figure: "latency-write", program: "ib_write_lat", kind: "latency" }),
    ...withAnswers({ figure: READ.id, program: "ib_read_lat", kind: "latency" }),
    tcpLatency,
  ],
};

export const bandwidth: Experiment = {
  number: 2,
  name: "bandwidth",
  figures: [bandwidthFigure("bandwidth-send", "send/receive"), bandwidthFigure("bandwidth-write", "RDMA write")],
  steps: [
    nativeStep("bandwidth-send", { kind: "bandwidth", operation: "send" }),
    nativeStep("bandwidth-write", { kind: "bandwidth", operation: "write" }),
    ...inGuests({ figure: "bandwidth-send", program: "ib_send_bw", kind: "bandwidth" }),
    ...withAnswers({ figure: "bandwidth-write", program: "ib_write_bw", kind: "bandwidth" }),
    tcpBandwidth,
  ],
};
