// The fabric a device domain starts with: one switch, every HCA on a port of its own, a subnet manager behind the switch's
// port 0 or none. Hot-plugging an HCA takes the next free port.

import type { Random } from "../base/random.ts";
import type { EndpointFactory } from "../mad/endpoint.ts";
import type { AddedNode } from "./added-node.ts";
import type { CaNode } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { type AddCaOptions, DomainFabric } from "./domain-fabric.ts";
import { DEFAULT_SWITCH_GUID, FIRST_CA_GUID } from "./guids.ts";
import type { FabricNode } from "./node.ts";
import type { SwitchNode } from "./switch-node.ts";
import { addPhantom, addSwitch } from "./topology/build.ts";
import type { Trunk, TrunkCarrier } from "./trunk.ts";

export interface LabFabricOptions {
  /** Makes the subnet manager behind the switch's port 0; without it the fabric waits for one on an HCA. */
  readonly subnetManager?: EndpointFactory | undefined;
  /** Ports of the switch; default 64, at most 254. */
  readonly switchPorts?: number | undefined;
  /** Name of the switch; default "s1". */
  readonly switchName?: string | undefined;
  /** GUID of the switch; default 0x001405000000ff00. */
  readonly switchGuid?: bigint | undefined;
  /** NodeDescription of the switch; default "vhca switch". */
  readonly switchDescription?: string | undefined;
  /** Of what faulty cables lose. */
  readonly random?: Random | undefined;
  /** Where default node GUIDs begin; default 0x0002c90200000010. */
  readonly firstCaGuid?: bigint | undefined;
}

export const DEFAULT_SWITCH_PORTS = 64;
const CA_GUID_STEP = 16n;
/** GUIDs of switches that are added lie so far behind those of the engines' switches and their cables. */
const ADDED_SWITCH_GUIDS = 0x10000n;

/** A switch with HCAs. */
export class LabFabric extends DomainFabric {
  readonly switch: SwitchNode;
  #nextCaGuid: bigint;

  constructor(options: LabFabricOptions = {}) {
    super(options.random);
    this.#nextCaGuid = options.firstCaGuid ?? FIRST_CA_GUID;
    this.switch = this.fabric.addSwitch({
      guid: options.switchGuid ?? DEFAULT_SWITCH_GUID,
      description: options.switchDescription ?? "vhca switch",
      portCount: options.switchPorts ?? DEFAULT_SWITCH_PORTS,
    });
    this.fabric.nameNode(this.switch, options.switchName ?? "s1");
    if (options.subnetManager !== undefined) this.startManager(this.switch, options.subnetManager);
  }

  /** A new HCA port on the next free switch port. @throws if the switch is full or the GUID or name is taken */
  addCa(options: AddCaOptions): CaPort {
    const { name } = options;
    if (name !== undefined && this.fabric.findLabel(name) !== undefined)
      throw new Error(`there is a node named ${name} already; give the HCA another name`);
    const free = this.switch.ports.find((port) => port.number > 0 && port.link === undefined);
    if (free === undefined) throw new Error(`the switch has no free port: all ${this.switch.portCount} are taken`);
    const nodeGuid = options.nodeGuid ?? this.#freeGuid();
    this.assertGuidIsFree(nodeGuid);
    const node = this.fabric.addCa({ ...options, nodeGuid });
    node.hca = name;
    if (name !== undefined) this.fabric.nameNode(node, name);
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

  addNode(node: AddedNode): SwitchNode | CaNode {
    const { guid = node.kind === "switch" ? this.#freeSwitchGuid() : this.#freeGuid() } = node;
    return node.kind === "switch" ? addSwitch(this.fabric, node, guid) : addPhantom(this.fabric, node, guid);
  }

  override whyNodeStays(node: FabricNode): string | undefined {
    return node === this.switch ? "HCAs are plugged into it" : super.whyNodeStays(node);
  }

  removeCa(port: CaPort): void {
    this.fabric.removeNode(port.node);
  }

  #freeSwitchGuid(): bigint {
    let guid = this.switch.guid + ADDED_SWITCH_GUIDS;
    while (this.fabric.findNode(guid) !== undefined) guid++;
    return guid;
  }

  #freeGuid(): bigint {
    while (this.fabric.findNode(this.#nextCaGuid) !== undefined) this.#nextCaGuid += CA_GUID_STEP;
    const guid = this.#nextCaGuid;
    this.#nextCaGuid += CA_GUID_STEP;
    return guid;
  }
}
