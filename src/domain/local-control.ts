// What a program can see and change of the fabric in its own process, and what it can break on purpose: the same as `vhca fabric` and
// `vhca fault` do with a domain. Everything happens at once; what follows from it (traps, routes, retries) as the fabric is stepped.

import { randomInt } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { NotFoundError } from "../base/inspect.ts";
import { Random } from "../base/random.ts";
import type { AddedNode } from "../fabric/added-node.ts";
import { addCable, addNode, type CableRate, changeLink, type LinkChange, removeCable, removeNode } from "../fabric/changes.ts";
import { getNode, noNodeText, parseEnd } from "../fabric/find.ts";
import { inspectNodes, type NodeView } from "../fabric/inspect.ts";
import { inspectLinks, type LinkView } from "../fabric/inspect-links.ts";
import { inspectNodeNamed, type NodeDetails } from "../fabric/inspect-node.ts";
import { findPath, getLid, type PathView } from "../fabric/path.ts";
import type { Fault, FaultPlan, FaultsView } from "./faults/operations.ts";
import { parseSchedule, planOf } from "./faults/schedule.ts";
import { joinFaultViews } from "./faults-handle.ts";
import type { InProcessEngine, InProcessFabric } from "./in-process-fabric.ts";

const ALL = Number.MAX_SAFE_INTEGER;

/** The fabric: nodes and cables by their names, NODE and NODE:PORT. */
export class FabricControl {
  readonly #system: InProcessFabric;

  constructor(system: InProcessFabric) {
    this.#system = system;
  }

  nodes(): NodeView[] {
    return this.#system.engines.flatMap(({ fabric }) => inspectNodes(fabric.fabric, 0, ALL).items);
  }

  /** One node with the virtual lanes of its ports, NAME. @throws NotFoundError */
  node(name: string): NodeDetails {
    return inspectNodeNamed(this.#fabricOf(name).fabric, name);
  }

  /** Links, without the cables between engines. */
  links(): LinkView[] {
    return this.#system.engines.flatMap(({ fabric }) => inspectLinks(fabric.fabric, 0, ALL).items);
  }

  /**
   * The way of a packet as the switches' tables have it now; over several engines, up to the cable to another one (`leaves`).
   * @param offset which of the other end's LIDs, from 0
   * @throws NotFoundError
   */
  path(from: string, to: string, offset = 0): PathView {
    return findPath(this.#fabricOf(from).fabric, { from }, getLid(this.#fabricOf(to).fabric, to, offset));
  }

  /** Pulls a cable, plugs it in, changes its rate or what is wrong with it. @throws NotFoundError, or what is wrong with the values */
  changeLink(end: string, change: LinkChange): LinkView {
    return changeLink(this.#fabricOf(end), end, change);
  }

  /** Joins two ports. @throws NotFoundError, or if one is taken */
  addCable(end: string, other: string, rate: CableRate = {}): LinkView {
    return addCable(this.#fabricOf(end), [end, other], rate);
  }

  /** Takes a cable away; returns what it was. @throws NotFoundError */
  removeCable(end: string): LinkView {
    return removeCable(this.#fabricOf(end), end);
  }

  /** Adds a switch or a phantom host, with cables to `at`. @throws NotFoundError, or what is wrong with it */
  addNode(node: AddedNode): NodeView {
    const [at] = node.at ?? [];
    return addNode(at === undefined ? this.#system.fabric : this.#fabricOf(at), node);
  }

  /** Takes a node and its cables away; returns what it was. @throws NotFoundError, or if it cannot go */
  removeNode(name: string): NodeView {
    return removeNode(this.#fabricOf(name), name);
  }

  #fabricOf(end: string): InProcessEngine["fabric"] {
    return engineOf(this.#system, end).fabric;
  }
}

/** What is wrong on purpose. Times are nanoseconds of the fabric's clock. */
export class FaultControl {
  readonly #system: InProcessFabric;
  readonly #clock: Clock;

  constructor(system: InProcessFabric, clock: Clock) {
    this.#system = system;
    this.#clock = clock;
  }

  /** What is wrong now, and counts of all that was. */
  view(): FaultsView {
    return joinFaultViews(this.#system.engines.map(({ faults }) => faults.view(this.#clock.nowNs())));
  }

  /** Injects a fault, or clears some. @throws NotFoundError, or what is wrong with it */
  inject(fault: Fault): void {
    for (const { faults } of this.#enginesOf(fault)) faults.inject(fault, this.#clock.nowNs());
  }

  /** Ends the faults of a cable, an HCA or the subnet manager ("sm"), or all. @throws NotFoundError */
  clear(what?: string): void {
    this.inject({ kind: "clear", what });
  }

  /** Starts a plan, in the place of one that runs. @throws NotFoundError, or what is wrong with it */
  start({ seed, steps }: FaultPlan): void {
    for (const engine of this.#system.engines) {
      const own = steps.filter(({ fault }) => this.#enginesOf(fault).includes(engine));
      engine.faults.start({ seed, steps: own }, this.#clock.nowNs());
    }
  }

  /**
   * Starts a schedule (faults/schedule.ts).
   * @param seed that of the schedule, or a new one, if left out
   * @returns the plan, with its seed
   * @throws TopologyError with the line that is wrong; NotFoundError
   */
  run(yaml: string, seed?: number): FaultPlan {
    const schedule = parseSchedule(yaml, "schedule");
    const plan = planOf(schedule, new Random(seed ?? schedule.seed ?? randomInt(2 ** 32)), this.#switchCables());
    this.start(plan);
    return plan;
  }

  #switchCables(): string[] {
    const cables: string[] = [];
    for (const { fabric } of this.#system.engines) {
      for (const { a, b } of fabric.fabric.links)
        if (a.node.switch !== undefined && b.node.switch !== undefined) cables.push(`${a.node.label}:${a.number}`);
    }
    return cables;
  }

  #enginesOf(fault: Fault): readonly InProcessEngine[] {
    const { engines } = this.#system;
    if ("end" in fault) return [engineOf(this.#system, fault.end)];
    if (fault.kind === "freeze") return [engineOf(this.#system, fault.hca)];
    if (fault.kind === "clear" && fault.what === undefined) return engines;
    if (fault.kind === "sm" || fault.what === undefined || fault.what === "sm") return engines.slice(0, 1);
    return [engineOf(this.#system, fault.what)];
  }
}

/** The engine that has the node of an end. @throws NotFoundError */
function engineOf({ engines }: InProcessFabric, end: string): InProcessEngine {
  const { node } = parseEnd(end);
  const found = engines.find(({ fabric }) => {
    try {
      return getNode(fabric.fabric, node) !== undefined;
    } catch {
      return false;
    }
  });
  if (found !== undefined) return found;
  const names = engines.flatMap(({ fabric }) => [...fabric.fabric.nodes].map(({ label }) => label));
  throw new NotFoundError(noNodeText(node, names));
}
