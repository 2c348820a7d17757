// Bounds of what peers can make a connection manager keep or do, and its times.

import { NS_PER_MS, NS_PER_S } from "../../base/clock.ts";

export const CmLimits = {
  /** Connections and attempts of a context, whatever their state. */
  ENDPOINTS: 16_384,
  /** Requests that wait for `accept`, of all listeners; of one peer (by LID). */
  PENDING: 1024,
  PENDING_PER_PEER: 64,
  /** Ended connections that are remembered, so that late messages are answered rightly; the oldest goes. */
  TIMEWAIT: 256,
} as const;

export const CmTimes = {
  /** A message that has not been answered is sent again after this, then after twice as long, … */
  FIRST_WAIT_NS: 500 * NS_PER_MS,
  /** … but this at most: code 20. */
  LONGEST_WAIT_NS: 4096 * 2 ** 20,
  /** How long `connect` and `accept` try, unless told otherwise. */
  SETUP_NS: 30 * NS_PER_S,
  /** How long `disconnect` waits for the peer. */
  DISCONNECT_NS: 10 * NS_PER_S,
  /** A request that the program has not answered is rejected then. */
  PENDING_NS: 60 * NS_PER_S,
  /** However often the peer asks for patience, a message is given up after this. */
  PATIENCE_NS: 300 * NS_PER_S,
  TIMEWAIT_NS: 4 * NS_PER_S,
} as const;

/** Codes (4.096 µs × 2^code) in our messages: what peers may expect of us, as librdmacm has it (4.3 s). */
export const RESPONSE_TIMEOUT_CODE = 20;
/** In an MRA: 68 s, a little more than `PENDING_NS`. */
export const SERVICE_TIMEOUT_CODE = 24;
export const MAX_CM_RETRIES = 15;
