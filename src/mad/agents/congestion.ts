// Congestion control agent. IBA vol 1, annex A10: keeps the settings a manager writes, and shows them. Nothing is ever congested here, so no
// packet is marked, the log is empty, and settings have no effect.

import {
  CONGESTION_CLASS_VERSION,
  CONGESTION_DATA_AT,
  CONGESTION_LOG_AT,
  CongestionInfo,
  CongestionKeyInfo,
  CongestionLog,
  CongestionMad,
  SWITCH_PORT_BLOCK,
} from "../../spec/mad/congestion.ts";
import { MadHeader } from "../../spec/mad/headers.ts";
import {
  CongestionAttribute,
  MAD_BASE_VERSION,
  MAD_BYTES,
  MadStatus,
  Method,
  MgmtClass,
  NodeType,
} from "../../spec/mad/numbers.ts";
import { ClassPortInfo } from "../../spec/mad/pm-attributes.ts";
import { type ManagedNode, portCountOf } from "../attributes.ts";
import { bytesOf, isResponse, makeResponse, Verdict } from "../mad.ts";

const AT = CONGESTION_DATA_AT;
const RESPONSE_TIME = 18;
/** CongestionControlTable blocks of a CA: 128 entries. */
const CONTROL_TABLE_BLOCKS = 2;
/** The time of a log counts in units of 1.024 µs. */
const TIMESTAMP_NS = 1024;
const MAX_VIOLATIONS = 0xffff;
const LogType = { SWITCH: 1, CA: 2 } as const;

/** What a manager has written to a node. */
interface Settings {
  readonly keyInfo: DataView;
  /** Attribute data by attribute and block. */
  readonly blocks: Map<number, Uint8Array>;
}

const settings = new WeakMap<ManagedNode, Settings>();
const c = CongestionAttribute;

/** True for a MAD that this agent executes. */
export const isForCongestion = (mad: DataView, at = 0): boolean =>
  MadHeader.mgmtClass.get(mad, at) === MgmtClass.CONGESTION_CONTROL && !isResponse(mad, at);

/** Executes the MAD in `mad` (256 bytes, changed in place to the response). Returns a `Verdict`; DROP after a CC_Key violation. */
export function processCongestion(node: ManagedNode, mad: DataView, nowNs: number): number {
  if (isResponse(mad)) return Verdict.DROP;
  const version = MadHeader.classVersion.get(mad, 0);
  if (MadHeader.baseVersion.get(mad, 0) !== MAD_BASE_VERSION || version === 0 || version > CONGESTION_CLASS_VERSION) {
    return reply(mad, MadStatus.BAD_VERSION);
  }
  const method = MadHeader.method.get(mad, 0);
  if (method !== Method.GET && method !== Method.SET) return reply(mad, MadStatus.UNSUPPORTED_METHOD);
  const isSet = method === Method.SET;
  if (!checkKey(node, mad, isSet)) return Verdict.DROP;
  return reply(mad, execute(node, mad, isSet, nowNs));
}

function reply(mad: DataView, status: number): number {
  makeResponse(mad, status);
  return Verdict.REPLY;
}

/** A Set needs the key, if there is one, and so does a Get where the key is protected (A10.4.2). A violation is counted. */
function checkKey(node: ManagedNode, mad: DataView, isSet: boolean): boolean {
  const keyInfo = settings.get(node)?.keyInfo;
  if (keyInfo === undefined || hasKey(keyInfo, mad)) return true;
  if (!isSet && CongestionKeyInfo.isProtected.get(keyInfo, 0) === 0) return true;
  const violations = CongestionKeyInfo.violations.get(keyInfo, 0);
  if (violations < MAX_VIOLATIONS) CongestionKeyInfo.violations.set(keyInfo, 0, violations + 1);
  return false;
}

function hasKey(keyInfo: DataView, mad: DataView): boolean {
  const key = CongestionKeyInfo.key.getBig(keyInfo, 0);
  return key === 0n || key === CongestionMad.key.getBig(mad, 0);
}

function execute(node: ManagedNode, mad: DataView, isSet: boolean, nowNs: number): number {
  const attribute = MadHeader.attributeId.get(mad, 0);
  const isSwitch = node.type === NodeType.SWITCH;
  switch (attribute) {
    case c.CLASS_PORT_INFO:
      return isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : classPortInfo(mad);
    case c.CONGESTION_INFO:
      return isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : congestionInfo(mad, isSwitch);
    case c.CONGESTION_KEY_INFO:
      return keyInfo(node, mad, isSet);
    case c.CONGESTION_LOG:
      return isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : log(mad, isSwitch, nowNs);
    case c.TIMESTAMP:
      return isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : timestamp(mad, nowNs);
    default:
      return setting(node, mad, attribute, isSet);
  }
}

