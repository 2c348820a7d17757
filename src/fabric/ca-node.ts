// A channel adapter: ports without forwarding between them. Values of the HCA we build: infinihost 6.7.

import { type PortInfoValues, PortKind } from "../mad/attributes.ts";
import { Mtu, PhysState, PortState } from "../spec/ib/numbers.ts";
import { LinkSpeed, LinkWidth, NodeType, PortCapability } from "../spec/mad/numbers.ts";
import { CaPort } from "./ca-port.ts";
import type { Fabric } from "./fabric.ts";
import { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import type { PacketDelivery } from "./queue.ts";

export interface CaOptions {
  readonly nodeGuid: bigint;
  readonly description: string;
  /** Default 1. */
  readonly portCount?: number;
  /** Port GUIDs by port number; node GUID + number where there is none. */
  readonly portGuids?: ReadonlyMap<number, bigint> | undefined;
  /** Default: node GUID + 3, as the cards have it. */
  readonly systemImageGuid?: bigint;
  /** Default 25204 (MT25204). */
  readonly deviceId?: number;
  /** Default 0x0002c9. */
  readonly vendorId?: number;
  /** Default 0xa0. */
  readonly revision?: number;
  /** P_Key table entries; default 64. */
  readonly pkeyCount?: number;
  /** GID table entries; default 32. */
  readonly guidCount?: number;
  /** PortInfo values that differ from the HCA's. */
  readonly portInfo?: PortInfoValues;
}

const VLS_0_TO_3 = 3;
const RESPONSE_TIME = 0x10;
const ERROR_THRESHOLD = 8;
const VL_ARB_ENTRIES = 8;

/** PortInfo of an MT25204 port before its driver has enabled it. */
const CA_POWER_UP: PortInfoValues = {
  capabilityMask:
    PortCapability.TRAP |
    PortCapability.APM |
    PortCapability.SL_MAP |
    PortCapability.LED_INFO |
    PortCapability.SYSTEM_IMAGE_GUID |
    PortCapability.VENDOR_CLASS |
    PortCapability.CAPABILITY_NOTICE |
    PortCapability.CLIENT_REREGISTRATION,
  linkWidthEnabled: LinkWidth.W1X | LinkWidth.W4X,
  linkWidthSupported: LinkWidth.W1X | LinkWidth.W4X,
  linkWidthActive: LinkWidth.W4X,
  linkSpeedSupported: LinkSpeed.SDR | LinkSpeed.DDR,
  linkSpeedEnabled: LinkSpeed.SDR | LinkSpeed.DDR,
  linkSpeedActive: LinkSpeed.DDR,
  portState: PortState.DOWN,
  physState: PhysState.DISABLED,
  linkDownDefault: PhysState.POLLING,
  neighborMtu: Mtu.MTU_2048,
  mtuCap: Mtu.MTU_2048,
  vlCap: VLS_0_TO_3,
  operationalVls: VLS_0_TO_3,
  vlArbHighCap: VL_ARB_ENTRIES,
  vlArbLowCap: VL_ARB_ENTRIES,
  responseTime: RESPONSE_TIME,
  localPhyErrors: ERROR_THRESHOLD,
  overrunErrors: ERROR_THRESHOLD,
};

const DEFAULT_PKEYS = 64;
const DEFAULT_GUIDS = 32;
const MT25204 = 25204;
const MELLANOX = 0x0002c9;
const REVISION = 0xa0;

export class CaNode extends FabricNode {
  readonly type = NodeType.CA;
  readonly ports: readonly (CaPort | undefined)[];
  /** There is no VM: it answers for itself (phantom-host.ts). */
  isPhantom = false;
  /** Name of the HCA that is this node, if one is. */
  hca: string | undefined = undefined;

  /** @param nextIndex gives each port its dense number in the fabric. */
  constructor(fabric: Fabric, options: CaOptions, nextIndex: () => number) {
    const pkeyCount = options.pkeyCount ?? DEFAULT_PKEYS;
    super(fabric, {
      guid: options.nodeGuid,
      systemImageGuid: options.systemImageGuid ?? options.nodeGuid + 3n,
      deviceId: options.deviceId ?? MT25204,
      vendorId: options.vendorId ?? MELLANOX,
      revision: options.revision ?? REVISION,
      partitionCap: pkeyCount,
      description: options.description,
    });
    const portCount = options.portCount ?? 1;
    // of that very length: a list that grows has room for sixteen more
    const ports = new Array<CaPort | undefined>(portCount + 1).fill(undefined);
    const powerUp = options.portInfo === undefined ? CA_POWER_UP : { ...CA_POWER_UP, ...options.portInfo };
    for (let number = 1; number <= portCount; number++) {
      const guid = options.portGuids?.get(number) ?? options.nodeGuid + BigInt(number);
      const guidCount = options.guidCount ?? DEFAULT_GUIDS;
      ports[number] = new CaPort(this, { number, kind: PortKind.CA, guid, pkeyCount, guidCount, powerUp }, nextIndex());
    }
    this.ports = ports;
  }

  receive(delivery: PacketDelivery): void {
    this.ports[delivery.port.number]?.receive(delivery.packet, delivery.view);
  }

  linkChanged(port: Port, isUp: boolean): void {
    this.fabric.bumpEpoch();
    if (!isUp) this.ports[port.number]?.announce(false);
  }

  protected stateSet(port: Port): void {
    if (port.isActive) this.ports[port.number]?.announce(true);
  }
}
