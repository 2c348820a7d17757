// What the ports of the fabric count. IBA vol 1, 16.1.3.5.

import { SMP_VL } from "../mad/packet.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { PortCounter, PortDetail, RCV_DATA_SL } from "../spec/ib/port-counters.ts";
import type { Port } from "./port.ts";

/** Adds `by` to a slot of `PortCounter`. */
export function count(port: Port, slot: number, by = 1): void {
  const { tally, tallyAt } = port;
  tally[tallyAt + slot] = (tally[tallyAt + slot] ?? 0) + by;
}

/** Says more of what `count` counts: adds one to a slot of `PortDetail`. */
export function countDetail(port: Port, slot: number): void {
  port.details[slot] = (port.details[slot] ?? 0) + 1;
}

/** A packet that cannot go out because the port is not up. */
export function countInactiveDiscard(port: Port): void {
  count(port, PortCounter.xmitDiscards);
  countDetail(port, PortDetail.inactiveDiscards);
}

/** A packet that arrives broken. */
export function countPhysicalError(port: Port): void {
  count(port, PortCounter.rcvErrors);
  countDetail(port, PortDetail.localPhysicalErrors);
}

/** A packet with headers that make no sense. */
export function countMalformed(port: Port): void {
  count(port, PortCounter.rcvErrors);
  countDetail(port, PortDetail.malformedPackets);
}

/** A packet that a switch cannot forward; because it would go round, or else because no table entry says where. */
export function countRelayError(port: Port, isLoop: boolean): void {
  count(port, PortCounter.rcvSwitchRelayErrors);
  countDetail(port, isLoop ? PortDetail.loopingErrors : PortDetail.dlidMappingErrors);
}

/** Packets that a switch does not forward a second time. */
export function countRelayErrors(port: Port, packets: number): void {
  count(port, PortCounter.rcvSwitchRelayErrors, packets);
  port.details[PortDetail.loopingErrors] = (port.details[PortDetail.loopingErrors] ?? 0) + packets;
}

const COUNTERS = {
  xmit: {
    sl: 0,
    data: PortCounter.xmitData,
    packets: PortCounter.xmitPackets,
    unicast: PortCounter.unicastXmitPackets,
    multicast: PortCounter.multicastXmitPackets,
  },
  rcv: {
    sl: RCV_DATA_SL,
    data: PortCounter.rcvData,
    packets: PortCounter.rcvPackets,
    unicast: PortCounter.unicastRcvPackets,
    multicast: PortCounter.multicastRcvPackets,
  },
} as const;

/** Counts a packet as 16.1.3.5 does: words from the LRH to the ICRC. Packets of VL 15 have no service level. */
export function countPacket(port: Port, view: DataView, direction: "xmit" | "rcv"): void {
  const slots = COUNTERS[direction];
  const words = Lrh.packetLength.get(view, 0);
  count(port, slots.data, words);
  if (Lrh.vl.get(view, 0) !== SMP_VL) {
    const sl = slots.sl + Lrh.sl.get(view, 0);
    port.slData[sl] = (port.slData[sl] ?? 0) + words;
  }
  count(port, slots.packets);
  count(port, isMulticastLid(Lrh.dlid.get(view, 0)) ? slots.multicast : slots.unicast);
}

/** Counts packets of data of one service level, `words` of 4 bytes from LRH to ICRC in all; of unicast unless said otherwise. */
export function countData(
  port: Port,
  direction: "xmit" | "rcv",
  sl: number,
  words: number,
  packets: number,
  isMulticast = false,
): void {
  const slots = COUNTERS[direction];
  const { slData } = port;
  count(port, slots.data, words);
  count(port, slots.packets, packets);
  count(port, isMulticast ? slots.multicast : slots.unicast, packets);
  slData[slots.sl + sl] = (slData[slots.sl + sl] ?? 0) + words;
}
