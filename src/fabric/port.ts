// A port of the fabric: its management attributes, its node, and the link it hangs on.

import { PortAttributes, type PortOptions } from "../mad/attributes.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCapability } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { PortLanes } from "./lanes/port-lanes.ts";
import type { Link } from "./link.ts";
import type { FabricNode } from "./node.ts";

/** Sees the management packets of a port: LRH … payload, without CRCs. It must not change them. */
export type PacketObserver = (packet: Uint8Array, isSent: boolean) => void;

export class Port extends PortAttributes {
  readonly node: FabricNode;
  /** Dense number among the fabric's CA ports, in which `resolve` answers; that of its lane (below -1) at a trunk, -1 on a switch. */
  readonly index: number;
  link: Link | undefined = undefined;
  /** Somebody wants to see what the port sends and receives. */
  observer: PacketObserver | undefined = undefined;
  /** A CA port is enabled by its driver (INIT_IB); a switch port always is. */
  isEnabled: boolean;
  /** The HCA behind it has stopped: its link stays up, nothing that arrives is answered. */
  isFrozen = false;
  /** There is no hardware that it has to be like: it can whatever its cable can. */
  adapts = false;
  /** Packets in the fabric's queue that arrive here. */
  queuedVl15 = 0;
  queuedData = 0;
  /** Its virtual lanes, once data have come this way (lanes/virtual-lanes.ts). */
  lanes: PortLanes | undefined = undefined;

  constructor(node: FabricNode, options: PortOptions, isEnabled: boolean, index = -1) {
    super(options);
    this.node = node;
    this.isEnabled = isEnabled;
    this.index = index;
  }

  /** The port at the other end of the link. */
  get peer(): Port | undefined {
    return this.link?.other(this);
  }

  get isLinkUp(): boolean {
    return this.physState === PhysState.LINK_UP;
  }

  /** Whether PortInfo says that a subnet manager is here. */
  get isSm(): boolean {
    return (PortInfo.capabilityMask.get(this.info, 0) & PortCapability.IS_SM) !== 0;
  }

  set isSm(isSm: boolean) {
    const mask = PortInfo.capabilityMask.get(this.info, 0);
    PortInfo.capabilityMask.set(this.info, 0, isSm ? mask | PortCapability.IS_SM : mask & ~PortCapability.IS_SM);
  }

  /** Whether packets of virtual lanes other than 15 may arrive: ARMED ports receive, only ACTIVE ones send (7.2.7). */
  get canReceiveData(): boolean {
    return this.state >= PortState.ARMED;
  }
}
