// Injects faults into one engine's fabric and HCAs, ends them when their time is over, and counts them. All in the clock's time, in `step`.

import { NotFoundError } from "../../base/inspect.ts";
import { suggestion } from "../../base/near-names.ts";
import { changeLink } from "../../fabric/changes.ts";
import type { DomainFabric } from "../../fabric/domain-fabric.ts";
import { getLink } from "../../fabric/find.ts";
import { labelOf } from "../../fabric/inspect.ts";
import { inspectLink } from "../../fabric/inspect-links.ts";
import type { Link } from "../../fabric/link.ts";
import type { LinkCounts, LinkFaults } from "../../fabric/link-faults.ts";
import { Trunk } from "../../fabric/trunk.ts";
import { Agenda } from "./agenda.ts";
import type { ActiveFault, Fault, FaultCounts, FaultPlan, FaultsView, PlanView } from "./operations.ts";

/** Cables with faults that are listed. */
const LISTED_MAX = 1024;
/** Failures of a plan that are kept. */
const FAILURES_MAX = 16;
export const PLAN_STEPS_MAX = 10_000;
/** A week. */
export const MAX_TIME_NS = 604_800e9;
export const FLAPS_MAX = 100_000;

/** What faults are injected into. */
export interface FaultTarget {
  readonly fabric: DomainFabric;
  readonly hcas: readonly string[];
  /** Stops the HCA of that name, which exists, or lets it go on. */
  setFrozen(hca: string, isFrozen: boolean): void;
}

interface Flap {
  readonly link: Link;
  readonly downNs: number;
  readonly upNs: number;
  timesLeft: number;
}

interface Plan {
  readonly seed: number;
  readonly total: number;
  done: number;
  readonly failures: string[];
}

export class Faults {
  readonly #target: FaultTarget;
  readonly #agenda = new Agenda();
  readonly #flaps = new Map<Link, Flap>();
  readonly #frozen = new Set<string>();
  readonly #counts = { freezes: 0, managerDeaths: 0 };
  #plan: Plan | undefined = undefined;

  constructor(target: FaultTarget) {
    this.#target = target;
  }

  /** When `step` has something to do; Infinity if never. */
  get nextNs(): number {
    return this.#agenda.nextNs;
  }

  /** Does what is due. Returns how much. */
  step(nowNs: number): number {
    return nowNs < this.#agenda.nextNs ? 0 : this.#agenda.run(nowNs);
  }

  /** Injects one fault now. @throws NotFoundError, or what is wrong with it; nothing has happened then */
  inject(fault: Fault, nowNs: number): void {
    assertLasts(fault);
    if (fault.kind === "flap") this.#flap(fault, nowNs);
    else if (fault.kind === "clear") this.#clear(fault.what);
    else this.#injectFor(fault, fault.forNs === undefined ? undefined : nowNs + fault.forNs);
  }

