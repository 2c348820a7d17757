// Guests as hosts of a topology, each with its driver, brought up by the subnet manager: for tests of what cables do to data.

import assert from "node:assert/strict";
import { SimClock } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import { InProcessFabric, type InProcessFabricOptions } from "../../src/domain/in-process-fabric.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import type { Fabric } from "../../src/fabric/fabric.ts";
import type { Link } from "../../src/fabric/link.ts";
import type { LinkFaults } from "../../src/fabric/link-faults.ts";
import type { Port } from "../../src/fabric/port.ts";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
import type { Network } from "../../src/transport/network.ts";
import type { End } from "./pair.ts";

const SMALL = { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 };
const CQES = 255;
const NS_PER_MS = 1e6;
const BRING_UP_MS = 300;

export class CabledHosts {
  readonly clock = new SimClock();
  readonly system: InProcessFabric;
  readonly hosts: End[] = [];

  /**
   * @param yaml the topology
   * @param names of the hosts that are guests
   * @param options how data go between them, and how they are routed
   */
  constructor(
    yaml: string,
    names: readonly string[],
    seed = 1,
    memoryBytes = 16 << 20,
    options: Pick<InProcessFabricOptions, "dataPath" | "manager"> = {},
  ) {
    const topology = parseTopology(yaml, "test");
    this.system = new InProcessFabric({ clock: this.clock, random: new Random(seed), topology, ...options });
    for (const name of names) {
      const { device, node, port } = this.system.addGuest(name, memoryBytes, SMALL);
      const pd = device.allocatePd();
      this.hosts.push({ node, device, wire: port, pd, cq: new DriverCompletionQueue(device, CQES, pd) });
    }
    this.elapse(BRING_UP_MS * NS_PER_MS, BRING_UP_MS);
    for (const { port, name } of this.system.guests) assert.ok(port.isActive, `${name} is up`);
  }

  get fabric(): Fabric {
    return this.system.fabric.fabric;
  }

  get network(): Network {
    return this.system.domain.network;
  }

  /** Lets `ns` pass in steps, with everything that becomes due in between. */
  elapse(ns: number, steps = 20): void {
    for (let i = 0; i < steps; i++) {
      this.clock.advanceNs(ns / steps);
      this.system.domain.settle();
    }
  }

  /** The cable between two nodes. */
  link(a: string, b: string): Link {
    for (const link of this.fabric.links) {
      const names = [link.a.node.name, link.b.node.name].map((name) => name.split(" ")[0]);
      if (names.includes(a) && names.includes(b)) return link;
    }
    throw new Error(`there is no cable between ${a} and ${b}`);
  }

  /** The port of `node` on the cable to `peer`. */
  port(node: string, peer: string): Port {
    const { a, b } = this.link(node, peer);
    return a.node.name.split(" ")[0] === node ? a : b;
  }

  setFaults(a: string, b: string, faults: Partial<LinkFaults> | undefined): void {
    const link = this.link(a, b);
    this.fabric.setFaults(link, faults === undefined ? undefined : { loss: 0, corruption: 0, delayNs: 0, ...faults });
  }
}
