// All experiments of the paper's evaluation, in its order.

import { applications } from "./experiments/applications.ts";
import { events } from "./experiments/events.ts";
import { ipoib } from "./experiments/ipoib.ts";
import { bandwidth, latency } from "./experiments/latency-bandwidth.ts";
import { mpi } from "./experiments/mpi.ts";
import { registration } from "./experiments/registration.ts";
import type { Experiment, FigureSpec } from "./plan.ts";

export const EXPERIMENTS: readonly Experiment[] = [latency, bandwidth, events, registration, ipoib, mpi, applications];

const specs: ReadonlyMap<string, FigureSpec> = new Map(
  EXPERIMENTS.flatMap(({ figures }) => figures).map((spec) => [spec.id, spec]),
);

/** The ids of all figures, in the order of the report. */
export const FIGURE_IDS: readonly string[] = [...specs.keys()];

/** @throws Error for an id that is not in `FIGURE_IDS` */
export function specOf(id: string): FigureSpec {
  const spec = specs.get(id);
  if (spec === undefined) throw new Error(`there is no figure ${id}`);
  return spec;
}

/** The figures that a word of `--only` means: an experiment by number or name, or a figure by id; none if it means nothing. */
export function figuresNamed(word: string): string[] {
  const experiment = EXPERIMENTS.find(({ number, name }) => word === String(number) || word === name);
  if (experiment !== undefined) return experiment.figures.map(({ id }) => id);
  return specs.has(word) ? [word] : [];
}
