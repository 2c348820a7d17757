// What the ports of the fabric count. IBA vol 1, 16.1.3.5.

import { Lrh } from "../spec/ib/headers.ts";
import { isMulticastLid } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import type { Port } from "./port.ts";

/** Adds `by` to a slot of `PortCounter`. */
export function count(port: Port, slot: number, by = 1): void {
  port.counters[slot] = (port.counters[slot] ?? 0) + by;
}

const COUNTERS = {
  xmit: {
    data: PortCounter.xmitData,
    packets: PortCounter.xmitPackets,
    unicast: PortCounter.unicastXmitPackets,
    multicast: PortCounter.multicastXmitPackets,
  },
  rcv: {
    data: PortCounter.rcvData,
    packets: PortCounter.rcvPackets,
    unicast: PortCounter.unicastRcvPackets,
    multicast: PortCounter.multicastRcvPackets,
  },
} as const;

/** Counts a packet as 16.1.3.5 does: words from the LRH to the ICRC. */
export function countPacket(port: Port, view: DataView, direction: "xmit" | "rcv"): void {
  const slots = COUNTERS[direction];
  count(port, slots.data, Lrh.packetLength.get(view, 0));
  count(port, slots.packets);
  count(port, isMulticastLid(Lrh.dlid.get(view, 0)) ? slots.multicast : slots.unicast);
}
