// Experiment 7: applications between two guests.

import type { Experiment, Step } from "../plan.ts";
import { HPCC, hpccStep } from "./hpcc.ts";
import { type NpbSource, npbFigure, npbStep } from "./npb.ts";

/** @param npb undefined: HPC Challenge alone */
export function applications(npb?: NpbSource): Experiment {
  const hpcc = [
    hpccStep("mapped", "mapped", "hca"),
    { ...hpccStep("tcp", "mapped", "ethernet"), isSlow: true },
    hpccStep("trapped", "trapped", "hca"),
  ];
  return {
    number: 7,
    name: "applications",
    figures: npb === undefined ? [HPCC] : [HPCC, npbFigure(npb)],
    steps: npb === undefined ? hpcc : [...hpcc, ...npbSteps(npb)],
  };
}

const npbSteps = (source: NpbSource): Step[] => [
  npbStep(source, "mapped", "mapped", "hca"),
  npbStep(source, "tcp", "mapped", "ethernet"),
  npbStep(source, "trapped", "trapped", "hca"),
];