  #injectFor(fault: Exclude<Fault, { kind: "flap" | "clear" }>, untilNs: number | undefined): void {
    if (fault.kind === "spoil") this.#spoil(fault.end, fault.faults, untilNs);
    else if (fault.kind === "pull") this.#pull(fault.end, untilNs);
    else if (fault.kind === "freeze") this.#freeze(fault.hca, untilNs);
    else this.#killManager(untilNs);
  }

  /** Starts a plan; one that runs ends without its remaining steps. @throws if it is too long */
  start({ seed, steps }: FaultPlan, nowNs: number): void {
    if (steps.length > PLAN_STEPS_MAX) throw new Error(`expected at most ${PLAN_STEPS_MAX} faults, got ${steps.length}`);
    for (const { atNs, fault } of steps) this.#check(atNs, fault);
    this.#dropPlan();
    this.#fabric.reseed(seed);
    const plan: Plan = { seed, total: steps.length, done: 0, failures: [] };
    this.#plan = plan;
    this.#agenda.addAll(
      steps.map(({ atNs, fault }, i) => ({
        atNs: nowNs + atNs,
        key: `${STEP}${i}`,
        run: (time) => this.#carryOut(plan, fault, time),
      })),
    );
  }

  /** @throws NotFoundError if what a step is about is not there, or its time is none */
  #check(atNs: number, fault: Fault): void {
    if (!(atNs >= 0 && atNs <= MAX_TIME_NS)) throw new Error(`expected a time of 0 to ${MAX_TIME_NS / 1e9} s, got ${atNs} ns`);
    assertLasts(fault);
    if ("end" in fault) getLink(this.#fabric, fault.end);
    else if (fault.kind === "freeze" && !this.#target.hcas.includes(fault.hca))
      throw new NotFoundError(noHcaText(fault.hca, this.#target.hcas));
  }

  /** The HCA of that name has gone. */
  forgetHca(hca: string): void {
    this.#agenda.delete(freezeKey(hca));
    this.#frozen.delete(hca);
  }

  view(nowNs: number): FaultsView {
    return { active: this.#active(nowNs), counts: this.counts, plan: this.#planView };
  }

  /** Everything that was injected, and what became of packets. */
  get counts(): FaultCounts {
    const { fabric } = this.#target.fabric;
    const packets: LinkCounts = { ...fabric.goneCounts };
    for (const { counts } of fabric.links)
      for (const name of ["lost", "corrupted", "delayed"] as const) packets[name] += counts[name];
    return { ...fabric.injected, ...this.#counts, ...packets };
  }

  get #planView(): PlanView | undefined {
    if (this.#plan === undefined) return undefined;
    return { ...this.#plan, failures: [...this.#plan.failures] };
  }

  // --- cables

  #spoil(end: string, faults: Partial<LinkFaults>, untilNs: number | undefined): void {
    const link = getLink(this.#fabric, end);
    changeLink(this.#target.fabric, end, { faults });
    this.#until(linkKey("mend", link), untilNs, () => this.#mend(link));
  }

  #pull(end: string, untilNs: number | undefined): void {
    const link = getLink(this.#fabric, end);
    this.#stopFlap(link);
    changeLink(this.#target.fabric, end, { isPlugged: false });
    this.#until(linkKey("plug", link), untilNs, () => this.#plugIn(link));
  }

  #flap({ end, downNs, upNs, times }: Fault & { kind: "flap" }, nowNs: number): void {
    const link = getLink(this.#fabric, end);
    const flap = { link, downNs, upNs, timesLeft: times };
    this.#flaps.set(link, flap);
    this.#flapDown(flap, nowNs);
  }

  #flapDown(flap: Flap, nowNs: number): void {
    const { link } = flap;
    if (!this.#exists(link)) {
      this.#flaps.delete(link);
      return;
    }
    changeLink(this.#target.fabric, textOf(link), { isPlugged: false });
    this.#agenda.set(linkKey("plug", link), nowNs + flap.downNs, (time) => {
      this.#plugIn(link);
      if (--flap.timesLeft === 0) this.#flaps.delete(link);
      else this.#agenda.set(linkKey("plug", link), time + flap.upNs, (later) => this.#flapDown(flap, later));
    });
  }

  #stopFlap(link: Link): void {
    this.#flaps.delete(link);
    this.#agenda.delete(linkKey("plug", link));
  }

  #plugIn(link: Link): void {
    if (this.#exists(link)) link.setPlugged(true);
  }

  #mend(link: Link): void {
    this.#agenda.delete(linkKey("mend", link));
    if (this.#exists(link)) this.#fabric.setFaults(link, undefined);
  }

  // --- HCAs and the subnet manager

  #freeze(hca: string, untilNs: number | undefined): void {
    const { hcas } = this.#target;
    if (!hcas.includes(hca)) throw new NotFoundError(noHcaText(hca, hcas));
    if (!this.#frozen.has(hca)) this.#counts.freezes++;
    this.#frozen.add(hca);
    this.#target.setFrozen(hca, true);
    this.#until(freezeKey(hca), untilNs, () => this.#thaw(hca));
  }

  #thaw(hca: string): void {
    this.#agenda.delete(freezeKey(hca));
    if (this.#frozen.delete(hca)) this.#target.setFrozen(hca, false);
  }

  #killManager(untilNs: number | undefined): void {
    const { fabric } = this.#target;
    if (!fabric.isManaged)
      throw new Error("there is no built-in subnet manager to die; a guest manages the subnet, or nobody (--sm none)");
    const wasAlive = fabric.endpoint !== undefined;
    fabric.killManager();
    if (wasAlive) this.#counts.managerDeaths++;
    this.#until(MANAGER, untilNs, () => this.#reviveManager());
  }

  #reviveManager(): void {
    this.#agenda.delete(MANAGER);
    this.#target.fabric.reviveManager();
  }

  // --- ends

  /** @throws NotFoundError if nothing of that name can have faults */
  #clear(what: string | undefined): void {
    if (what === undefined) this.#clearAll();
    else if (what === MANAGER) this.#reviveManager();
    else this.#clearOne(what);
  }

  #clearOne(what: string): void {
    const wasFrozen = this.#frozen.has(what);
    this.#thaw(what);
    try {
      this.#repair(getLink(this.#fabric, what));
    } catch (error) {
      if (!wasFrozen) throw error;
    }
  }

  #clearAll(): void {
    this.#dropPlan();
    this.#clearFaults();
  }

  #clearFaults(): void {
    for (const hca of [...this.#frozen]) this.#thaw(hca);
    this.#reviveManager();
    for (const link of this.#fabric.links) if (link.faults !== undefined || !link.isPlugged) this.#repair(link);
    for (const link of [...this.#flaps.keys()]) this.#repair(link);
  }

  #repair(link: Link): void {
    this.#stopFlap(link);
    this.#mend(link);
    this.#plugIn(link);
  }

  // --- plans

  #carryOut(plan: Plan, fault: Fault, nowNs: number): void {
    plan.done++;
    try {
      // What is left of the plan goes on.
      if (fault.kind === "clear" && fault.what === undefined) this.#clearFaults();
      else this.inject(fault, nowNs);
    } catch (error) {
      if (plan.failures.length < FAILURES_MAX) plan.failures.push(error instanceof Error ? error.message : String(error));
    }
  }

  #dropPlan(): void {
    this.#agenda.deleteAll((key) => key.startsWith(STEP));
    this.#plan = undefined;
  }

  // --- what there is

  #active(nowNs: number): ActiveFault[] {
    const left = (key: string): number | undefined => {
      const atNs = this.#agenda.timeOf(key);
      return atNs === undefined ? undefined : Math.max(0, atNs - nowNs);
    };
    const active: ActiveFault[] = [];
    for (const link of this.#fabric.links) {
      if (active.length >= LISTED_MAX) break;
      const flap = this.#flaps.get(link);
      if (link.faults !== undefined) active.push({ kind: "spoil", link: inspectLink(link), leftNs: left(linkKey("mend", link)) });
      if (flap !== undefined) {
        active.push({ kind: "flap", end: textOf(link), isDown: !link.isPlugged, timesLeft: flap.timesLeft });
      } else if (!link.isPlugged) {
        active.push({ kind: "pull", link: inspectLink(link), leftNs: left(linkKey("plug", link)) });
      }
    }
    for (const hca of this.#frozen)
      if (this.#target.hcas.includes(hca)) active.push({ kind: "freeze", hca, leftNs: left(freezeKey(hca)) });
    const { isManaged, endpoint } = this.#target.fabric;
    if (isManaged && endpoint === undefined) active.push({ kind: "sm", leftNs: left(MANAGER) });
    return active;
  }

  get #fabric(): DomainFabric["fabric"] {
    return this.#target.fabric.fabric;
  }

  #exists(link: Link): boolean {
    return link.a.link === link;
  }

  #until(key: string, untilNs: number | undefined, end: () => void): void {
    if (untilNs === undefined) this.#agenda.delete(key);
    else this.#agenda.set(key, untilNs, end);
  }
}

