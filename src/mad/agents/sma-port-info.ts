// PortInfo. IBA vol 1, 14.2.5.6: a Set is first checked as a whole and then applied, so a refused Set changes nothing.
// Which components count depends on the port: LIDs and keys belong to end ports, width, speed and state to ports with a link.

import { type Field, readAll } from "../../base/layout.ts";
import { isUnicastLid, PhysState, PortState } from "../../spec/ib/numbers.ts";
import { MadHeader, SMP_DATA_AT } from "../../spec/mad/headers.ts";
import { MadStatus, Method, NodeType, PortCapability } from "../../spec/mad/numbers.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";
import { type ManagedNode, type PortAttributes, PortKind } from "../attributes.ts";
import { bytesOf } from "../mad.ts";
import type { Attribute, SmaContext } from "./attribute.ts";
import { hasMkey } from "./mkey.ts";

const AT = SMP_DATA_AT;
const NO_CHANGE = 0;
/** LinkWidthEnabled, LinkSpeedEnabled and LinkSpeedExtEnabled: back to what is supported. */
const WIDTH_SUPPORTED = 0xff;
const SPEED_SUPPORTED = 0xf;
const EXTENDED_SUPPORTED = 0x1f;
const HIGHEST_LINK_DOWN_DEFAULT = 2;

/** Written as they come, on end ports. */
const END_PORT_FIELDS: readonly Field[] = [
  PortInfo.lid,
  PortInfo.smLid,
  PortInfo.mkeyLeasePeriod,
  PortInfo.mkeyProtect,
  PortInfo.lmc,
  PortInfo.masterSmSl,
  PortInfo.initTypeReply,
  PortInfo.subnetTimeout,
  PortInfo.multicastPkeyTrapSuppression,
];
/** Zero clears them; the effect of other values is undefined, and here there is none. */
const VIOLATION_FIELDS: readonly Field[] = [PortInfo.mkeyViolations, PortInfo.pkeyViolations, PortInfo.qkeyViolations];
/** Written as they come, on ports with a link. */
const LINK_FIELDS: readonly Field[] = [PortInfo.vlHighLimit, PortInfo.localPhyErrors, PortInfo.overrunErrors];
/** Zero means: no change. */
const LINK_FIELDS_UNLESS_ZERO: readonly Field[] = [PortInfo.linkDownDefault, PortInfo.neighborMtu, PortInfo.operationalVls];
/** Only a switch queues packets, and enforces partitions. */
const SWITCH_LINK_FIELDS: readonly Field[] = [
  PortInfo.vlStallCount,
  PortInfo.hoqLife,
  PortInfo.partitionEnforcementIn,
  PortInfo.partitionEnforcementOut,
];

function selectPort(node: ManagedNode, mad: DataView, context: SmaContext): PortAttributes | undefined {
  const modifier = MadHeader.attributeModifier.get(mad, 0);
  const isSwitch = node.type === NodeType.SWITCH;
  return node.ports[modifier === 0 && !isSwitch ? context.port : modifier];
}

function getPortInfo(node: ManagedNode, mad: DataView, context: SmaContext): number {
  const port = selectPort(node, mad, context);
  if (port === undefined) return MadStatus.INVALID_FIELD;
  bytesOf(mad).set(bytesOf(port.info), AT);
  PortInfo.localPort.set(mad, AT, context.port);
  // The answer to a Set shows the key that the manager has just written, though the request has the old one.
  const isGet = MadHeader.method.get(mad, 0) === Method.GET;
  if (isGet && PortInfo.mkeyProtect.get(port.info, 0) !== 0 && !context.ignoreMkey && !hasMkey(port, mad)) {
    PortInfo.mkey.setBig(mad, AT, 0n);
  }
  return MadStatus.OK;
}

function setPortInfo(node: ManagedNode, mad: DataView, context: SmaContext): number {
  const port = selectPort(node, mad, context);
  if (port === undefined) return MadStatus.INVALID_FIELD;
  const isAccepted = checkEndPort(port, mad) && checkLink(port, mad);
  const reregister = isAccepted && reregisters(port, mad);
  if (isAccepted) apply(node, port, mad);
  getPortInfo(node, mad, context);
  if (reregister) PortInfo.clientReregister.set(mad, AT, 1);
  return isAccepted ? MadStatus.OK : MadStatus.INVALID_FIELD;
}

/** A Set echoes ClientReregister where the port has the capability; it is never stored. */
function reregisters(port: PortAttributes, mad: DataView): boolean {
  if ((PortInfo.capabilityMask.get(port.info, 0) & PortCapability.CLIENT_REREGISTRATION) === 0) return false;
  return PortInfo.clientReregister.get(mad, AT) === 1;
}

function checkEndPort(port: PortAttributes, mad: DataView): boolean {
  if (!port.isEndPort) return true;
  const lid = PortInfo.lid.get(mad, AT);
  if (lid !== port.lid && !isUnicastLid(lid)) return false;
  const smLid = PortInfo.smLid.get(mad, AT);
  if (smLid !== 0 && smLid !== port.smLid && !isUnicastLid(smLid)) return false;
  return (lid & ((1 << PortInfo.lmc.get(mad, AT)) - 1)) === 0;
}

