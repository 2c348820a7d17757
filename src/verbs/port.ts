// What an HCA and its port are. IBA vol 1, 11.2.1; names are libibverbs' (ibv_device_attr, ibv_port_attr).

import type { Device } from "../driver/device.ts";
import { getPortGuid, getPortPkey, getSmAttribute } from "../driver/port-query.ts";
import { QueryDevLim } from "../spec/hca/commands.ts";
import { mtuBytes } from "../spec/ib/numbers.ts";
import { SmAttribute } from "../spec/mad/numbers.ts";
import { NodeInfo, PortInfo } from "../spec/mad/sm-attributes.ts";
import { asVerb, VerbsError } from "./error.ts";

export type PortStateName = "NOP" | "DOWN" | "INIT" | "ARMED" | "ACTIVE";

export interface DeviceAttributes {
  readonly fwVer: string;
  /** 16 hexadecimal digits. */
  readonly nodeGuid: string;
  readonly sysImageGuid: string;
  readonly vendorId: number;
  readonly vendorPartId: number;
  readonly hwVer: number;
  readonly maxMrSize: bigint;
  readonly maxQp: number;
  readonly maxQpWr: number;
  readonly maxSge: number;
  readonly maxCq: number;
  readonly maxCqe: number;
  readonly maxMr: number;
  readonly maxPd: number;
  readonly maxQpRdAtom: number;
  readonly maxQpInitRdAtom: number;
  readonly maxMcastGrp: number;
  readonly maxMcastQpAttach: number;
  readonly maxSrq: number;
  readonly maxSrqWr: number;
  readonly maxSrqSge: number;
  readonly maxPkeys: number;
  readonly localCaAckDelay: number;
  readonly physPortCnt: number;
}

export interface PortAttributes {
  readonly state: PortStateName;
  /** Bytes. */
  readonly maxMtu: number;
  readonly activeMtu: number;
  readonly lid: number;
  readonly lmc: number;
  readonly smLid: number;
  readonly smSl: number;
  readonly gidTblLen: number;
  readonly pkeyTblLen: number;
  readonly capabilityMask: number;
  readonly pkeyViolations: number;
  readonly qkeyViolations: number;
  readonly maxVlNum: number;
  readonly subnetTimeout: number;
  /** Lanes, and gigabits per second of one. */
  readonly activeWidth: number;
  readonly activeSpeed: number;
  readonly physState: number;
}

const states: readonly PortStateName[] = ["NOP", "DOWN", "INIT", "ARMED", "ACTIVE"];
const lanes: Readonly<Record<number, number>> = { 1: 1, 2: 4, 4: 8, 8: 12 };
const speeds: Readonly<Record<number, number>> = { 1: 2.5, 2: 5, 4: 10 };
const GID_PREFIX_BYTES = 8;
const MAX_MR_BYTES_LOG = 64n;

const hex64 = (value: bigint): string => value.toString(16).padStart(16, "0");