const clear = (mad: DataView, at: number): void => {
  bytesOf(mad).fill(0, at, MAD_BYTES);
};

function classPortInfo(mad: DataView): number {
  clear(mad, AT);
  ClassPortInfo.baseVersion.set(mad, AT, MAD_BASE_VERSION);
  ClassPortInfo.classVersion.set(mad, AT, CONGESTION_CLASS_VERSION);
  ClassPortInfo.responseTime.set(mad, AT, RESPONSE_TIME);
  return MadStatus.OK;
}

function congestionInfo(mad: DataView, isSwitch: boolean): number {
  clear(mad, AT);
  CongestionInfo.controlTableCap.set(mad, AT, isSwitch ? 0 : CONTROL_TABLE_BLOCKS);
  return MadStatus.OK;
}

function keyInfo(node: ManagedNode, mad: DataView, isSet: boolean): number {
  if (isSet) {
    const kept = settingsOf(node).keyInfo;
    const violations = CongestionKeyInfo.violations.get(kept, 0);
    bytesOf(kept).set(bytesOf(mad).subarray(AT, AT + CongestionKeyInfo.byteLength));
    // Written as zero they are cleared, like those of the M_Key; nobody can write another number.
    if (CongestionKeyInfo.violations.get(kept, 0) !== 0) CongestionKeyInfo.violations.set(kept, 0, violations);
  }
  const kept = settings.get(node)?.keyInfo;
  const isShown = kept === undefined || isSet || hasKey(kept, mad);
  clear(mad, AT);
  if (kept === undefined) return MadStatus.OK;
  bytesOf(mad).set(bytesOf(kept), AT);
  if (!isShown) CongestionKeyInfo.key.setBig(mad, AT, 0n);
  return MadStatus.OK;
}

const timeOf = (nowNs: number): number => Math.floor(nowNs / TIMESTAMP_NS) % 2 ** 32;

function log(mad: DataView, isSwitch: boolean, nowNs: number): number {
  clear(mad, CONGESTION_LOG_AT);
  CongestionLog.type.set(mad, CONGESTION_LOG_AT, isSwitch ? LogType.SWITCH : LogType.CA);
  const field = isSwitch ? CongestionLog.switchTimestamp : CongestionLog.caTimestamp;
  field.set(mad, CONGESTION_LOG_AT, timeOf(nowNs));
  return MadStatus.OK;
}

function timestamp(mad: DataView, nowNs: number): number {
  clear(mad, AT);
  mad.setUint32(AT, timeOf(nowNs));
  return MadStatus.OK;
}

/** Blocks that a node has of an attribute that is kept as it is written; 0 if it has not got the attribute. */
function blocksOf(node: ManagedNode, attribute: number): number {
  const isSwitch = node.type === NodeType.SWITCH;
  if (attribute === c.SWITCH_CONGESTION_SETTING) return isSwitch ? 1 : 0;
  if (attribute === c.SWITCH_PORT_CONGESTION_SETTING)
    return isSwitch ? Math.ceil((portCountOf(node) + 1) / SWITCH_PORT_BLOCK) : 0;
  if (attribute === c.CA_CONGESTION_SETTING) return isSwitch ? 0 : 1;
  if (attribute === c.CONGESTION_CONTROL_TABLE) return isSwitch ? 0 : CONTROL_TABLE_BLOCKS;
  return 0;
}

function setting(node: ManagedNode, mad: DataView, attribute: number, isSet: boolean): number {
  const blocks = blocksOf(node, attribute);
  if (blocks === 0) return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
  const block = MadHeader.attributeModifier.get(mad, 0);
  if (block >= blocks) return MadStatus.INVALID_FIELD;
  const key = attribute * 0x100 + block;
  const bytes = bytesOf(mad);
  if (isSet) settingsOf(node).blocks.set(key, bytes.slice(AT));
  const kept = settings.get(node)?.blocks.get(key);
  clear(mad, AT);
  if (kept !== undefined) bytes.set(kept, AT);
  return MadStatus.OK;
}

function settingsOf(node: ManagedNode): Settings {
  const found = settings.get(node);
  if (found !== undefined) return found;
  const made = { keyInfo: new DataView(new ArrayBuffer(CongestionKeyInfo.byteLength)), blocks: new Map<number, Uint8Array>() };
  settings.set(node, made);
  return made;
}
