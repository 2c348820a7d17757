// How much of everything is measured: thoroughly, in a few minutes, or just enough to see that all of it works.

import type { Report } from "./report.ts";

export type Mode = Report["mode"];

export interface Effort {
  /** Repetitions of a measurement; their median counts. */
  readonly runs: number;
  /** Message sizes in bytes, where each is a run of its own; undefined: all that perftest knows, 2 B to 8 MiB, in one run. */
  readonly sizes: readonly number[] | undefined;
  /** Sizes where each message is slow or each size takes a program of its own: rxe, TCP, IPoIB. */
  readonly slowSizes: readonly number[];
  /** Sizes where every doorbell is waited for: what a message carries makes no difference to that. */
  readonly answeredSizes: readonly number[];
  /** Iterations of perftest for each size. */
  readonly latency: number;
  readonly bandwidth: number;
  readonly events: number;
  /** The same over rxe, whose messages take a hundred times as long. */
  readonly slowLatency: number;
  /** Bytes to move for one bandwidth over rxe. */
  readonly slowBytes: number;
  /** Of netperf. */
  readonly seconds: number;
  readonly transactions: number;
  /** Sizes of regions and how often each is registered. */
  readonly regions: readonly number[];
  readonly registrations: number;
  /** Of MPI: the longest message, and milliseconds for each figure of each length. */
  readonly mpi: { readonly longestBytes: number; readonly budgetMs: number };
  /** Runs of an application, and the order of HPL's matrix in hpcc. */
  readonly applicationRuns: number;
  readonly hpccOrder: number;
  /** Iterations of a native process for each size. */
  readonly native: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const EFFORTS: Readonly<Record<Mode, Effort>> = {
  full: {
    runs: 3,
    sizes: undefined,
    slowSizes: [8, 64, KIB, 4 * KIB, 16 * KIB, 64 * KIB],
    answeredSizes: [8, KIB, 64 * KIB],
    latency: 1000,
    bandwidth: 5000,
    events: 500,
    slowLatency: 300,
    slowBytes: 8 * MIB,
    seconds: 1,
    transactions: 1000,
    regions: [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB],
    registrations: 200,
    mpi: { longestBytes: 4 * MIB, budgetMs: 100 },
    applicationRuns: 2,
    hpccOrder: 500,
    native: 5000,
  },
  quick: {
    runs: 1,
    sizes: [8, 64, KIB, 8 * KIB, 64 * KIB, MIB],
    slowSizes: [8, KIB, 64 * KIB],
    answeredSizes: [8],
    latency: 300,
    bandwidth: 2000,
    events: 100,
    slowLatency: 100,
    slowBytes: 2 * MIB,
    seconds: 1,
    transactions: 300,
    regions: [4 * KIB, 64 * KIB, MIB, 16 * MIB],
    registrations: 50,
    mpi: { longestBytes: MIB, budgetMs: 50 },
    applicationRuns: 1,
    hpccOrder: 200,
    native: 1000,
  },
  tiny: {
    runs: 1,
    sizes: [8, 64 * KIB],
    slowSizes: [8, 64 * KIB],
    answeredSizes: [8],
    latency: 200,
    bandwidth: 1000,
    events: 100,
    slowLatency: 50,
    slowBytes: 512 * KIB,
    seconds: 1,
    transactions: 100,
    regions: [4 * KIB, 64 * KIB],
    registrations: 20,
    mpi: { longestBytes: 64 * KIB, budgetMs: 20 },
    applicationRuns: 1,
    hpccOrder: 100,
    native: 200,
  },
};
