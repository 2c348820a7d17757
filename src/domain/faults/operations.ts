// Faults that can be injected into a running domain, what can be said of them, and of what has been counted.

import type { LinkView } from "../../fabric/inspect-links.ts";
import type { LinkCounts, LinkFaults } from "../../fabric/link-faults.ts";

/** One fault, or its end. Ends of cables are NODE:PORT; times are nanoseconds, and without `forNs` a fault stays until it is cleared. */
export type Fault =
  /** A cable loses, corrupts or delays packets. */
  | { readonly kind: "spoil"; readonly end: string; readonly faults: Partial<LinkFaults>; readonly forNs?: number | undefined }
  /** A cable is pulled. */
  | { readonly kind: "pull"; readonly end: string; readonly forNs?: number | undefined }
  /** A cable is pulled and plugged in again, so many times. */
  | { readonly kind: "flap"; readonly end: string; readonly downNs: number; readonly upNs: number; readonly times: number }
  /** An HCA stops: it serves no doorbell and answers no MAD; its cable stays up. */
  | { readonly kind: "freeze"; readonly hca: string; readonly forNs?: number | undefined }
  /** The built-in subnet manager dies; another one starts when it is over. */
  | { readonly kind: "sm"; readonly forNs?: number | undefined }
  /** Ends the faults of a cable's end, of an HCA, of the subnet manager ("sm"), or all. */
  | { readonly kind: "clear"; readonly what?: string | undefined };

/** A fault with the time at which it happens, counted from the start of the plan. */
export interface FaultStep {
  readonly atNs: number;
  readonly fault: Fault;
}

export interface FaultPlan {
  /** Of the losses, too, from the moment the plan starts. */
  readonly seed: number;
  readonly steps: readonly FaultStep[];
}

export type ActiveFault =
  | { readonly kind: "spoil"; readonly link: LinkView; readonly leftNs: number | undefined }
  | { readonly kind: "pull"; readonly link: LinkView; readonly leftNs: number | undefined }
  | { readonly kind: "flap"; readonly end: string; readonly isDown: boolean; readonly timesLeft: number }
  | { readonly kind: "freeze"; readonly hca: string; readonly leftNs: number | undefined }
  | { readonly kind: "sm"; readonly leftNs: number | undefined };

/** Of all faults since the domain started. */
export interface FaultCounts extends LinkCounts {
  cablesSpoiled: number;
  /** Flaps among them. */
  cablesPulled: number;
  freezes: number;
  managerDeaths: number;
}

/** The plan that runs, or ran last. */
export interface PlanView {
  readonly seed: number;
  readonly total: number;
  readonly done: number;
  /** What went wrong, of the steps that could not be carried out. */
  readonly failures: readonly string[];
}

export interface FaultsView {
  readonly active: readonly ActiveFault[];
  readonly counts: FaultCounts;
  readonly plan: PlanView | undefined;
}

/** What can be asked of an engine; each is answered with what there is afterwards. */
export type FaultOperation =
  | { readonly op: "view" }
  | { readonly op: "inject"; readonly fault: Fault }
  | { readonly op: "start"; readonly plan: FaultPlan };

/** @throws NotFoundError, or what is wrong with it */
export function operateFaults(faults: FaultInjector, operation: FaultOperation, nowNs: number): FaultsView {
  if (operation.op === "inject") faults.inject(operation.fault, nowNs);
  else if (operation.op === "start") faults.start(operation.plan, nowNs);
  return faults.view(nowNs);
}

/** What injects them (faults.ts). */
interface FaultInjector {
  inject(fault: Fault, nowNs: number): void;
  start(plan: FaultPlan, nowNs: number): void;
  view(nowNs: number): FaultsView;
}
