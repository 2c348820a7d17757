// The fabric a device domain starts with: one switch, every HCA on a port of its own, a subnet manager behind the switch's
// port 0 or none. Hot-plugging an HCA takes the next free port.

import type { EndpointFactory, ManagementEndpoint } from "../mad/endpoint.ts";
import type { CaOptions } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { Fabric } from "./fabric.ts";
import { type FabricView, inspectFabric } from "./inspect.ts";
import { DEFAULT_BUDGET } from "./limits.ts";
import type { SwitchNode } from "./switch-node.ts";
import type { Trunk, TrunkCarrier } from "./trunk.ts";

export interface LabFabricOptions {
  /** Makes the subnet manager behind the switch's port 0; without it the fabric waits for one on an HCA. */
  readonly subnetManager?: EndpointFactory | undefined;
  /** Ports of the switch; default 64, at most 254. */
  readonly switchPorts?: number | undefined;
  /** GUID of the switch; default 0x001405000000ff00. */
  readonly switchGuid?: bigint | undefined;
  /** NodeDescription of the switch; default "vhca switch". */
  readonly switchDescription?: string | undefined;
  /** Where default node GUIDs begin; default 0x0002c90200000010. */
  readonly firstCaGuid?: bigint | undefined;
}

export interface AddCaOptions extends Omit<CaOptions, "nodeGuid" | "portCount"> {
  /** Default: the next one from 0x0002c90200000010, in steps of 16. */
  readonly nodeGuid?: bigint | undefined;
}

export const DEFAULT_SWITCH_PORTS = 64;
export const DEFAULT_SWITCH_GUID = 0x001405000000ff00n;
export const FIRST_CA_GUID = 0x0002c90200000010n;
const CA_GUID_STEP = 16n;

/** A switch with HCAs. Nothing happens except in `step` and in the calls of a port. */
export class LabFabric {
  readonly fabric: Fabric = new Fabric();
  readonly switch: SwitchNode;
  /** The subnet manager, if there is one. */
  readonly endpoint: ManagementEndpoint | undefined;
  #nextCaGuid: bigint;

  constructor(options: LabFabricOptions = {}) {
    this.#nextCaGuid = options.firstCaGuid ?? FIRST_CA_GUID;
    this.switch = this.fabric.addSwitch({
      guid: options.switchGuid ?? DEFAULT_SWITCH_GUID,
      description: options.switchDescription ?? "vhca switch",
      portCount: options.switchPorts ?? DEFAULT_SWITCH_PORTS,
    });
    this.endpoint = options.subnetManager === undefined ? undefined : this.switch.attachEndpoint(options.subnetManager);
  }

  /**
   * A new HCA port on the next free switch port, disabled until its driver enables it.
   * @throws if the switch is full or the GUID is taken.
   */
  addCa(options: AddCaOptions): CaPort {
    const free = this.switch.ports.find((port) => port.number > 0 && port.link === undefined);
    if (free === undefined) throw new Error(`the switch has no free port: all ${this.switch.portCount} are taken`);
    const nodeGuid = options.nodeGuid ?? this.#freeGuid();
    if (this.#isTaken(nodeGuid)) throw new Error(`node GUID 0x${nodeGuid.toString(16)} is already in the fabric`);
    const node = this.fabric.addCa({ ...options, nodeGuid });
    const port = node.ports[1];
    if (port === undefined) throw new Error("invariant: a CA has a port 1");
    this.fabric.connect(port, free);
    return port;
  }

  /** Joins port `number` of the switch to a switch of another engine. */
  addTrunk(number: number, description: string, lane: number, carrier: TrunkCarrier): Trunk {
    const port = this.switch.ports[number];
    if (port === undefined || port.link !== undefined) throw new Error(`invariant: switch port ${number} is free for a trunk`);
    const trunk = this.fabric.addTrunk(this.switch.guid + BigInt(number), description, lane, carrier);
    this.fabric.connect(trunk.port, port);
    return trunk;
  }

  /** Takes an HCA away; its port is of no use afterwards. */
  removeCa(port: CaPort): void {
    this.fabric.removeNode(port.node);
  }

  /** Handles at most `budget` packets and what is due; returns packets handled. */
  step(nowNs: number, budget: number = DEFAULT_BUDGET): number {
    return this.fabric.step(nowNs, budget);
  }

  /** When `step` next has something to do; Infinity if nothing is pending. */
  nextDeadlineNs(): number {
    return this.fabric.nextDeadlineNs();
  }

  /** The port with the number that `resolve` answered. */
  findPort(index: number): CaPort | undefined {
    return this.fabric.findCaPort(index);
  }

  inspect(): FabricView {
    return inspectFabric(this.fabric);
  }

  #freeGuid(): bigint {
    while (this.#isTaken(this.#nextCaGuid)) this.#nextCaGuid += CA_GUID_STEP;
    const guid = this.#nextCaGuid;
    this.#nextCaGuid += CA_GUID_STEP;
    return guid;
  }

  #isTaken(guid: bigint): boolean {
    for (const node of this.fabric.nodes) if (node.guid === guid) return true;
    return false;
  }
}
