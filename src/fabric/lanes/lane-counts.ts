// What ports of switches count of data in the lanes. IBA vol 1, 16.1.3.5: words from the LRH to the ICRC.

import { ICRC_BYTES } from "../../spec/ib/headers.ts";
import { PortCounter, RCV_DATA_SL } from "../../spec/ib/port-counters.ts";
import type { Port } from "../port.ts";
import { count } from "../port-counts.ts";

/** Counts a unicast packet of `bytes` without its CRCs. */
export function countLaneData(port: Port, sl: number, bytes: number, direction: "xmit" | "rcv"): void {
  const { slData } = port;
  const words = (bytes + ICRC_BYTES) >>> 2;
  if (direction === "xmit") {
    count(port, PortCounter.xmitData, words);
    count(port, PortCounter.xmitPackets);
    count(port, PortCounter.unicastXmitPackets);
    slData[sl]! += words;
  } else {
    count(port, PortCounter.rcvData, words);
    count(port, PortCounter.rcvPackets);
    count(port, PortCounter.unicastRcvPackets);
    slData[RCV_DATA_SL + sl]! += words;
  }
}
