// Experiment 7: applications between two guests.

import type { Experiment } from "../plan.ts";
import { HPCC, hpccStep } from "./hpcc.ts";

export const applications: Experiment = {
  number: 7,
  name: "applications",
  figures: [HPCC],
  steps: [hpccStep("mapped", "mapped", "hca"), hpccStep("tcp", "mapped", "ethernet"), hpccStep("trapped", "trapped", "hca")],
};
