// The whole system in one process: guests with drivers and agents, HCAs, a switch and the subnet manager.

import { newMemory } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Device, type DeviceOptions } from "../driver/device.ts";
import { ManagementAgent } from "../driver/management-agent.ts";
import type { CaPort } from "../fabric/ca-port.ts";
import type { DomainFabric } from "../fabric/domain-fabric.ts";
import { LabFabric } from "../fabric/lab-fabric.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { ChosenOptions } from "../sm/options.ts";
import type { DataPath } from "../transport/network.ts";
import { PacketRing, ringBytes } from "../transport/packets/ring.ts";
import { setDataPath } from "./data-path.ts";
import { type EnginePlace, joinEngine, LOG_TRUNK_BYTES, newEngineFabric, newTopologyFabric } from "./engine-fabric.ts";
import { Faults } from "./faults/faults.ts";
import { InProcessDomain, type InProcessNode } from "./in-process.ts";

/** Management packets carried in one sweep. */
const FABRIC_BUDGET = 256;

export interface InProcessFabricOptions {
  clock: Clock;
  random: Random;
  log?: Log;
  isMapped?: boolean;
  /** Engines to spread the HCAs over, one after the other; 1 if left out. What is on different ones exchanges packets. */
  engines?: number;
  /** Switches, hosts and cables; without it, one switch for each engine. The n-th HCA is its n-th host. Not with several engines. */
  topology?: Topology;
  /** What the subnet manager of a topology is told. */
  manager?: ChosenOptions;
  /** How messages between HCAs of an engine go; "auto" if left out. */
  dataPath?: DataPath;
  /** The clock goes on by itself. */
  isMachineClock?: boolean;
}

/** A guest whose port a subnet manager can bring up. */
export interface InProcessGuest {
  readonly name: string;
  readonly node: InProcessNode;
  readonly device: Device;
  readonly agent: ManagementAgent;
  readonly port: CaPort;
}

export interface InProcessEngine {
  readonly fabric: DomainFabric;
  readonly domain: InProcessDomain;
  readonly faults: Faults;
  /** HCAs by name. */
  readonly hcas: Map<string, { readonly node: InProcessNode; readonly port: CaPort }>;
}

function newEngine(place: EnginePlace, options: InProcessFabricOptions): InProcessEngine {
  const { topology, random } = options;
  if (topology !== undefined && place.count > 1) throw new Error("expected one engine for a topology");
  const fabric =
    topology === undefined
      ? newEngineFabric(place, "builtin", random)
      : newTopologyFabric(topology, "builtin", random, options.manager);
  const hcas: InProcessEngine["hcas"] = new Map();
  const domain: InProcessDomain = new InProcessDomain({
    clock: options.clock,
    isMapped: options.isMapped ?? true,
    stepFabric: (nowNs) => fabric.step(nowNs, FABRIC_BUDGET) + faults.step(nowNs),
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  const faults = new Faults({
    fabric,
    get hcas() {
      return [...hcas.keys()];
    },
    setFrozen: (name, isFrozen) => {
      const hca = hcas.get(name);
      if (hca === undefined) return;
      domain.setFrozen(hca.node, isFrozen);
      hca.port.setFrozen(isFrozen);
    },
  });
  setDataPath(domain.network, fabric, place, options);
  return { fabric, domain, faults, hcas };
}

export class InProcessFabric {
  /** Of the first engine; stepping it steps all. */
  readonly domain: InProcessDomain;
  /** The first engine's, with the subnet manager. */
  readonly fabric: DomainFabric;
  readonly guests: InProcessGuest[] = [];
  readonly #engines: InProcessEngine[] = [];
  #next = 0;

  constructor(options: InProcessFabricOptions) {
    const count = options.engines ?? 1;
    for (let index = 0; index < count; index++) this.#engines.push(newEngine({ index, count }, options));
    const domains = this.#engines.map(({ domain }) => domain);
    for (const domain of domains) domain.peers = domains.filter((each) => each !== domain);
    for (let a = 0; a < count; a++) for (let b = a + 1; b < count; b++) this.#join(a, b);
    const [first] = this.#engines;
    if (first === undefined) throw new Error("invariant: an engine at least");
    this.domain = first.domain;
    this.fabric = first.fabric;
  }

  get engines(): readonly InProcessEngine[] {
    return this.#engines;
  }

  /** Adds an HCA on the switch of the next engine, for a driver yet to come. */
  addHca(name: string, memoryBytes: number): { node: InProcessNode; port: CaPort } {
    const { fabric, domain, hcas } = this.#engines[this.#next++ % this.#engines.length]!;
    const port = fabric.addCa({ name, description: `${name} MT25204 vhca` });
    const node = domain.addNode(name, memoryBytes, port, (client) => port.attach(client));
    hcas.set(name, { node, port });
    return { port, node };
  }

  #join(a: number, b: number): void {
    const [there, back] = [newMemory(ringBytes(LOG_TRUNK_BYTES)), newMemory(ringBytes(LOG_TRUNK_BYTES))];
    const count = this.#engines.length;
    for (const [index, peer, out, from] of [[a, b, there, back] as const, [b, a, back, there] as const]) {
      const { fabric, domain } = this.#engines[index]!;
      if (!(fabric instanceof LabFabric)) throw new Error("invariant: a topology has one engine");
      joinEngine({ index, count }, peer, fabric, domain.network, {
        outgoing: new PacketRing(out),
        incoming: new PacketRing(from),
      });
    }
  }

  /** Adds a guest and loads its driver; its port becomes ACTIVE as the domain steps on. */
  addGuest(name: string, memoryBytes: number, device: DeviceOptions = {}): InProcessGuest {
    const { node, port } = this.addHca(name, memoryBytes);
    const loaded = new Device(node.access, device);
    const agent = new ManagementAgent(loaded);
    node.access.background = agent.run;
    const guest = { name, node, device: loaded, agent, port };
    this.guests.push(guest);
    return guest;
  }
}
