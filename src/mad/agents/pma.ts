// Performance management agent. IBA vol 1, 16.1. The counters are the port's own array, which links, switches and the
// transport count into: what PMA tools read and what our own interface shows are the same numbers, and a Set clears both.

import type { Field } from "../../base/layout.ts";
import { PortCounter } from "../../spec/ib/port-counters.ts";
import { MadHeader, PM_DATA_AT } from "../../spec/mad/headers.ts";
import {
  ALL_PORTS,
  MAD_BASE_VERSION,
  MAD_BYTES,
  MadStatus,
  Method,
  MgmtClass,
  PERF_CLASS_VERSION,
  PmAttribute,
  PmCapability,
} from "../../spec/mad/numbers.ts";
import {
  ClassPortInfo,
  ExtendedSpeedsCounters,
  PortCounters,
  PortCountersExtended,
  PortSamplesControl,
} from "../../spec/mad/pm-attributes.ts";
import type { ManagedNode, PortAttributes } from "../attributes.ts";
import { bytesOf, isResponse, makeResponse, Verdict } from "../mad.ts";
import { portDetails } from "./pma-details.ts";

const AT = PM_DATA_AT;
/** Response time value: 4.096 µs × 2^18, about one second. */
const RESPONSE_TIME = 18;
const COUNTER_WIDTH_32 = 4;
const CAPABILITIES = PmCapability.ALL_PORT_SELECT | PmCapability.EXTENDED_WIDTH | PmCapability.XMIT_WAIT;

interface Counter {
  readonly field: Field;
  readonly slot: number;
  /** Bit of CounterSelect; 16 is bit 0 of CounterSelect2. */
  readonly select: number;
}

const p = PortCounters;
const c = PortCounter;
const COUNTERS: readonly Counter[] = (
  [
    [p.symbolErrors, c.symbolErrors],
    [p.linkErrorRecovery, c.linkErrorRecovery],
    [p.linkDowned, c.linkDowned],
    [p.rcvErrors, c.rcvErrors],
    [p.rcvRemotePhysicalErrors, c.rcvRemotePhysicalErrors],
    [p.rcvSwitchRelayErrors, c.rcvSwitchRelayErrors],
    [p.xmitDiscards, c.xmitDiscards],
    [p.xmitConstraintErrors, c.xmitConstraintErrors],
    [p.rcvConstraintErrors, c.rcvConstraintErrors],
    [p.localLinkIntegrityErrors, c.localLinkIntegrityErrors],
    [p.excessiveBufferOverrunErrors, c.excessiveBufferOverrunErrors],
    [p.vl15Dropped, c.vl15Dropped],
    [p.xmitData, c.xmitData],
    [p.rcvData, c.rcvData],
    [p.xmitPackets, c.xmitPackets],
    [p.rcvPackets, c.rcvPackets],
    [p.xmitWait, c.xmitWait],
  ] as const
).map(([field, slot], select) => ({ field, slot, select }));

const e = PortCountersExtended;
const EXTENDED_COUNTERS = (
  [
    [e.xmitData, c.xmitData],
    [e.rcvData, c.rcvData],
    [e.xmitPackets, c.xmitPackets],
    [e.rcvPackets, c.rcvPackets],
    [e.unicastXmitPackets, c.unicastXmitPackets],
    [e.unicastRcvPackets, c.unicastRcvPackets],
    [e.multicastXmitPackets, c.multicastXmitPackets],
    [e.multicastRcvPackets, c.multicastRcvPackets],
  ] as const
).map(([field, slot], select) => ({ field, slot, select }));

/** True for a MAD the PMA executes. */
export const isForPma = (mad: DataView, at = 0): boolean =>
  MadHeader.mgmtClass.get(mad, at) === MgmtClass.PERF && !isResponse(mad, at);

/** Executes the performance MAD in `mad` (256 bytes, changed in place to the response). Returns a `Verdict`. */
export function processPerf(node: ManagedNode, mad: DataView): number {
  if (isResponse(mad)) return Verdict.DROP;
  if (MadHeader.baseVersion.get(mad, 0) !== MAD_BASE_VERSION || MadHeader.classVersion.get(mad, 0) !== PERF_CLASS_VERSION) {
    return reply(mad, MadStatus.BAD_VERSION);
  }
  const method = MadHeader.method.get(mad, 0);
  if (method !== Method.GET && method !== Method.SET) return reply(mad, MadStatus.UNSUPPORTED_METHOD);
  const isSet = method === Method.SET;
  switch (MadHeader.attributeId.get(mad, 0)) {
    case PmAttribute.CLASS_PORT_INFO:
      return reply(mad, classPortInfo(mad));
    case PmAttribute.PORT_SAMPLES_CONTROL:
      return reply(mad, isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : samplesControl(node, mad));
    case PmAttribute.PORT_COUNTERS:
      return reply(mad, portCounters(node, mad, isSet));
    case PmAttribute.PORT_COUNTERS_EXTENDED:
      return reply(mad, portCountersExtended(node, mad, isSet));
    case PmAttribute.PORT_SAMPLES_RESULT:
      return reply(mad, isSet ? MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE : samplesResult(mad));
    case PmAttribute.PORT_EXTENDED_SPEEDS_COUNTERS:
      return reply(mad, extendedSpeedsCounters(node, mad));
    default:
      return reply(mad, portDetails(node, mad, MadHeader.attributeId.get(mad, 0), isSet, selectPorts));
  }
}

