// A fabric that is changed and hurt at random while its subnet manager works: each change is carried out or refused with a reason; whatever
// is left when all faults are cleared becomes one subnet again under the next manager, in which everybody who has a way reaches everybody.

import assert from "node:assert/strict";
import { SimClock } from "../../src/base/clock.ts";
import { NotFoundError } from "../../src/base/inspect.ts";
import { Random } from "../../src/base/random.ts";
import { newTopologyFabric } from "../../src/domain/engine-fabric.ts";
import { Faults } from "../../src/domain/faults/faults.ts";
import type { Fault } from "../../src/domain/faults/operations.ts";
import type { CaPort } from "../../src/fabric/ca-port.ts";
import { addCable, addNode, changeLink, removeCable, removeNode } from "../../src/fabric/changes.ts";
import { inspectNodes } from "../../src/fabric/inspect.ts";
import { inspectLinks } from "../../src/fabric/inspect-links.ts";
import type { FabricNode } from "../../src/fabric/node.ts";
import { findPath, getLid } from "../../src/fabric/path.ts";
import { PhantomHost } from "../../src/fabric/phantom-host.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { traceUnicast } from "../../src/fabric/trace.ts";
import { type Budget, fuzz } from "./kit.ts";

const SHAPES = ["pair", "star:4", "fat-tree:2", "torus:2x3", "dragonfly:2,1,1"];
const CHANGES = 30;
const MS = 1e6;
/** Time in which the manager must have found all, whatever it has missed: some of its sweeps. */
const PATIENCE_NS = 60e9;

class World {
  readonly clock = new SimClock();
  readonly random: Random;
  readonly lab: ReturnType<typeof newTopologyFabric>;
  readonly hcas = new Map<string, CaPort>();
  readonly faults: Faults;
  #added = 0;

  constructor(random: Random) {
    this.random = random;
    this.lab = newTopologyFabric(shapeTopology(random.pick(SHAPES)), "builtin", new Random(random.u32()));
    const { hcas } = this;
    this.faults = new Faults({
      fabric: this.lab,
      get hcas() {
        return [...hcas.keys()];
      },
      setFrozen: (name, isFrozen) => hcas.get(name)?.setFrozen(isFrozen),
    });
  }

  /** Lets that time pass. */
  elapse(ns: number, budget: Budget): void {
    const endNs = this.clock.nowNs() + ns;
    for (;;) {
      budget.step();
      const nowNs = this.clock.nowNs();
      this.lab.step(nowNs);
      this.faults.step(nowNs);
      if (this.lab.fabric.queued > 0) continue;
      const nextNs = Math.min(this.lab.nextDeadlineNs(), this.faults.nextNs);
      if (nextNs > endNs) break;
      this.clock.advanceNs(Math.max(0, nextNs - nowNs));
    }
    this.clock.advanceNs(endNs - this.clock.nowNs());
  }

  node(): string {
    const names = [...this.lab.fabric.nodes].map(({ label }) => label);
    return this.random.chance(0.03) ? `${this.random.pick(names)}x` : this.random.pick(names);
  }

  end(): string {
    return this.random.chance(0.4) ? this.node() : `${this.node()}:${this.random.below(9)}`;
  }

  fault(): Fault {
    const { random } = this;
    const forNs = random.chance(0.5) ? random.below(2000 * MS) : undefined;
    const part = (): number => random.pick([0, 0.01, 0.3, 1]);
    return random.pick<() => Fault>([
      () => ({ kind: "spoil", end: this.end(), faults: { loss: part(), corruption: part(), delayNs: random.below(MS) }, forNs }),
      () => ({ kind: "pull", end: this.end(), forNs }),
      () => ({
        kind: "flap",
        end: this.end(),
        downNs: random.below(50 * MS),
        upNs: 1 + random.below(50 * MS),
        times: random.below(20),
      }),
      () => ({ kind: "freeze", hca: random.pick([...this.hcas.keys(), "x"]), forNs }),
      () => ({ kind: "sm", forNs }),
      () => ({ kind: "clear", what: random.chance(0.3) ? undefined : random.pick([this.end(), "sm"]) }),
    ])();
  }

