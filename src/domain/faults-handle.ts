// The control thread's side of faults: each goes to the engine that has what it is about.

import type { EngineHandle } from "./engine-handle.ts";
import type { FabricHandle } from "./fabric-handle.ts";
import type { Fault, FaultCounts, FaultOperation, FaultPlan, FaultStep, FaultsView, PlanView } from "./faults/operations.ts";

export class FaultsHandle {
  readonly #engines: readonly EngineHandle[];
  readonly #fabric: FabricHandle;

  constructor(engines: readonly EngineHandle[], fabric: FabricHandle) {
    this.#engines = engines;
    this.#fabric = fabric;
  }

  /** What is wrong now, on purpose, and what has been counted since the domain started. */
  async view(): Promise<FaultsView> {
    return joinFaultViews(await Promise.all(this.#engines.map((engine) => operate(engine, { op: "view" }))));
  }

  /** Injects a fault, or clears some. @throws NotFoundError, or what is wrong with it */
  async inject(fault: Fault): Promise<FaultsView> {
    const engines = fault.kind === "clear" && fault.what === undefined ? this.#engines : [await this.#engineOf(fault)];
    for (const engine of engines) await operate(engine, { op: "inject", fault });
    return this.view();
  }

  /** Starts a plan, in the place of one that runs. @throws NotFoundError, or what is wrong with it */
  async start({ seed, steps }: FaultPlan): Promise<FaultsView> {
    const parts = new Map<EngineHandle, FaultStep[]>(this.#engines.map((engine) => [engine, []]));
    for (const step of steps) {
      const isForAll = step.fault.kind === "clear" && step.fault.what === undefined;
      for (const engine of isForAll ? this.#engines : [await this.#engineOf(step.fault)]) parts.get(engine)?.push(step);
    }
    for (const [engine, part] of parts) await operate(engine, { op: "start", plan: { seed, steps: part } });
    return this.view();
  }

  #engineOf(fault: Fault): Promise<EngineHandle> | EngineHandle {
    const first = this.#engines[0] as EngineHandle;
    if ("end" in fault) return this.#fabric.engineOf(fault.end);
    if (fault.kind === "freeze") return this.#fabric.engineOf(fault.hca);
    const isManager = fault.kind === "sm" || fault.what === "sm" || fault.what === undefined;
    return isManager ? first : this.#fabric.engineOf(fault.what);
  }
}

const operate = (engine: EngineHandle, operation: FaultOperation): Promise<FaultsView> =>
  engine.ask({ method: "faults", operation });

/** What several engines say, as one. */
export function joinFaultViews(views: readonly FaultsView[]): FaultsView {
  const counts: FaultCounts = {
    cablesSpoiled: 0,
    cablesPulled: 0,
    freezes: 0,
    managerDeaths: 0,
    lost: 0,
    corrupted: 0,
    delayed: 0,
  };
  for (const view of views) for (const name of Object.keys(counts) as (keyof FaultCounts)[]) counts[name] += view.counts[name];
  return { active: views.flatMap(({ active }) => active), counts, plan: joinPlans(views.flatMap(({ plan }) => plan ?? [])) };
}

function joinPlans(plans: readonly PlanView[]): PlanView | undefined {
  const [first] = plans;
  if (first === undefined) return undefined;
  const sum = (of: (plan: PlanView) => number): number => plans.reduce((total, plan) => total + of(plan), 0);
  return {
    seed: first.seed,
    total: sum(({ total }) => total),
    done: sum(({ done }) => done),
    failures: plans.flatMap(({ failures }) => failures),
  };
}
