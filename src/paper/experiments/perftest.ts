// Latency and bandwidth of verbs in guests, by perftest.

import { perftestRows } from "../../lab/perftest.ts";
import { lastWords, runPerftest } from "../../lab/two-sides.ts";
import { countPerOperation, ethernetTally, hcaTally, type TakeTally } from "../counting.ts";
import type { Measured, Step, StepContext } from "../plan.ts";
import type { Counts } from "../report.ts";
import { pointsOf, type Sample, sweep } from "../series.ts";
import { RXE_DEVICE, withRxe } from "./rxe.ts";

const HCA_DEVICE = "mthca0";
/** How a row of perftest's tables is read: bytes and the typical (median) latency in µs, or bytes and MB/s. */
const READ = {
  latency: ([x = Number.NaN, , , , typical = Number.NaN]: readonly number[]): Sample => ({ x, y: typical }),
  // From millions of messages per second, which has six decimals; the bandwidth has two.
  bandwidth: ([x = Number.NaN, , , , rate = Number.NaN]: readonly number[]): Sample => ({ x, y: rate * x }),
} as const;
const COUNTED_BYTES = 8;
/** A size may take long where a message takes milliseconds. */
const TIMEOUT_MS = 180_000;

export interface Perftest {
  readonly figure: string;
  /** `ib_send_lat`, `ib_write_bw`, … */
  readonly program: string;
  readonly kind: keyof typeof READ;
  /** `-e` */
  readonly flags?: string | undefined;
  readonly label?: string | undefined;
  /** Instead of those that all tests have. */
  readonly sizes?: readonly number[] | undefined;
}

/** One run at one size, or at all of them. */
interface Run {
  readonly device: string;
  /** Undefined: all sizes. */
  readonly size: number | undefined;
  readonly iterations: number;
}

function commandOf({ program, flags }: Perftest, { device, size, iterations }: Run): string {
  const sizes = size === undefined ? "-a" : `-s ${size}`;
  return [program, "-d", device, sizes, "-n", iterations, flags].filter((word) => word !== undefined).join(" ");
}

async function runOnce({ pair, signal, say }: StepContext, test: Perftest, run: Run): Promise<Sample[]> {
  const server = commandOf(test, run);
  const client = `${server} n1`;
  say(client);
  const result = await runPerftest(pair.lab, { server, client }, { signal, timeoutMs: TIMEOUT_MS });
  const samples = perftestRows(result.client.stdout).map(READ[test.kind]);
  if (result.client.status !== 0 || result.server.status !== 0 || samples.length === 0)
    throw new Error(`${client}: ${lastWords(result)}`);
  return samples;
}

/** Where latency is measured, an iteration is a message there and one back; but a read, which is both, is one operation. */
const messagesPerIteration = ({ kind, program }: Perftest): number => (kind === "latency" && program !== "ib_read_lat" ? 2 : 1);

/** Over the HCA. */
export function hcaStep(test: Perftest, side: "mapped" | "trapped"): Step {
  return { figures: [test.figure], side, place: side, measure: async (context) => [await hcaSeries(context, test)] };
}

/** The same where guests wait for the answer to each doorbell, at a few sizes. */
export const answeredStep = (test: Perftest): Step => ({
  figures: [test.figure],
  side: "answered",
  place: "answered",
  measure: async (context) => [await hcaSeries(context, { ...test, sizes: context.effort.answeredSizes })],
});

/** The series of a test over the HCA of the step's guests. */
export async function hcaSeries(context: StepContext, test: Perftest): Promise<Measured> {
  const { effort, pair } = context;
  const iterations = test.flags?.includes("-e") === true ? effort.events : effort[test.kind];
  const sizes = test.sizes ?? effort.sizes ?? [undefined];
  const samples = await sweep(effort.runs, sizes, (size) => runOnce(context, test, { device: HCA_DEVICE, size, iterations }));
  const counts = await count(context, test, HCA_DEVICE, hcaTally(pair), iterations);
  return measured(test, samples, counts, { device: HCA_DEVICE, size: sizes[0], iterations });
}

/** Over soft-RoCE on the guests' Ethernet; sends are enough to see that it works. */
export function rxeStep(test: Perftest): Step {
  return {
    figures: [test.figure],
    side: "rxe",
    place: "mapped",
    isSlow: !test.program.startsWith("ib_send"),
    measure: (context) => withRxe(context, () => measureRxe(context, test)),
  };
}

async function measureRxe(context: StepContext, test: Perftest): Promise<Measured[]> {
  const { effort, pair } = context;
  const runAt = (size: number): Run => ({ device: RXE_DEVICE, size, iterations: slowIterations(context, test, size) });
  const samples = await sweep(effort.runs, effort.slowSizes, (size) => runOnce(context, test, runAt(size)));
  const counts = await count(context, test, RXE_DEVICE, ethernetTally(pair.lab), effort.slowLatency);
  return [measured(test, samples, counts, runAt(effort.slowSizes[0] ?? 1))];
}

/** perftest wants at least five iterations. */
const ITERATIONS_MIN = 5;

function slowIterations({ effort }: StepContext, { kind }: Perftest, size: number): number {
  const byBytes = Math.max(ITERATIONS_MIN, Math.ceil(effort.slowBytes / size));
  return Math.min(byBytes, kind === "latency" ? effort.slowLatency : effort.bandwidth);
}

function count(context: StepContext, test: Perftest, device: string, tally: TakeTally, iterations: number): Promise<Counts> {
  const each = messagesPerIteration(test);
  const run = async (operations: number): Promise<void> => {
    await runOnce(context, test, { device, size: COUNTED_BYTES, iterations: operations / each });
  };
  const short = Math.ceil(iterations / 2) * each;
  return countPerOperation(tally, run, { short, long: short * 3 });
}

function measured(test: Perftest, samples: readonly Sample[], counts: Counts, run: Run): Measured {
  const command = `${commandOf(test, run)} n1`;
  return {
    figure: test.figure,
    series: { ...(test.label === undefined ? {} : { label: test.label }), points: pointsOf(samples), counts, command },
  };
}
