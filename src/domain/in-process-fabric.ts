// The whole system in one process: guests with drivers and agents, HCAs, a switch and the subnet manager.

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Device, type DeviceOptions } from "../driver/device.ts";
import { ManagementAgent } from "../driver/management-agent.ts";
import type { CaPort } from "../fabric/ca-port.ts";
import { LabFabric } from "../fabric/lab-fabric.ts";
import { subnetManager } from "../sm/subnet-manager.ts";
import { InProcessDomain, type InProcessNode } from "./in-process.ts";

/** Management packets carried in one sweep. */
const FABRIC_BUDGET = 256;

export interface InProcessFabricOptions {
  clock: Clock;
  random: Random;
  log?: Log;
  isMapped?: boolean;
}

/** A guest whose port a subnet manager can bring up. */
export interface InProcessGuest {
  readonly name: string;
  readonly node: InProcessNode;
  readonly device: Device;
  readonly agent: ManagementAgent;
  readonly port: CaPort;
}

export class InProcessFabric {
  readonly domain: InProcessDomain;
  readonly fabric: LabFabric;
  readonly guests: InProcessGuest[] = [];

  constructor(options: InProcessFabricOptions) {
    this.fabric = new LabFabric({ subnetManager: subnetManager({ random: options.random, isSingleSwitch: true }) });
    this.domain = new InProcessDomain({
      clock: options.clock,
      isMapped: options.isMapped ?? true,
      stepFabric: (nowNs) => this.fabric.step(nowNs, FABRIC_BUDGET),
      ...(options.log === undefined ? {} : { log: options.log }),
    });
  }

  /** Adds an HCA on the switch, for a driver yet to come. */
  addHca(name: string, memoryBytes: number): { node: InProcessNode; port: CaPort } {
    const port = this.fabric.addCa({ description: `${name} MT25204 vhca` });
    return { port, node: this.domain.addNode(name, memoryBytes, port, (client) => port.attach(client)) };
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
