// Experiment 3: what it costs to be told of events. The device channel, and blocking verbs beside polling.

import { NativePair } from "../native/run.ts";
import type { NativeTest } from "../native/test.ts";
import type { Experiment, FigureSpec, Measured, Step, StepContext } from "../plan.ts";
import { pointsOf, repeat } from "../series.ts";
import { DOORBELL, doorbellStep } from "./doorbell.ts";
import { COMMAND, nativeSeries, runNative } from "./native.ts";
import { hcaSeries, type Perftest } from "./perftest.ts";

const CHANNEL: FigureSpec = {
  ...{ id: "channel", experiment: 3, title: "Device channel", kind: "lines", isLowerBetter: true },
  x: { name: "bytes", unit: "B", scale: "log" },
  y: { name: "one-way time", unit: "µs", scale: "log" },
  notes: [
    "From a process of the host to the device domain. Command: a firmware command (MAP_ICM) that carries so many bytes, half of its time; mapped, its registers are shared memory that the engine polls. Message: a vfio-user read of so many bytes, half of its time.",
  ],
};

const EVENTS: FigureSpec = {
  ...{ id: "events", experiment: 3, title: "Latency of send/receive, polling and blocking", kind: "lines", isLowerBetter: true },
  x: { name: "message size", unit: "B", scale: "log" },
  y: { name: "one-way latency", unit: "µs", scale: "log" },
  notes: ["Blocking: the receiver sleeps until a completion event (an interrupt, in a VM) wakes it."],
};

/** As many as MAP_ICM carries in a command. */
const CHANNEL_SIZES = [16, 64, 256, 1024, 4096];
/** A device carries out 20,000 commands a second; fewer than that are not delayed. */
const CHANNEL_ITERATIONS_MAX = 500;

const channelStep: Step = {
  figures: [CHANNEL.id],
  side: "native",
  place: "host",
  measure: async (context) => [
    await channelSeries(context, "mapped", "commands", "command, mapped"),
    await channelSeries(context, "trapped", "commands", "command, trapped"),
    await channelSeries(context, "trapped", "messages", "message"),
  ],
};

async function channelSeries(
  context: StepContext,
  doorbells: "mapped" | "trapped",
  kind: NativeTest["kind"],
  label: string,
): Promise<Measured> {
  await using pair = await NativePair.start(doorbells);
  const { native, runs } = context.effort;
  const test: NativeTest = {
    ...{ kind, operation: "send", sizes: CHANNEL_SIZES },
    iterations: Math.min(native, CHANNEL_ITERATIONS_MAX),
  };
  const samples = await repeat(runs, () => runNative(pair, context, test));
  return { figure: CHANNEL.id, series: { label, points: pointsOf(samples), command: COMMAND } };
}

const nativeEvents: Step = {
  figures: [EVENTS.id],
  side: "native",
  place: "host",
  measure: async (context) => {
    await using pair = await NativePair.start();
    const sizes = context.effort.slowSizes;
    const polling = await nativeSeries(pair, context, { kind: "latency", operation: "send" }, sizes);
    const blocking = await nativeSeries(pair, context, { kind: "events", operation: "send" }, sizes);
    return [
      { figure: EVENTS.id, series: { label: "polling", ...polling } },
      { figure: EVENTS.id, series: { label: "blocking", ...blocking } },
    ];
  },
};

const guestEvents = (side: "mapped" | "trapped"): Step => ({
  figures: [EVENTS.id],
  side,
  place: side,
  measure: async (context) => {
    const test: Perftest = { figure: EVENTS.id, program: "ib_send_lat", kind: "latency", sizes: context.effort.slowSizes };
    return [
      await hcaSeries(context, { ...test, label: "polling" }),
      await hcaSeries(context, { ...test, label: "blocking", flags: "-e" }),
    ];
  },
});

export const events: Experiment = {
  number: 3,
  name: "events",
  figures: [DOORBELL, CHANNEL, EVENTS],
  steps: [
    channelStep,
    nativeEvents,
    doorbellStep("mapped"),
    guestEvents("mapped"),
    doorbellStep("trapped"),
    doorbellStep("answered"),
    { ...guestEvents("trapped"), isSlow: true },
  ],
};
