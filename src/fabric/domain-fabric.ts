// The fabric of a device domain, whatever its shape: HCAs come and go, a subnet manager lives behind a switch or nowhere.

import type { Random } from "../base/random.ts";
import type { ManagementEndpoint } from "../mad/endpoint.ts";
import { NodeType } from "../spec/mad/numbers.ts";
import type { AddedNode } from "./added-node.ts";
import type { CaNode, CaOptions } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { Fabric } from "./fabric.ts";
import { type FabricView, inspectFabric } from "./inspect.ts";
import { DEFAULT_BUDGET } from "./limits.ts";
import type { FabricNode } from "./node.ts";
import { SwitchNode } from "./switch-node.ts";

export interface AddCaOptions extends Omit<CaOptions, "nodeGuid" | "portCount" | "portGuids"> {
  /** Name of the HCA; in a topology, of the host that it is. */
  readonly name?: string;
  /** Default: that of the host in a topology, else the next one from 0x0002c90200000010, in steps of 16. */
  readonly nodeGuid?: bigint | undefined;
}

/** Nothing happens except in `step` and in the calls of a port. */
export abstract class DomainFabric {
  readonly fabric: Fabric;
  /** The subnet manager, if there is one. */
  abstract readonly endpoint: ManagementEndpoint | undefined;

  /** @param random decides which packets faulty cables lose */
  constructor(random?: Random) {
    this.fabric = new Fabric(random);
  }

  /**
   * A port for a new HCA, disabled until its driver enables it.
   * @throws if there is no place for it or the GUID is taken.
   */
  abstract addCa(options: AddCaOptions): CaPort;

  /** Takes an HCA away; its port is of no use afterwards. */
  abstract removeCa(port: CaPort): void;

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

  /** Adds a switch or a phantom host, without cables; what it is like has been checked (added-node.ts). */
  abstract addNode(node: AddedNode): SwitchNode | CaNode;

  /** Takes a node away that is no HCA and need not stay. */
  dropNode(node: FabricNode): void {
    this.fabric.removeNode(node);
  }

  /** Why a node cannot be taken away, or undefined. */
  whyNodeStays(node: FabricNode): string | undefined {
    const isManaged = node instanceof SwitchNode && node.endpoint !== undefined;
    return isManaged ? "the subnet manager lives there" : undefined;
  }

  inspect(): FabricView {
    return inspectFabric(this.fabric);
  }

  /** Whether the cable at port `number` of the switch with this GUID leads to another switch. */
  leadsToSwitch(guid: bigint, number: number): boolean {
    return this.fabric.findNode(guid)?.ports[number]?.peer?.node.type === NodeType.SWITCH;
  }

  protected assertGuidIsFree(guid: bigint): void {
    if (this.fabric.findNode(guid) !== undefined) throw new Error(`node GUID 0x${guid.toString(16)} is already in the fabric`);
  }
}
