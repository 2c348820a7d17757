// Bounds of the lanes, each with its reason; and the unit of buffers.

import { ICRC_BYTES, VCRC_BYTES } from "../../spec/ib/headers.ts";

/** Receive buffer of a port for each lane: seven packets of 2 KiB. */
export const DEFAULT_BUFFER_BYTES = 16 * 1024;
/** A packet of 4 KiB with all headers. */
export const MIN_BUFFER_BYTES = 4352;
/** What the 12 bits of a credit limit can say (7.9.4.4). */
export const MAX_BUFFER_BYTES = 128 * 1024;
/** Credits are for blocks of so many bytes (7.9.4). */
export const BLOCK_BYTES = 64;
/** Packets under way in all, in a memory that is made once. */
export const POOL_PACKETS = 8192;
/** Of them, those that data leave to management. */
export const MANAGEMENT_PACKETS = 512;
/** Queue of a host's port for each lane: four turns of a queue pair in packets. */
export const HOST_QUEUE_BYTES = 64 * 1024;
/** Destinations with a static rate at a time, of all hosts; and packets that wait there to be spaced, so that all keep a quarter of the memory at most. */
export const SPACED_DESTINATIONS = 1024;
export const SPACED_PACKETS = 2;
/** Multicast packets that a switch remembers as handed on, a power of two: more than are under way for as long as it takes to go round in a circle. */
export const MULTICAST_REMEMBERED = 1024;
/** Events handled, and copies made, before others have a turn. */
export const EVENTS_PER_TURN = 1024;

const BLOCK_SHIFT = Math.log2(BLOCK_BYTES);

/** Blocks of a packet of so many bytes without CRCs. */
export const blocksOf = (bytes: number): number => (bytes + ICRC_BYTES + VCRC_BYTES + BLOCK_BYTES - 1) >> BLOCK_SHIFT;
