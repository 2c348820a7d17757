// What CAs and switches have in common.

import { Slabs } from "../base/slab.ts";
import type { ManagedNode, SwitchAttributes } from "../mad/attributes.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import type { NodeType } from "../spec/mad/numbers.ts";
import { NODE_DESCRIPTION_BYTES } from "../spec/mad/sm-attributes.ts";
import type { Fabric } from "./fabric.ts";
import type { Port } from "./port.ts";
import type { PacketDelivery } from "./queue.ts";

export interface NodeIdentity {
  readonly guid: bigint;
  readonly systemImageGuid: bigint;
  readonly deviceId: number;
  readonly vendorId: number;
  readonly revision: number;
  readonly partitionCap: number;
  /** NodeDescription; cut to 64 bytes of UTF-8. */
  readonly description: string;
}

const slabs = new Slabs();

export abstract class FabricNode implements ManagedNode {
  readonly fabric: Fabric;
  abstract readonly type: (typeof NodeType)[keyof typeof NodeType];
  abstract readonly ports: readonly (Port | undefined)[];
  readonly guid: bigint;
  readonly systemImageGuid: bigint;
  readonly deviceId: number;
  readonly vendorId: number;
  readonly revision: number;
  readonly partitionCap: number;
  readonly description: Uint8Array;
  /** Forwarding tables, on a switch. */
  readonly switch?: SwitchAttributes;
  /** What commands call it: its name in the topology, or that of its HCA (`Fabric.nameNode`); unique, "" for none. */
  label = "";
  /** The last multicast walk that came by (`traceMulticast`). */
  visitStamp = 0;

  constructor(fabric: Fabric, identity: NodeIdentity) {
    this.fabric = fabric;
    this.guid = identity.guid;
    this.systemImageGuid = identity.systemImageGuid;
    this.deviceId = identity.deviceId;
    this.vendorId = identity.vendorId;
    this.revision = identity.revision;
    this.partitionCap = identity.partitionCap;
    this.description = encodeDescription(identity.description);
  }

  /** NodeDescription as text. */
  get name(): string {
    const end = this.description.indexOf(0);
    return Buffer.from(end < 0 ? this.description : this.description.subarray(0, end)).toString();
  }

  /** A packet has arrived at `delivery.port`, one of this node's. */
  abstract receive(delivery: PacketDelivery): void;
  /** The link at `port` came up (to INIT) or went down. */
  abstract linkChanged(port: Port, isUp: boolean): void;
  /** A Set made `port` ARMED or ACTIVE. */
  protected abstract stateSet(port: Port): void;

  setPortState(number: number, state: number): void {
    const port = this.ports[number];
    if (port === undefined) return;
    if (state === PortState.DOWN) {
      port.link?.retrain();
      return;
    }
    port.state = state;
    this.fabric.bumpEpoch();
    this.stateSet(port);
  }

  setPhysState(number: number, physState: number): void {
    const port = this.ports[number];
    if (port === undefined) return;
    port.link?.goDown();
    port.physState = physState;
    if (physState === PhysState.POLLING) port.link?.train();
  }

  attributesChanged(): void {
    this.fabric.bumpEpoch();
  }

  trapRepressed(_tidHi: number, _tidLo: number): void {}
}

function encodeDescription(text: string): Uint8Array {
  const { buffer, offset } = slabs.take(NODE_DESCRIPTION_BYTES);
  const bytes = new Uint8Array(buffer, offset, NODE_DESCRIPTION_BYTES);
  bytes.set(Buffer.from(text).subarray(0, NODE_DESCRIPTION_BYTES));
  return bytes;
}
