// All experiments of the paper's evaluation, in its order.

import { applications } from "./experiments/applications.ts";
import { events } from "./experiments/events.ts";
import { ipoib } from "./experiments/ipoib.ts";
import { bandwidth, latency } from "./experiments/latency-bandwidth.ts";
import { mpi } from "./experiments/mpi.ts";
import { registration } from "./experiments/registration.ts";
import type { Experiment } from "./plan.ts";

export const EXPERIMENTS: readonly Experiment[] = [latency, bandwidth, events, registration, ipoib, mpi, applications];

/** The ids of all figures, in the order of the report. */
export const FIGURE_IDS: readonly string[] = EXPERIMENTS.flatMap(({ figures }) => figures.map(({ id }) => id));

/** The figures that a word of `--only` means: an experiment by number or name, or a figure by id; none if it means nothing. */
export function figuresNamed(word: string): string[] {
  const experiment = EXPERIMENTS.find(({ number, name }) => word === String(number) || word === name);
  if (experiment !== undefined) return experiment.figures.map(({ id }) => id);
  return FIGURE_IDS.includes(word) ? [word] : [];
}
