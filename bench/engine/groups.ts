// All groups of figures, in the order in which they are measured.

import type { Group } from "./context.ts";
import { bandwidth } from "./figures/bandwidth.ts";
import { crowd } from "./figures/crowd.ts";
import { engines } from "./figures/engines.ts";
import { fairness } from "./figures/fairness.ts";
import { idle } from "./figures/idle.ts";
import { idleQps } from "./figures/idle-qps.ts";
import { latency } from "./figures/latency.ts";
import { rate } from "./figures/rate.ts";
import { registration } from "./figures/registration.ts";
import { transports } from "./figures/transports.ts";

export const GROUPS: readonly Group[] = [
  latency,
  rate,
  bandwidth,
  idleQps,
  fairness,
  registration,
  idle,
  crowd,
  engines,
  transports,
];
