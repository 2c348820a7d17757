// The lanes of a port as plain objects, for printing: those where something is, or is missing.

import { LANE_COUNT } from "./arbiter.ts";
import { BLOCK_BYTES } from "./limits.ts";
import type { PortLanes } from "./port-lanes.ts";

export interface LaneView {
  readonly vl: number;
  /** What waits to leave by this port: packets, and bytes in whole blocks of 64. */
  readonly packets: number;
  readonly queuedBytes: number;
  /** What the receiver at the other end has room for. */
  readonly creditBytes: number;
  /** What lies in this port's own receive buffer. */
  readonly bufferedBytes: number;
}

/** @param bufferBlocks what a lane has credits for when its receiver's buffer is empty */
export function inspectLanes(lanes: PortLanes, bufferBlocks: number): LaneView[] {
  const views: LaneView[] = [];
  for (let vl = 0; vl < LANE_COUNT; vl++) {
    const [packets, blocks, credits, buffered] = [lanes.packets[vl]!, lanes.blocks[vl]!, lanes.credits[vl]!, lanes.buffered[vl]!];
    if (packets === 0 && buffered === 0 && credits === bufferBlocks) continue;
    views.push({
      vl,
      packets,
      queuedBytes: blocks * BLOCK_BYTES,
      creditBytes: credits * BLOCK_BYTES,
      bufferedBytes: buffered * BLOCK_BYTES,
    });
  }
  return views;
}