function checkLink(port: PortAttributes, mad: DataView): boolean {
  if (port.kind === PortKind.SWITCH_BASE) return true;
  const width = PortInfo.linkWidthEnabled.get(mad, AT);
  if (width !== WIDTH_SUPPORTED && (width & ~PortInfo.linkWidthSupported.get(port.info, 0)) !== 0) return false;
  const speed = PortInfo.linkSpeedEnabled.get(mad, AT);
  if (speed !== SPEED_SUPPORTED && (speed & ~PortInfo.linkSpeedSupported.get(port.info, 0)) !== 0) return false;
  const extended = PortInfo.linkSpeedExtEnabled.get(mad, AT);
  if (extended !== EXTENDED_SUPPORTED && (extended & ~PortInfo.linkSpeedExtSupported.get(port.info, 0)) !== 0) return false;
  if (PortInfo.neighborMtu.get(mad, AT) > PortInfo.mtuCap.get(port.info, 0)) return false;
  if (PortInfo.operationalVls.get(mad, AT) > PortInfo.vlCap.get(port.info, 0)) return false;
  if (PortInfo.linkDownDefault.get(mad, AT) > HIGHEST_LINK_DOWN_DEFAULT) return false;
  return checkPhysState(PortInfo.physState.get(mad, AT)) && checkState(port.state, PortInfo.portState.get(mad, AT));
}

const checkPhysState = (physState: number): boolean =>
  physState === NO_CHANGE || physState === PhysState.POLLING || physState === PhysState.DISABLED;

/** Transitions a subnet manager may ask for (7.2.7). */
function checkState(state: number, wanted: number): boolean {
  if (wanted === NO_CHANGE || wanted === PortState.DOWN) return true;
  if (wanted === PortState.ARMED) return state === PortState.INIT || state === PortState.ARMED;
  if (wanted === PortState.ACTIVE) return state === PortState.ARMED || state === PortState.ACTIVE;
  return false;
}

function apply(node: ManagedNode, port: PortAttributes, mad: DataView): void {
  if (port.isEndPort) applyEndPort(port, mad);
  if (port.kind !== PortKind.SWITCH_BASE) applyLink(port, mad);
  else copyUnlessZero(port, mad, [PortInfo.neighborMtu]);
  node.attributesChanged();
  if (port.kind === PortKind.SWITCH_BASE) return;
  const physState = PortInfo.physState.get(mad, AT);
  const state = PortInfo.portState.get(mad, AT);
  if (physState !== NO_CHANGE) node.setPhysState(port.number, physState);
  else if (state !== NO_CHANGE && state !== port.state) node.setPortState(port.number, state);
}

function applyEndPort(port: PortAttributes, mad: DataView): void {
  PortInfo.mkey.setBig(port.info, 0, PortInfo.mkey.getBig(mad, AT));
  PortInfo.gidPrefix.setBig(port.info, 0, PortInfo.gidPrefix.getBig(mad, AT));
  port.refreshGids();
  for (const field of END_PORT_FIELDS) field.set(port.info, 0, field.get(mad, AT));
  for (const field of VIOLATION_FIELDS) if (field.get(mad, AT) === 0) field.set(port.info, 0, 0);
}

function applyLink(port: PortAttributes, mad: DataView): void {
  const { info } = port;
  for (const field of LINK_FIELDS) field.set(info, 0, field.get(mad, AT));
  copyUnlessZero(port, mad, LINK_FIELDS_UNLESS_ZERO);
  if (port.kind === PortKind.SWITCH_EXTERNAL) for (const f of SWITCH_LINK_FIELDS) f.set(info, 0, f.get(mad, AT));
  const width = PortInfo.linkWidthEnabled.get(mad, AT);
  if (width === WIDTH_SUPPORTED) PortInfo.linkWidthEnabled.set(info, 0, PortInfo.linkWidthSupported.get(info, 0));
  else if (width !== NO_CHANGE) PortInfo.linkWidthEnabled.set(info, 0, width);
  const speed = PortInfo.linkSpeedEnabled.get(mad, AT);
  if (speed === SPEED_SUPPORTED) PortInfo.linkSpeedEnabled.set(info, 0, PortInfo.linkSpeedSupported.get(info, 0));
  else if (speed !== NO_CHANGE) PortInfo.linkSpeedEnabled.set(info, 0, speed);
  const extended = PortInfo.linkSpeedExtEnabled.get(mad, AT);
  if (extended === EXTENDED_SUPPORTED) PortInfo.linkSpeedExtEnabled.set(info, 0, PortInfo.linkSpeedExtSupported.get(info, 0));
  else if (extended !== NO_CHANGE) PortInfo.linkSpeedExtEnabled.set(info, 0, extended);
}

function copyUnlessZero(port: PortAttributes, mad: DataView, fields: readonly Field[]): void {
  for (const field of fields) {
    const value = field.get(mad, AT);
    if (value !== NO_CHANGE) field.set(port.info, 0, value);
  }
}

export const portInfo: Attribute = { get: getPortInfo, set: setPortInfo };

/** PortInfo as an object, for printing. */
export const describePortInfo = (port: PortAttributes): Record<string, number | bigint | Uint8Array> =>
  readAll(PortInfo, port.info, 0);
