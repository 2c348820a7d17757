// All groups of figures, in the order in which they are measured.

import type { Group } from "./context.ts";
import { bandwidth } from "./figures/bandwidth.ts";
import { latency } from "./figures/latency.ts";
import { rate } from "./figures/rate.ts";
import { transports } from "./figures/transports.ts";

export const GROUPS: readonly Group[] = [latency, rate, bandwidth, transports];
