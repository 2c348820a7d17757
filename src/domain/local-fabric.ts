// vhca/in-process: HCAs, switch, subnet manager and engine inside the calling program. No thread, no socket, no privilege, no native
// module; everything happens while somebody waits, polls or serves. For tests, teaching and demonstrations.

import { randomInt } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { Random } from "../base/random.ts";
import { parseTopology } from "../fabric/topology/parse.ts";
import { isShape, shapeTopology } from "../fabric/topology/shapes.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { DataPath } from "../transport/network.ts";
import { Context, type ContextOptions } from "../verbs/context.ts";
import { InProcessFabric } from "./in-process-fabric.ts";
import { FabricControl, FaultControl } from "./local-control.ts";

export type * from "../fabric/added-node.ts";
export type * from "../fabric/changes.ts";
export type { NodeView } from "../fabric/inspect.ts";
export type { LinkView } from "../fabric/inspect-links.ts";
export type { PathView } from "../fabric/path.ts";
export type * from "./faults/operations.ts";
export type { FabricControl, FaultControl } from "./local-control.ts";

const MIB = 2 ** 20;
const NS_PER_MS = 1e6;

export interface LocalFabricOptions {
  /** Decides what time it is; the machine's by default. A simulated one makes everything repeatable. */
  readonly clock?: Clock;
  /** Of transaction numbers and the like; random by default. */
  readonly seed?: number;
  /** Engines that the HCAs are spread over, one after the other; 1 if left out. HCAs of different ones exchange packets. */
  readonly engines?: number;
  /**
   * Switches, hosts and cables: a shape such as "fat-tree:4", the text of a topology (YAML or a netlist), or one that was parsed. Devices are
   * the hosts n1, n2, … as they are opened, or else the first that are free. One switch for each engine if left out; not with several.
   */
  readonly topology?: string | Topology;
  /**
   * Whether messages are cut into packets: always ("packets"), never ("short"), or where faults want it ("auto", the default); "lanes": they are, and go
   * hop by hop through virtual lanes with credits, at the rate of the cables.
   */
  readonly dataPath?: DataPath;
}

export interface LocalDeviceOptions extends ContextOptions {
  /** Memory for queues, buffers and the HCA's tables, in bytes; 64 MiB if left out. */
  readonly memoryBytes?: number;
}

function topologyOf(topology: string | Topology): Topology {
  if (typeof topology !== "string") return topology;
  return isShape(topology) ? shapeTopology(topology) : parseTopology(topology, "topology");
}

const machineClock: Clock = { nowNs: () => Math.round(performance.now() * NS_PER_MS) };

export class LocalFabric {
  /** What can be seen and changed of the fabric; the devices' names are n1, n2, … */
  readonly fabric: FabricControl;
  /** What goes wrong on purpose. */
  readonly faults: FaultControl;
  readonly #fabric: InProcessFabric;
  readonly #defaults: { clock: Clock; seed: number };
  #count = 0;

  /** @throws TopologyError if the topology cannot be built */
  constructor(options: LocalFabricOptions = {}) {
    const { clock = machineClock, seed = randomInt(2 ** 32), engines = 1, dataPath = "auto" } = options;
    this.#defaults = { clock, seed };
    const topology = options.topology === undefined ? {} : { topology: topologyOf(options.topology) };
    this.#fabric = new InProcessFabric({
      clock,
      random: new Random(seed),
      engines,
      dataPath,
      isMachineClock: clock === machineClock,
      ...topology,
    });
    this.fabric = new FabricControl(this.#fabric);
    this.faults = new FaultControl(this.#fabric, clock);
  }

  /** Plugs another HCA into the switch and opens it. */
  openDevice(options: LocalDeviceOptions = {}): Context {
    const { memoryBytes = 64 * MIB, ...device } = options;
    this.#count++;
    const { node } = this.#fabric.addHca(`n${this.#count}`, memoryBytes);
    const { clock, seed } = this.#defaults;
    return new Context(node.access, { clock, random: new Random(seed + this.#count), ...device });
  }

  /** Lets everything do a little; returns how much there was. Whoever waits does this by itself. */
  step(): number {
    return this.#fabric.domain.step();
  }

  /** Lets everything work until there is nothing to do at this time. */
  settle(): void {
    this.#fabric.domain.settle();
  }
}
