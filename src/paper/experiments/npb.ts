// Experiment 7, second part: the NAS Parallel Benchmarks, whose sources the user has. They are built in the guests and verify themselves.

import type { Lab } from "../../lab/lab.ts";
import { Mpi } from "../../lab/mpi/mpi.ts";
import type { MpiNetwork } from "../../lab/mpi/network.ts";
import { NPB_KERNELS, Npb, type NpbClass, type NpbProgram } from "../../lab/mpi/npb.ts";
import type { FigureSpec, Step, StepContext } from "../plan.ts";
import type { Side } from "../report.ts";
import { pointsOf, repeat, type Sample } from "../series.ts";

/** Where the sources are, and the size of the problems. */
export interface NpbSource {
  readonly folder: string;
  readonly problemClass: NpbClass;
}

export const npbFigure = ({ problemClass }: NpbSource): FigureSpec => ({
  ...{ id: "npb", experiment: 7, title: `NAS Parallel Benchmarks, class ${problemClass}`, kind: "bars", isLowerBetter: false },
  x: { name: "benchmark", unit: "", scale: "linear", categories: [...NPB_KERNELS] },
  y: { name: "rate", unit: "Mop/s", scale: "log" },
  notes: [
    "Two VMs, a rank in each; BT and SP, which want a square, have two ranks in each. Open MPI. Each run has verified its result. What is computed inside a VM is the same for all sides.",
  ],
});

interface Built {
  readonly npb: Npb;
  readonly programs: readonly NpbProgram[];
}

/** What has been built in the guests that run now. */
const built = new WeakMap<Lab, Promise<Built>>();

function buildOnce(context: StepContext, mpi: Mpi, source: NpbSource): Promise<Built> {
  const { lab } = context.pair;
  const known = built.get(lab);
  if (known !== undefined) return known;
  const building = buildAll(context, mpi, source);
  // Tried again by the next step if it fails.
  building.catch(() => built.delete(lab));
  built.set(lab, building);
  return building;
}

async function buildAll({ signal, say }: StepContext, mpi: Mpi, { folder, problemClass }: NpbSource): Promise<Built> {
  const npb = await Npb.unpack(mpi, folder);
  say("building all of them in the guests");
  const programs = await npb.buildAll(NPB_KERNELS, problemClass, { signal }, (kernel) => say(`${kernel} is built`));
  return { npb, programs };
}

export const npbStep = (source: NpbSource, side: Side, place: "mapped" | "trapped", network: MpiNetwork): Step => ({
  figures: ["npb"],
  side,
  place,
  measure: async (context) => {
    const mpi = Mpi.of(context.pair.lab, "openmpi");
    const { npb, programs } = await buildOnce(context, mpi, source);
    const samples = await repeat(context.effort.applicationRuns, async () => {
      const all: Sample[] = [];
      for (const [x, program] of programs.entries()) {
        context.say(`${program.kernel} over ${network}`);
        const { isVerified, mops } = await npb.run(program, { network }, { signal: context.signal });
        if (!isVerified) throw new Error(`NPB's ${program.kernel} over ${network}: the result was not verified`);
        all.push({ x, y: mops });
      }
      return all;
    });
    const command = `mpirun -n 2 is.${source.problemClass}, and so on; bt and sp with -n 4`;
    return [{ figure: "npb", series: { points: pointsOf(samples), command } }];
  },
});