  change(budget: Budget): void {
    const { random } = this;
    const lab = this.lab;
    const width = random.pick(["1X", "4X", "auto", undefined] as const);
    random.pick([
      () => {
        const [end, isPlugged] = [this.end(), random.chance(0.6)];
        budget.trace("link", end, isPlugged, width);
        changeLink(lab, end, { isPlugged, width });
      },
      () => {
        const ends = [this.end(), this.end()] as const;
        budget.trace("add cable", ends);
        addCable(lab, ends, { width });
      },
      () => {
        const end = this.end();
        budget.trace("remove cable", end);
        removeCable(lab, end);
      },
      () => this.#addNode(budget),
      () => {
        const name = this.node();
        budget.trace("remove node", name);
        removeNode(lab, name);
      },
      () => this.#addHca(),
      () => this.#removeHca(),
      () => findPath(lab.fabric, { from: this.end() }, getLid(lab.fabric, this.end())),
      () => {
        const fault = this.fault();
        budget.trace(fault);
        this.faults.inject(fault, this.clock.nowNs());
      },
      () => this.faults.start({ seed: 1, steps: [{ atNs: random.below(1000 * MS), fault: this.fault() }] }, this.clock.nowNs()),
    ])();
  }

  #addNode(budget: Budget): void {
    const kind = this.random.pick(["switch", "host"] as const);
    const at = Array.from({ length: this.random.below(3) }, () => this.end());
    budget.trace("add node", kind, at);
    addNode(this.lab, { kind, name: `new${this.#added++}`, portCount: 1 + this.random.below(6), at });
  }

  #addHca(): void {
    const name = `h${this.#added++}`;
    const port = this.lab.addCa({ name, description: name });
    new PhantomHost(port);
    port.enable();
    this.hcas.set(name, port);
  }

  #removeHca(): void {
    const [name] = this.hcas.keys();
    const port = name === undefined ? undefined : this.hcas.get(name);
    if (name === undefined || port === undefined) return;
    this.faults.forgetHca(name);
    this.hcas.delete(name);
    this.lab.removeCa(port);
  }
}

/** Nodes that the subnet manager's switch has a way to, by cables that are up. */
function reachedFromManager(world: World): Set<FabricNode> {
  const [first] = world.lab.switches.values();
  const reached = new Set<FabricNode>(first === undefined ? [] : [first]);
  for (const node of reached) {
    if (node.switch === undefined) continue;
    for (const port of node.ports) if (port?.peer !== undefined && port.isLinkUp) reached.add(port.peer.node);
  }
  return reached;
}

fuzz("changes", (random, budget) => {
  const world = new World(random);
  if (random.chance(0.8)) world.elapse(random.below(1000 * MS), budget);
  for (let i = 0; i < CHANGES; i++) {
    try {
      budget.trace("change", i, world.clock.nowNs() / 1e6);
      world.change(budget);
    } catch (error) {
      const { message } = error as Error;
      assert.doesNotMatch(message, /^invariant|undefined|NaN|Cannot read/, message);
      assert.ok(
        error instanceof NotFoundError || (error as Error).constructor === Error || (error as Error).name === "Error",
        message,
      );
      budget.note(message.replaceAll(/[\w-]*\d[\w:.-]*/g, ""));
    }
    if (random.chance(0.5)) world.elapse(random.below(300 * MS), budget);
  }
  world.faults.inject({ kind: "clear" }, world.clock.nowNs());
  assert.deepEqual(world.faults.view(0).active, []);
  world.elapse(PATIENCE_NS, budget);
  const { fabric } = world.lab;
  assert.equal(inspectNodes(fabric, 0, 1e6).items.length, fabric.nodes.size);
  assert.equal(inspectLinks(fabric, 0, 1e6).items.length, fabric.links.size);
  const reached = reachedFromManager(world);
  const hosts = [...reached].flatMap((node) =>
    node.ports.filter((port) => port?.isEndPort && port.number > 0 && port.isLinkUp),
  ) as CaPort[];
  // A cable from host to host has no manager behind it.
  const own = hosts.filter(({ peer }) => peer?.node.switch !== undefined && reached.has(peer.node));
  for (const from of own) {
    for (const to of own) {
      assert.equal(traceUnicast(from, to.lid), to.index, `${from.node.label}:${from.number} to ${to.node.label}:${to.number}`);
    }
  }
});