/** @throws if it is over as soon as it begins: it would be counted, and nobody would have noticed it */
function assertLasts(fault: Fault): void {
  if (fault.kind === "flap") {
    const { downNs, upNs, times } = fault;
    if (!(downNs > 0 && upNs > 0)) throw new Error(`expected times above 0, got ${downNs} ns down and ${upNs} ns up`);
    if (!(Number.isInteger(times) && times >= 1 && times <= FLAPS_MAX))
      throw new Error(`expected 1 to ${FLAPS_MAX} times, got ${times}`);
  } else if (fault.kind !== "clear" && fault.forNs !== undefined && !(fault.forNs > 0)) {
    throw new Error(`expected a fault that lasts longer than 0 ns, got ${fault.forNs} ns`);
  }
}

const MANAGER = "sm";
const STEP = "step ";
const freezeKey = (hca: string): string => `thaw ${hca}`;

/** An end of the cable that has a name. */
function textOf({ a, b }: Link): string {
  const { node, number } = a.node instanceof Trunk ? b : a;
  return `${labelOf(node)}:${number}`;
}

const linkKey = (what: "mend" | "plug", link: Link): string => `${what} ${textOf(link)}`;

export const noHcaText = (hca: string, hcas: readonly string[]): string =>
  `there is no HCA ${hca}${suggestion(hca, hcas) || (hcas.length === 0 ? ", there is none at all" : `; there are: ${hcas.join(", ")}`)}`;
