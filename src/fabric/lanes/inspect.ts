// The lanes of a port as plain objects, for printing.

import { LANE_COUNT } from "./arbiter.ts";
import type { LaneCounts } from "./lane-state.ts";
import { BLOCK_BYTES } from "./limits.ts";
import { dataLanes } from "./link-rate.ts";
import type { PortLanes } from "./port-lanes.ts";
import type { VirtualLanes } from "./virtual-lanes.ts";

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

/** A lane with what it has done so far. */
export interface UsedLaneView extends LaneView {
  /** Packets that have left by it, and that were discarded instead: too old, without a lane, or the link went down. */
  readonly sentPackets: number;
  readonly discardedPackets: number;
  /** What the first packet of its queue has waited, for credits or for its turn, in words that the link could have sent (PortVLXmitWait). */
  readonly waitedWords: number;
}

export interface PortLanesView {
  /** Data lanes in force (OperationalVLs). */
  readonly vls: number;
  /** Receive buffer of each lane at the other end of the cable: the credits that there are when it is empty. */
  readonly bufferBytes: number;
  /** Those that have been used. */
  readonly lanes: UsedLaneView[];
}

/** All lanes of a fabric. */
export interface LanesView {
  /** Packets under way, at hosts and in switches. */
  readonly packets: number;
  /** Receive buffer of a port for each lane. */
  readonly bufferBytes: number;
  /** Packets that went no further, by reason; where, each port's own counters say. */
  readonly counts: LaneCounts;
}

export const inspectAllLanes = (lanes: VirtualLanes): LanesView => ({
  packets: lanes.length,
  bufferBytes: lanes.bufferBlocks * BLOCK_BYTES,
  counts: { ...lanes.counts },
});

/** The lanes where something is, or is missing. @param bufferBlocks what a lane has credits for when its receiver's buffer is empty */
export function inspectLanes(lanes: PortLanes, bufferBlocks: number): LaneView[] {
  const views: LaneView[] = [];
  for (let vl = 0; vl < LANE_COUNT; vl++) {
    if (isInUse(lanes, vl, bufferBlocks)) views.push(inspectLane(lanes, vl));
  }
  return views;
}

/** Every lane that has been used: at most 16. */
export function inspectPortLanes(lanes: PortLanes, bufferBlocks: number): PortLanesView {
  const used: UsedLaneView[] = [];
  for (let vl = 0; vl < LANE_COUNT; vl++) {
    const [sentPackets, discardedPackets] = [lanes.sent[vl]!, lanes.discarded[vl]!];
    if (sentPackets === 0 && discardedPackets === 0 && !isInUse(lanes, vl, bufferBlocks)) continue;
    const waitedWords = lanes.port.hasVlXmitWait ? lanes.port.vlXmitWait[vl]! : 0;
    used.push({ ...inspectLane(lanes, vl), sentPackets, discardedPackets, waitedWords });
  }
  return { vls: dataLanes(lanes.port.info), bufferBytes: bufferBlocks * BLOCK_BYTES, lanes: used };
}

const isInUse = (lanes: PortLanes, vl: number, bufferBlocks: number): boolean =>
  lanes.packets[vl] !== 0 || lanes.buffered[vl] !== 0 || lanes.credits[vl] !== bufferBlocks;

const inspectLane = (lanes: PortLanes, vl: number): LaneView => ({
  vl,
  packets: lanes.packets[vl]!,
  queuedBytes: lanes.blocks[vl]! * BLOCK_BYTES,
  creditBytes: lanes.credits[vl]! * BLOCK_BYTES,
  bufferedBytes: lanes.buffered[vl]! * BLOCK_BYTES,
});