export function queryDevice(device: Device): DeviceAttributes {
  const { limits } = device;
  const node = asVerb(() => getSmAttribute(device, SmAttribute.NODE_INFO, 0));
  const log = (name: keyof typeof QueryDevLim): number =>
    2 ** (QueryDevLim[name] as { get(view: DataView, at: number): number }).get(limits, 0);
  return {
    fwVer: device.firmware,
    nodeGuid: hex64(NodeInfo.nodeGuid.getBig(node, 0)),
    sysImageGuid: hex64(NodeInfo.systemImageGuid.getBig(node, 0)),
    vendorId: NodeInfo.vendorId.get(node, 0),
    vendorPartId: NodeInfo.deviceId.get(node, 0),
    hwVer: NodeInfo.revision.get(node, 0),
    maxMrSize: (1n << MAX_MR_BYTES_LOG) - 1n,
    maxQp: log("logMaxQps"),
    maxQpWr: log("logMaxQpWqes"),
    maxSge: Math.min(QueryDevLim.maxSendSges.get(limits, 0), QueryDevLim.maxReceiveSges.get(limits, 0)),
    maxCq: log("logMaxCqs"),
    maxCqe: log("logMaxCqes") - 1,
    maxMr: log("logMaxMpts"),
    maxPd: log("logMaxPds"),
    maxQpRdAtom: log("logMaxResponderReads"),
    maxQpInitRdAtom: log("logMaxRequesterReads"),
    maxMcastGrp: log("logMaxGroups"),
    maxMcastQpAttach: log("logQpsPerGroup"),
    maxSrq: log("logMaxSrqs"),
    maxSrqWr: log("logMaxSrqWqes") - 1,
    maxSrqSge: QueryDevLim.maxReceiveSges.get(limits, 0),
    maxPkeys: NodeInfo.partitionCap.get(node, 0),
    localCaAckDelay: QueryDevLim.localCaAckDelay.get(limits, 0),
    physPortCnt: device.ports,
  };
}

export function queryPort(device: Device, portNum: number): PortAttributes {
  assertPort(device, portNum);
  const info = asVerb(() => getSmAttribute(device, SmAttribute.PORT_INFO, portNum));
  const { limits } = device;
  return {
    state: states[PortInfo.portState.get(info, 0)] ?? "NOP",
    maxMtu: mtuBytes(PortInfo.mtuCap.get(info, 0)),
    activeMtu: mtuBytes(PortInfo.neighborMtu.get(info, 0)),
    lid: PortInfo.lid.get(info, 0),
    lmc: PortInfo.lmc.get(info, 0),
    smLid: PortInfo.smLid.get(info, 0),
    smSl: PortInfo.masterSmSl.get(info, 0),
    gidTblLen: 2 ** QueryDevLim.logGids.get(limits, 0),
    pkeyTblLen: 2 ** QueryDevLim.logPkeys.get(limits, 0),
    capabilityMask: PortInfo.capabilityMask.get(info, 0),
    pkeyViolations: PortInfo.pkeyViolations.get(info, 0),
    qkeyViolations: PortInfo.qkeyViolations.get(info, 0),
    maxVlNum: PortInfo.vlCap.get(info, 0),
    subnetTimeout: PortInfo.subnetTimeout.get(info, 0),
    activeWidth: lanes[PortInfo.linkWidthActive.get(info, 0)] ?? 0,
    activeSpeed: speeds[PortInfo.linkSpeedActive.get(info, 0)] ?? 0,
    physState: PortInfo.physState.get(info, 0),
  };
}

export function queryGid(device: Device, portNum: number, index: number): Uint8Array {
  assertPort(device, portNum);
  const count = 2 ** QueryDevLim.logGids.get(device.limits, 0);
  if (!(index >= 0 && index < count)) throw new VerbsError("EINVAL", `GID index ${index}: the port has ${count}`);
  return asVerb(() => {
    const info = getSmAttribute(device, SmAttribute.PORT_INFO, portNum);
    const prefix = new Uint8Array(info.buffer, info.byteOffset + PortInfo.gidPrefix.offset, GID_PREFIX_BYTES);
    return Uint8Array.from([...prefix, ...getPortGuid(device, index)]);
  });
}

export function queryPkey(device: Device, portNum: number, index: number): number {
  assertPort(device, portNum);
  const count = 2 ** QueryDevLim.logPkeys.get(device.limits, 0);
  if (!(index >= 0 && index < count)) throw new VerbsError("EINVAL", `P_Key index ${index}: the port has ${count}`);
  return asVerb(() => getPortPkey(device, index));
}

function assertPort(device: Device, portNum: number): void {
  if (portNum >= 1 && portNum <= device.ports) return;
  throw new VerbsError(
    "EINVAL",
    `port ${portNum}: the HCA has ${device.ports === 1 ? "port 1 only" : `ports 1 to ${device.ports}`}`,
  );
}