function reply(mad: DataView, status: number): number {
  makeResponse(mad, status);
  return Verdict.REPLY;
}

const clear = (mad: DataView): void => {
  bytesOf(mad).fill(0, AT, MAD_BYTES);
};

function classPortInfo(mad: DataView): number {
  clear(mad);
  ClassPortInfo.baseVersion.set(mad, AT, MAD_BASE_VERSION);
  ClassPortInfo.classVersion.set(mad, AT, PERF_CLASS_VERSION);
  ClassPortInfo.capabilityMask.set(mad, AT, CAPABILITIES);
  ClassPortInfo.responseTime.set(mad, AT, RESPONSE_TIME);
  return MadStatus.OK;
}

/** The ports PortSelect names; empty when there is no such port. */
function selectPorts(node: ManagedNode, select: number): PortAttributes[] {
  if (select === ALL_PORTS) return node.ports.filter((port) => port !== undefined);
  const port = node.ports[select];
  return port === undefined ? [] : [port];
}

const sum = (ports: readonly PortAttributes[], slot: number): number =>
  ports.reduce((total, port) => total + (port.counters[slot] ?? 0), 0);

function clearSelected(ports: readonly PortAttributes[], slot: number): void {
  for (const port of ports) port.counters[slot] = 0;
}

function portCounters(node: ManagedNode, mad: DataView, isSet: boolean): number {
  const select = PortCounters.portSelect.get(mad, AT);
  const counterSelect = PortCounters.counterSelect.get(mad, AT) | (PortCounters.counterSelect2.get(mad, AT) << 16);
  const ports = selectPorts(node, select);
  if (ports.length === 0) return MadStatus.INVALID_FIELD;
  if (isSet) {
    for (const counter of COUNTERS) if ((counterSelect >>> counter.select) & 1) clearSelected(ports, counter.slot);
  }
  clear(mad);
  PortCounters.portSelect.set(mad, AT, select);
  PortCounters.counterSelect.set(mad, AT, counterSelect);
  PortCounters.counterSelect2.set(mad, AT, counterSelect >>> 16);
  for (const { field, slot } of COUNTERS) {
    field.set(mad, AT, Math.min(sum(ports, slot), field.width === 32 ? 0xffffffff : 2 ** field.width - 1));
  }
  return MadStatus.OK;
}

function portCountersExtended(node: ManagedNode, mad: DataView, isSet: boolean): number {
  const select = PortCountersExtended.portSelect.get(mad, AT);
  const counterSelect = PortCountersExtended.counterSelect.get(mad, AT);
  const ports = selectPorts(node, select);
  if (ports.length === 0) return MadStatus.INVALID_FIELD;
  if (isSet) {
    for (const counter of EXTENDED_COUNTERS) if ((counterSelect >>> counter.select) & 1) clearSelected(ports, counter.slot);
  }
  clear(mad);
  PortCountersExtended.portSelect.set(mad, AT, select);
  PortCountersExtended.counterSelect.set(mad, AT, counterSelect);
  for (const { field, slot } of EXTENDED_COUNTERS) field.setBig(mad, AT, BigInt(sum(ports, slot)));
  return MadStatus.OK;
}

/** Nothing has been sampled: tag, status and counters are zero. */
function samplesResult(mad: DataView): number {
  clear(mad);
  return MadStatus.OK;
}

/** Errors of blocks and lanes of FDR and faster, which no port here has: all zero. */
function extendedSpeedsCounters(node: ManagedNode, mad: DataView): number {
  const select = ExtendedSpeedsCounters.portSelect.get(mad, AT);
  const counterSelect = ExtendedSpeedsCounters.counterSelect.getBig(mad, AT);
  if (selectPorts(node, select).length === 0) return MadStatus.INVALID_FIELD;
  clear(mad);
  ExtendedSpeedsCounters.portSelect.set(mad, AT, select);
  ExtendedSpeedsCounters.counterSelect.setBig(mad, AT, counterSelect);
  return MadStatus.OK;
}

/** A port that cannot sample: no mechanisms, no options, idle. */
function samplesControl(node: ManagedNode, mad: DataView): number {
  const select = PortSamplesControl.portSelect.get(mad, AT);
  if (selectPorts(node, select).length === 0) return MadStatus.INVALID_FIELD;
  clear(mad);
  PortSamplesControl.portSelect.set(mad, AT, select);
  PortSamplesControl.counterWidth.set(mad, AT, COUNTER_WIDTH_32);
  return MadStatus.OK;
}
