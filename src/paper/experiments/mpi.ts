// Experiment 6: latency and bandwidth of MPI, Open MPI over UCX, between two guests.

import { Mpi } from "../../lab/mpi/mpi.ts";
import type { MpiNetwork } from "../../lab/mpi/network.ts";
import { pingPong } from "../../lab/mpi/ping-pong.ts";
import type { Experiment, FigureSpec, Step } from "../plan.ts";
import type { Side } from "../report.ts";
import { pointsOf, repeat } from "../series.ts";

const size = { name: "message size", unit: "B", scale: "log" } as const;

const LATENCY: FigureSpec = {
  ...{ id: "mpi-latency", experiment: 6, title: "MPI latency", kind: "lines", x: size, isLowerBetter: true },
  y: { name: "one-way latency", unit: "µs", scale: "log" },
  notes: ["MPI_Send and MPI_Recv, half of a round trip. UCX has one transport and one device; shared memory is off."],
};

const BANDWIDTH: FigureSpec = {
  ...{ id: "mpi-bandwidth", experiment: 6, title: "MPI bandwidth", kind: "lines", x: size, isLowerBetter: false },
  y: { name: "bandwidth", unit: "MB/s", scale: "log" },
  notes: ["MPI_Isend and MPI_Irecv, 16 messages under way."],
};

function step(side: Side, place: "mapped" | "trapped", network: MpiNetwork): Step {
  return {
    figures: [LATENCY.id, BANDWIDTH.id],
    side,
    place,
    measure: async ({ effort, pair, signal, say }) => {
      const mpi = Mpi.of(pair.lab, "openmpi");
      const command = `ping-pong of ${mpi.title} over ${network}`;
      say(command);
      const { longestBytes, budgetMs } = effort.mpi;
      const rows = await repeat(effort.runs, () => pingPong(mpi, { network, longestBytes, budgetMs }, { signal }));
      const latencies = rows.map(({ bytes, latencyUs }) => ({ x: bytes, y: latencyUs }));
      const bandwidths = rows.map(({ bytes, bandwidthMbps }) => ({ x: bytes, y: bandwidthMbps }));
      return [
        { figure: LATENCY.id, series: { points: pointsOf(latencies), command } },
        { figure: BANDWIDTH.id, series: { points: pointsOf(bandwidths), command } },
      ];
    },
  };
}

export const mpi: Experiment = {
  number: 6,
  name: "mpi",
  figures: [LATENCY, BANDWIDTH],
  steps: [step("mapped", "mapped", "hca"), step("tcp", "mapped", "ethernet"), step("trapped", "trapped", "hca")],
};
