// The agents behind QP1 that every port has: performance management and congestion control. IBA vol 1, 13.5.3.

import { MadHeader } from "../../spec/mad/headers.ts";
import { MgmtClass } from "../../spec/mad/numbers.ts";
import type { ManagedNode } from "../attributes.ts";
import { isForCongestion, processCongestion } from "./congestion.ts";
import { isForPma, processPerf } from "./pma.ts";

/** True for a MAD that one of them executes. */
export const isForGeneralAgent = (mad: DataView, at = 0): boolean => isForPma(mad, at) || isForCongestion(mad, at);

/** Executes a MAD for which `isForGeneralAgent` holds, in place. Returns a `Verdict`. */
export const processGeneral = (node: ManagedNode, mad: DataView, nowNs: number): number =>
  MadHeader.mgmtClass.get(mad, 0) === MgmtClass.PERF ? processPerf(node, mad) : processCongestion(node, mad, nowNs);
