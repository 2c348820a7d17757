// What the transport asks of a fabric that carries packets of data hop by hop, through virtual lanes (fabric/lanes/virtual-lanes.ts has this shape; the
// domain joins the two).

import type { Memory } from "../../base/bytes.ts";
import type { PacketLane } from "./ring.ts";

/** Answers of `take` that are no end port. */
export const NOTHING_DUE = -1;

export interface LaneNet {
  /** Where packets of end port `index` leave. */
  outlet(index: number): PacketLane | undefined;
  /** Lets time pass until a packet arrives: the number of its end port; NOTHING_DUE, or less if others are to have their turn first. */
  take(nowNs: number): number;
  /** The packet that `take` has found, until `release`. */
  readonly memory: Memory;
  readonly at: number;
  readonly byteLength: number;
  release(): void;
  /** Packets under way. */
  readonly length: number;
  /** Changes when a lane that was full has room again. */
  readonly roomEpoch: number;
  /** When `take` has something to do; Infinity if never. */
  nextDeadlineNs(): number;
}
