// TCP by netperf, over the Ethernet of the guests or over IPoIB.

import { ethernetTally } from "../counting.ts";
import type { StepContext } from "../plan.ts";
import type { Sample } from "../series.ts";

/** Names of n1: its Ethernet and its IPoIB address. */
export type Target = "n1" | "n1-ib";

/** netserver goes on in the background; a second one finds its port taken and says so, which is all right. */
const SERVE = "pidof netserver >/dev/null || netserver >/dev/null";

async function netperf({ pair, signal, say }: StepContext, command: string): Promise<number[]> {
  await pair.lab.node("n1").exec(SERVE, { signal });
  say(command);
  const { status, stdout, stderr } = await pair.lab.node("n2").exec(command, { signal, timeoutMs: TIMEOUT_MS });
  const cells =
    stdout
      .trim()
      .split("\n")
      .at(-1)
      ?.trim()
      .split(/[\s,]+/)
      .map(Number) ?? [];
  if (status !== 0 || cells.length === 0 || cells.some((cell) => !Number.isFinite(cell)))
    throw new Error(`${command}: status ${status}: ${(stderr + stdout).trim()}`);
  return cells;
}

const TIMEOUT_MS = 60_000;

/** Requests and answers of `size` bytes: the command. */
export const roundTripCommand = (target: Target, size: number, transactions: number): string =>
  `netperf -H ${target} -t TCP_RR -l -${transactions} -P 0 -- -r ${size},${size} -o P50_LATENCY,THROUGHPUT`;

/** One way of a message in µs: half the median time from a request to its answer. */
export async function oneWay(context: StepContext, target: Target, size: number): Promise<Sample[]> {
  const [median = Number.NaN] = await netperf(context, roundTripCommand(target, size, context.effort.transactions));
  return [{ x: size, y: median / 2 }];
}

/** Transactions per second. */
export async function transactionRate(context: StepContext, target: Target, size: number): Promise<Sample[]> {
  const [, rate = Number.NaN] = await netperf(context, roundTripCommand(target, size, context.effort.transactions));
  return [{ x: size, y: rate }];
}

/** Writes of `size` bytes one after another: the command. */
export const streamCommand = (target: Target, size: number, seconds: number): string =>
  `netperf -H ${target} -t TCP_STREAM -l ${seconds} -f K -P 0 -- -m ${size} -o THROUGHPUT`;

const BYTES_PER_KIB = 1024;

/** MB/s that arrive. */
export async function streamRate(context: StepContext, target: Target, size: number): Promise<Sample[]> {
  const [kib = Number.NaN] = await netperf(context, streamCommand(target, size, context.effort.seconds));
  return [{ x: size, y: (kib * BYTES_PER_KIB) / 1e6 }];
}

/** Runs exactly `transactions` round trips of 8 bytes, to be counted. */
export async function runTransactions(context: StepContext, target: Target, transactions: number): Promise<void> {
  await netperf(context, roundTripCommand(target, 8, transactions));
}

export const virtioTally = (context: StepContext) => ethernetTally(context.pair.lab);
