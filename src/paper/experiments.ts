// All experiments of the paper's evaluation, in its order.

import { applications } from "./experiments/applications.ts";
import { events } from "./experiments/events.ts";
import { ipoib } from "./experiments/ipoib.ts";
import { bandwidth, latency } from "./experiments/latency-bandwidth.ts";
import { mpi } from "./experiments/mpi.ts";
import type { NpbSource } from "./experiments/npb.ts";
import { registration } from "./experiments/registration.ts";
import type { Experiment } from "./plan.ts";

/** @param npb the NAS Parallel Benchmarks are part of the evaluation where the user has their sources */
export const experimentsWith = (npb?: NpbSource): readonly Experiment[] => [
  ...[latency, bandwidth, events, registration, ipoib, mpi],
  applications(npb),
];

/** The ids of all figures of experiments, in their order. */
export const figureIds = (experiments: readonly Experiment[]): string[] =>
  experiments.flatMap(({ figures }) => figures.map(({ id }) => id));

/** The figures that a word of `--only` means: an experiment by number or name, or a figure by id; none if it means nothing. */
export function figuresNamed(experiments: readonly Experiment[], word: string): string[] {
  const experiment = experiments.find(({ number, name }) => word === String(number) || word === name);
  if (experiment !== undefined) return experiment.figures.map(({ id }) => id);
  return figureIds(experiments).includes(word) ? [word] : [];
}
