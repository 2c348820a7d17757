// Optional counters of the performance class. IBA vol 1, 16.1.4 and annex A10: attributes that all look alike, PortSelect and CounterSelect and
// then counters of one width. Those of what does not happen here (flow control packets, congestion marks) exist and are zero.

import { PortDetail, RCV_DATA_SL, SL_COUNT, VL_COUNT } from "../../spec/ib/port-counters.ts";
import { PM_DATA_AT } from "../../spec/mad/headers.ts";
import { MAD_BYTES, MadStatus, NodeType, PmAttribute } from "../../spec/mad/numbers.ts";
import type { ManagedNode, PortAttributes } from "../attributes.ts";
import { bytesOf } from "../mad.ts";

const AT = PM_DATA_AT;
const PORT_SELECT_AT = AT + 1;
const COUNTER_SELECT_AT = AT + 2;
const COUNTERS_AT = AT + 4;

type Slots = (port: PortAttributes) => Float64Array;

/** An attribute of counters of `bits` bits. */
interface DetailAttribute {
  readonly bits: 16 | 32;
  /** Slot of each counter; undefined, or missing at the end, where it is always zero. */
  readonly slots: readonly (number | undefined)[];
  readonly of: Slots;
  readonly isOnSwitchesOnly?: boolean;
}

const details: Slots = (port) => port.details;
const slData: Slots = (port) => port.slData;
const ZEROS: DetailAttribute = { bits: 32, slots: [], of: details };
const bySl = (first: number): DetailAttribute => ({
  bits: 32,
  slots: Array.from({ length: SL_COUNT }, (_, sl) => first + sl),
  of: slData,
});

const d = PortDetail;
const a = PmAttribute;
const ATTRIBUTES: Readonly<Record<number, DetailAttribute>> = {
  [a.PORT_RCV_ERROR_DETAILS]: {
    bits: 16,
    // buffer overruns and VL mapping errors do not happen here
    slots: [d.localPhysicalErrors, d.malformedPackets, undefined, d.dlidMappingErrors, undefined, d.loopingErrors],
    of: details,
  },
  [a.PORT_XMIT_DISCARD_DETAILS]: { bits: 16, slots: [d.inactiveDiscards], of: details },
  [a.PORT_OP_RCV_COUNTERS]: ZEROS,
  [a.PORT_FLOW_CTL_COUNTERS]: ZEROS,
  [a.PORT_VL_OP_PACKETS]: ZEROS,
  [a.PORT_VL_OP_DATA]: ZEROS,
  [a.PORT_VL_XMIT_FLOW_CTL_UPDATE_ERRORS]: ZEROS,
  [a.PORT_VL_XMIT_WAIT_COUNTERS]: {
    bits: 16,
    slots: Array.from({ length: VL_COUNT }, (_, vl) => vl),
    of: (port) => port.vlXmitWait,
  },
  [a.SW_PORT_VL_CONGESTION]: { ...ZEROS, isOnSwitchesOnly: true },
  [a.PORT_RCV_CON_CTRL]: ZEROS,
  [a.PORT_SL_RCV_FECN]: ZEROS,
  [a.PORT_SL_RCV_BECN]: ZEROS,
  [a.PORT_XMIT_CON_CTRL]: ZEROS,
  [a.PORT_VL_XMIT_TIME_CONG]: ZEROS,
  [a.PORT_XMIT_DATA_SL]: bySl(0),
  [a.PORT_RCV_DATA_SL]: bySl(RCV_DATA_SL),
};

/**
 * Executes Get or Set of an optional counter attribute in `mad`.
 * @param selectPorts ports that PortSelect names
 * @returns a MAD status
 */
export function portDetails(
  node: ManagedNode,
  mad: DataView,
  attributeId: number,
  isSet: boolean,
  selectPorts: (node: ManagedNode, select: number) => PortAttributes[],
): number {
  const attribute = ATTRIBUTES[attributeId];
  if (attribute === undefined || (attribute.isOnSwitchesOnly === true && node.type !== NodeType.SWITCH)) {
    return MadStatus.UNSUPPORTED_METHOD_ATTRIBUTE;
  }
  const select = mad.getUint8(PORT_SELECT_AT);
  const counterSelect = mad.getUint16(COUNTER_SELECT_AT);
  const ports = selectPorts(node, select);
  if (ports.length === 0) return MadStatus.INVALID_FIELD;
  if (isSet) clear(attribute, ports, counterSelect);
  bytesOf(mad).fill(0, AT, MAD_BYTES);
  mad.setUint8(PORT_SELECT_AT, select);
  mad.setUint16(COUNTER_SELECT_AT, counterSelect);
  write(attribute, ports, mad);
  return MadStatus.OK;
}

function clear({ slots, of }: DetailAttribute, ports: readonly PortAttributes[], counterSelect: number): void {
  slots.forEach((slot, counter) => {
    if (slot !== undefined && ((counterSelect >>> counter) & 1) === 1) for (const port of ports) of(port)[slot] = 0;
  });
}

function write({ bits, slots, of }: DetailAttribute, ports: readonly PortAttributes[], mad: DataView): void {
  slots.forEach((slot, counter) => {
    if (slot === undefined) return;
    const value = ports.reduce((sum, port) => sum + (of(port)[slot] ?? 0), 0);
    if (bits === 32) mad.setUint32(COUNTERS_AT + counter * 4, Math.min(value, 0xffffffff));
    else mad.setUint16(COUNTERS_AT + counter * 2, Math.min(value, 0xffff));
  });
}
