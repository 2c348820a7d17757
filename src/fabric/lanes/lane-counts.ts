// What ports of switches count of data in the lanes. IBA vol 1, 16.1.3.5: words from the LRH to the ICRC.

import { ICRC_BYTES } from "../../spec/ib/headers.ts";
import { PortCounter, RCV_DATA_SL } from "../../spec/ib/port-counters.ts";
import type { Port } from "../port.ts";

/** Counts a unicast packet of `bytes` without its CRCs. */
export function countLaneData(port: Port, sl: number, bytes: number, direction: "xmit" | "rcv"): void {
  const { counters, slData } = port;
  const words = (bytes + ICRC_BYTES) >>> 2;
  if (direction === "xmit") {
    counters[PortCounter.xmitData]! += words;
    counters[PortCounter.xmitPackets]! += 1;
    counters[PortCounter.unicastXmitPackets]! += 1;
    slData[sl]! += words;
  } else {
    counters[PortCounter.rcvData]! += words;
    counters[PortCounter.rcvPackets]! += 1;
    counters[PortCounter.unicastRcvPackets]! += 1;
    slData[RCV_DATA_SL + sl]! += words;
  }
}
