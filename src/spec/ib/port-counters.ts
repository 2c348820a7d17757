// Counters every port keeps (IBA vol 1, 16.1.3.5 PortCounters, 16.1.4.11 PortCountersExtended). The performance agent
// reads them; the transport and the links count into them.

import { counterSlots } from "../../base/counters.ts";

/** Slots of a port's counter array; data counters are in 4-byte words as the PMA reports them. */
export const PortCounter = counterSlots(
  "symbolErrors",
  "linkErrorRecovery",
  "linkDowned",
  "rcvErrors",
  "rcvRemotePhysicalErrors",
  "rcvSwitchRelayErrors",
  "xmitDiscards",
  "xmitConstraintErrors",
  "rcvConstraintErrors",
  "localLinkIntegrityErrors",
  "excessiveBufferOverrunErrors",
  "vl15Dropped",
  "xmitData",
  "rcvData",
  "xmitPackets",
  "rcvPackets",
  "xmitWait",
  "unicastXmitPackets",
  "unicastRcvPackets",
  "multicastXmitPackets",
  "multicastRcvPackets",
);

/** Slots of a port's data counters by service level (16.1.4, PortXmitDataSL and PortRcvDataSL), in the same words: SL n at n, received at RCV_DATA_SL + n. */
export const SL_COUNT = 16;
export const RCV_DATA_SL = SL_COUNT;
/** Slots of a port's counters by virtual lane (16.1.4, PortVLXmitWaitCounters). */
export const VL_COUNT = 16;

/** Slots of a port's counters that say more of what some of the others count (16.1.4, PortRcvErrorDetails and PortXmitDiscardDetails). */
export const PortDetail = counterSlots(
  "localPhysicalErrors",
  "malformedPackets",
  "dlidMappingErrors",
  "loopingErrors",
  "inactiveDiscards",
);

/** Data by service level as named counters, for printing; those that are not zero. */
export function slDataObject(data: Float64Array): Record<string, number> {
  const out: Record<string, number> = {};
  for (let sl = 0; sl < SL_COUNT; sl++) {
    const [sent, received] = [data[sl] ?? 0, data[RCV_DATA_SL + sl] ?? 0];
    if (sent !== 0) out[`xmitDataSl${sl}`] = sent;
    if (received !== 0) out[`rcvDataSl${sl}`] = received;
  }
  return out;
}

/** Waits by virtual lane as named counters, for printing; those that are not zero. */
export function vlXmitWaitObject(waits: Float64Array): Record<string, number> {
  const out: Record<string, number> = {};
  for (let vl = 0; vl < VL_COUNT; vl++) if (waits[vl] !== 0) out[`xmitWaitVl${vl}`] = waits[vl] ?? 0;
  return out;
}
