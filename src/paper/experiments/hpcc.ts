// Experiment 7, first part: HPC Challenge between two guests. A run whose results are not verified is no run.

import { runHpcc } from "../../lab/mpi/hpcc.ts";
import { Mpi } from "../../lab/mpi/mpi.ts";
import type { MpiNetwork } from "../../lab/mpi/network.ts";
import type { FigureSpec, Step } from "../plan.ts";
import type { Side } from "../report.ts";
import { pointsOf, repeat, type Sample } from "../series.ts";

/** What is shown of hpcc's summary, all of it rates: the more the better. */
const RATES: readonly { readonly name: string; readonly value: string; readonly factor: number }[] = [
  { name: "HPL, Gflop/s", value: "HPL_Tflops", factor: 1000 },
  { name: "PTRANS, GB/s", value: "PTRANS_GBs", factor: 1 },
  { name: "RandomAccess, Mup/s", value: "MPIRandomAccess_GUPs", factor: 1000 },
  { name: "FFT, Gflop/s", value: "MPIFFT_Gflops", factor: 1 },
  { name: "ring, GB/s", value: "RandomlyOrderedRingBandwidth_GBytes", factor: 1 },
];

export const HPCC: FigureSpec = {
  ...{ id: "hpcc", experiment: 7, title: "HPC Challenge", kind: "bars", isLowerBetter: false },
  x: { name: "part", unit: "", scale: "linear", categories: RATES.map(({ name }) => name) },
  y: { name: "rate", unit: "", scale: "log" },
  notes: [
    "Two ranks, one in each VM; Open MPI. Every part's own verification has passed. A small problem: what is computed inside a VM is the same for all sides.",
  ],
};

export const hpccStep = (side: Side, place: "mapped" | "trapped", network: MpiNetwork): Step => ({
  figures: [HPCC.id],
  side,
  place,
  measure: async ({ effort, pair, signal, say }) => {
    const mpi = Mpi.of(pair.lab, "openmpi");
    say(`hpcc over ${network}`);
    const samples = await repeat(effort.applicationRuns, async () => {
      const { isVerified, checks, values } = await runHpcc(mpi, { network, order: effort.hpccOrder }, { signal });
      const failed = checks.filter(({ passed }) => !passed).map(({ name }) => name);
      if (!isVerified) throw new Error(`hpcc over ${network}: not verified: ${failed.join(", ")}`);
      return RATES.map(({ value, factor }, x): Sample => ({ x, y: (values[value] ?? Number.NaN) * factor }));
    });
    return [{ figure: HPCC.id, series: { points: pointsOf(samples), command: `mpirun -n 2 hpcc, order ${effort.hpccOrder}` } }];
  },
});
