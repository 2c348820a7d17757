// For tests of the subnet manager on topologies: a fabric under a simulated clock, and its switches' tables as a graph.

import assert from "node:assert/strict";
import { SimClock } from "../../src/base/clock.ts";
import type { Log } from "../../src/base/log.ts";
import { Random } from "../../src/base/random.ts";
import { type ManagerOptions, newTopologyFabric } from "../../src/domain/engine-fabric.ts";
import type { CaPort } from "../../src/fabric/ca-port.ts";
import type { Port } from "../../src/fabric/port.ts";
import type { Topology } from "../../src/fabric/topology/topology.ts";
import type { TopologyFabric } from "../../src/fabric/topology-fabric.ts";
import type { SubnetManager } from "../../src/sm/subnet-manager.ts";

export class Lab {
  readonly clock = new SimClock();
  readonly lab: TopologyFabric;
  readonly warnings: string[] = [];

  constructor(topology: Topology, options: ManagerOptions = {}) {
    const log: Log = { debug: () => {}, info: () => {}, warn: (message) => this.warnings.push(message) };
    this.lab = newTopologyFabric(topology, "builtin", new Random(1), { log, ...options });
  }

  /** Until nothing is due for a while. */
  settle(): void {
    for (let i = 0; i < 100_000; i++) {
      this.lab.step(this.clock.nowNs());
      if (this.lab.fabric.queued > 0) continue;
      const waitNs = this.lab.nextDeadlineNs() - this.clock.nowNs();
      if (waitNs > 2e9) return;
      this.clock.advanceNs(Math.max(0, waitNs));
    }
    assert.fail("never quiet");
  }

  get manager(): SubnetManager {
    return this.lab.endpoint as SubnetManager;
  }

  get hosts(): CaPort[] {
    return [...this.lab.fabric.nodes].flatMap((node) => node.ports).filter((p) => p?.isEndPort && p.number > 0) as CaPort[];
  }

  /** Ports by which switches send to `dlid` on the way from `from`, as their tables say; the last leads to the end port. */
  way(from: CaPort, dlid: number): Port[] {
    const ports: Port[] = [];
    for (let at = from.peer; at?.node.switch !== undefined; at = ports.at(-1)?.peer) {
      const out = at.node.ports[at.node.switch.linear.portOf(dlid)];
      assert.ok(out !== undefined && out.number > 0 && ports.length < 64, `LID ${dlid} arrives`);
      ports.push(out);
    }
    return ports;
  }
}

/**
 * Whether packets can wait for each other in a circle: a cycle in the graph of channels (a switch's port towards another switch), where one leads
 * to the next if the tables send some LID from the one to the other.
 */
export function hasChannelCycle(lab: Lab): boolean {
  const waitsFor = new Map<Port, Set<Port>>();
  const lids = [...lab.manager.subnet.byLid.keys()];
  for (const node of lab.lab.switches.values()) {
    for (const port of node.ports) {
      const next = port.peer?.node;
      if (port.number === 0 || next?.switch === undefined) continue;
      const after = new Set<Port>();
      waitsFor.set(port, after);
      for (const lid of lids) {
        if (node.switch.linear.portOf(lid) !== port.number) continue;
        const out = next.ports[next.switch.linear.portOf(lid)];
        if (out !== undefined && out.number > 0 && out.peer?.node.switch !== undefined) after.add(out);
      }
    }
  }
  return hasCycle(waitsFor);
}

/** Takes away channels that wait for none that is left; what remains waits in circles. */
function hasCycle(waitsFor: Map<Port, Set<Port>>): boolean {
  for (let before = -1; before !== waitsFor.size; ) {
    before = waitsFor.size;
    for (const [port, after] of waitsFor) if (![...after].some((next) => waitsFor.has(next))) waitsFor.delete(port);
  }
  return waitsFor.size > 0;
}
