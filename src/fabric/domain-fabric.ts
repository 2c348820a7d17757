// The fabric of a device domain, whatever its shape: HCAs come and go, a subnet manager lives behind a switch or nowhere.

import type { Random } from "../base/random.ts";
import type { EndpointFactory, ManagementEndpoint } from "../mad/endpoint.ts";
import { NodeType } from "../spec/mad/numbers.ts";
import type { AddedNode } from "./added-node.ts";
import type { CaNode, CaOptions } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { Fabric } from "./fabric.ts";
import { type FabricView, inspectFabric } from "./inspect.ts";
import { type LanesOptions, VirtualLanes } from "./lanes/virtual-lanes.ts";
import { DEFAULT_BUDGET } from "./limits.ts";
import type { FabricNode } from "./node.ts";
import type { SwitchNode } from "./switch-node.ts";

export interface AddCaOptions extends Omit<CaOptions, "nodeGuid" | "portCount" | "portGuids"> {
  /** Name of the HCA; in a topology, of the host that it is. */
  readonly name?: string;
  /** Default: that of the host in a topology, else the next one from 0x0002c90200000010, in steps of 16. */
  readonly nodeGuid?: bigint | undefined;
}

/** Nothing happens except in `step` and in the calls of a port. */
export abstract class DomainFabric {
  readonly fabric: Fabric;
  /** Where the built-in subnet manager lives, and what makes one. */
  #home: { readonly node: SwitchNode; readonly make: EndpointFactory; manager: ManagementEndpoint } | undefined = undefined;

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

  /** The subnet manager, if there is one and it is alive. */
  get endpoint(): ManagementEndpoint | undefined {
    return this.#home?.node.endpoint;
  }

  /** Whether there is a built-in subnet manager, dead or alive. */
  get isManaged(): boolean {
    return this.#home !== undefined;
  }

  protected startManager(node: SwitchNode, make: EndpointFactory): void {
    this.#home = { node, make, manager: node.attachEndpoint(make) };
  }

  /** The subnet manager is gone, with all it knew; the subnet goes on as it is. */
  killManager(): void {
    if (this.#home === undefined || this.endpoint === undefined) return;
    const { node, manager } = this.#home;
    // With ibsim's protocol, a program may have put itself before it.
    if (node.endpoint !== manager) throw new Error("a program of the host uses the port of the subnet manager; end it first");
    node.replaceEndpoint(undefined);
  }

  /** Another one starts in its place: it knows what it finds. */
  reviveManager(): void {
    const home = this.#home;
    if (home !== undefined && this.endpoint === undefined) home.manager = home.node.attachEndpoint(home.make);
  }

  /** Adds a switch or a phantom host, without cables; what it is like has been checked (added-node.ts). */
  abstract addNode(node: AddedNode): SwitchNode | CaNode;

  /** Takes a node away that is no HCA and need not stay. */
  dropNode(node: FabricNode): void {
    this.fabric.removeNode(node);
  }

  /** Why a node cannot be taken away, or undefined. */
  whyNodeStays(node: FabricNode): string | undefined {
    return node === this.#home?.node ? "the subnet manager lives there" : undefined;
  }

  /** Data go hop by hop from now on, through virtual lanes with credits (lanes/virtual-lanes.ts). */
  openLanes(options?: LanesOptions): VirtualLanes {
    this.fabric.lanes ??= new VirtualLanes(this.fabric, options);
    return this.fabric.lanes;
  }

  inspect(): FabricView {
    return inspectFabric(this.fabric);
  }

  /** Whether the cable at port `number` of the switch with this GUID leads to another switch. */
  leadsToSwitch(guid: bigint, number: number): boolean {
    return this.fabric.findNode(guid)?.ports[number]?.peer?.node.type === NodeType.SWITCH;
  }

  /** Name of the node at the far end of the cable at port `number` of the switch with this GUID. */
  hostBehind(guid: bigint, number: number): string | undefined {
    return this.fabric.findNode(guid)?.ports[number]?.peer?.node.label;
  }

  protected assertGuidIsFree(guid: bigint): void {
    if (this.fabric.findNode(guid) !== undefined) throw new Error(`node GUID 0x${guid.toString(16)} is already in the fabric`);
  }
}
