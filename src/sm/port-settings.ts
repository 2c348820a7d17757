// What a port's PortInfo is to say: of every link its MTU and lanes, of every end port its LIDs and whom it belongs to. IBA vol 1, 14.2.5.6.

import type { Field } from "../base/layout.ts";
import { bytesOf } from "../mad/mad.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCapability } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Settings } from "./options.ts";
import type { Partitions } from "./partitions.ts";
import type { ServiceLevels } from "./service-levels.ts";
import type { Subnet, SubnetPort } from "./subnet.ts";

export class PortSettings {
  readonly #subnet: Subnet;
  readonly #settings: Settings;
  readonly #partitions: Partitions;
  readonly #levels: ServiceLevels;

  constructor(subnet: Subnet, settings: Settings, partitions: Partitions, levels: ServiceLevels) {
    this.#subnet = subnet;
    this.#settings = settings;
    this.#partitions = partitions;
    this.#levels = levels;
  }

  get #headLife(): number | undefined {
    return this.#settings.headOfQueueLife;
  }

  /** The manager's own LID. */
  get smLid(): number {
    const { root } = this.#subnet;
    return root?.presentPorts()[0]?.lid ?? 0;
  }

  /** Whether a port with a link has all that it is to have. */
  isConfigured(port: SubnetPort): boolean {
    if (port.state === PortState.INIT) return false;
    return this.#hasLinkSettings(port) && (!port.isEndPort || this.hasEndPortSettings(port));
  }

  /** PortInfo that configures a port with a link: as it is, with what is wanted; no change of state. */
  wanted(port: SubnetPort): DataView {
    const info = unchanged(port.info);
    if (port.isEndPort) this.putEndPortSettings(port, info);
    PortInfo.neighborMtu.set(info, 0, this.#linkMtu(port));
    PortInfo.operationalVls.set(info, 0, linkVls(port));
    if (this.#levels.isOn) PortInfo.vlHighLimit.set(info, 0, this.#levels.highLimit);
    if (this.#headLife !== undefined && !port.isEndPort) PortInfo.hoqLife.set(info, 0, this.#headLife);
    if (this.#partitions.isOn) {
      const isEnforcing = this.#partitions.isEnforcedAt(port) ? 1 : 0;
      PortInfo.partitionEnforcementIn.set(info, 0, isEnforcing);
      PortInfo.partitionEnforcementOut.set(info, 0, isEnforcing);
    }
    PortInfo.linkDownDefault.set(info, 0, PhysState.POLLING);
    return info;
  }

  hasEndPortSettings(port: SubnetPort): boolean {
    if (port.needsReregister && port.number !== 0) return false;
    if (PortInfo.gidPrefix.getBig(port.info, 0) !== this.#settings.gidPrefix) return false;
    return this.#endPortSettings(port).every(([field, value]) => field.get(port.info, 0) === value);
  }

  putEndPortSettings(port: SubnetPort, info: DataView): void {
    for (const [field, value] of this.#endPortSettings(port)) field.set(info, 0, value);
    PortInfo.gidPrefix.setBig(info, 0, this.#settings.gidPrefix);
    PortInfo.mkey.setBig(info, 0, this.#settings.mkeyOf(port.node.guid));
    const canReregister = (PortInfo.capabilityMask.get(port.info, 0) & PortCapability.CLIENT_REREGISTRATION) !== 0;
    if (port.needsReregister && canReregister) PortInfo.clientReregister.set(info, 0, 1);
  }

  // looked at for every link of the subnet, whatever has changed
  #hasLinkSettings(port: SubnetPort): boolean {
    return (
      PortInfo.neighborMtu.get(port.info, 0) === this.#linkMtu(port) &&
      PortInfo.operationalVls.get(port.info, 0) === linkVls(port) &&
      (this.#headLife === undefined || port.isEndPort || PortInfo.hoqLife.get(port.info, 0) === this.#headLife) &&
      (!this.#levels.isOn || PortInfo.vlHighLimit.get(port.info, 0) === this.#levels.highLimit) &&
      (!this.#partitions.isOn || isEnforced(port) === this.#partitions.isEnforcedAt(port))
    );
  }

  #linkMtu(port: SubnetPort): number {
    const peerCap = port.peer === undefined ? this.#settings.mtuCode : PortInfo.mtuCap.get(port.peer.info, 0);
    return Math.min(this.#settings.mtuCode, PortInfo.mtuCap.get(port.info, 0), peerCap);
  }

  #endPortSettings(port: SubnetPort): readonly (readonly [Field, number])[] {
    return [
      [PortInfo.lid, port.lid],
      [PortInfo.smLid, this.smLid],
      [PortInfo.lmc, Math.log2(port.lidCount)],
      [PortInfo.masterSmSl, 0],
      [PortInfo.subnetTimeout, this.#settings.subnetTimeout],
      // read by all, written by those who know the M_Key (14.2.4.1); it never lapses
      [PortInfo.mkeyProtect, this.#settings.mkeyOf(port.node.guid) === 0n ? 0 : 1],
      [PortInfo.mkeyLeasePeriod, 0],
    ];
  }
}

/** A copy that changes no state when it is set. */
export function unchanged(info: DataView): DataView {
  const copy = new DataView(bytesOf(info).slice().buffer);
  PortInfo.portState.set(copy, 0, PortState.NO_CHANGE);
  PortInfo.physState.set(copy, 0, PhysState.NO_CHANGE);
  return copy;
}

const isEnforced = ({ info }: SubnetPort): boolean =>
  PortInfo.partitionEnforcementIn.get(info, 0) === 1 && PortInfo.partitionEnforcementOut.get(info, 0) === 1;

/** Highest VL code both ends have. */
function linkVls(port: SubnetPort): number {
  const own = PortInfo.vlCap.get(port.info, 0);
  return port.peer === undefined ? own : Math.min(own, PortInfo.vlCap.get(port.peer.info, 0));
}
