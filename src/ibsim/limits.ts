// Bounds of the server for ibsim's clients, each with its reason.

import { NS_PER_MS } from "../base/clock.ts";

/** Programs attached at a time; each has a socket that the engine looks at. ibsim has room for ten. */
export const MAX_CLIENTS = 256;
/** Requests of a client in the fabric at a time; no port can be made to drop what it is sent by one client alone (MAX_QUEUED_VL15). */
export const MAX_OUTSTANDING = 256;
/** MADs of a client that wait for their turn: OpenSM without a limit of its own has one for each port of the subnet and more under way. */
export const MAX_WAITING = 1 << 16;
/** MADs on their way to a client that does not read; the kernel keeps ten more. */
export const MAX_UNREAD = 1 << 16;
/** Control datagrams taken in one look, and MADs sent that had to wait: others want their turn. */
export const DATAGRAMS_AT_ONCE = 64;
/** MADs taken from one client in one look. The kernel's queue holds eleven, unless somebody has changed that (net.unix.max_dgram_qlen). */
export const MADS_AT_ONCE = 16;
/** Packets of the fabric carried in one look at all clients, so that MADs have their answers at once: some round trips across a large fabric. */
export const PACKETS_AT_ONCE = 64;
/** A request without an answer is sent again after so long, as the MAD layer of a host does for its programs … */
export const RETRY_NS = 200 * NS_PER_MS;
/** … so many times in all; then it comes back to its program with ETIMEDOUT. */
export const MAX_SENDS = 4;
/** Clients are looked after this often: one that was killed says nothing. */
export const CHECK_NS = 500 * NS_PER_MS;
/** Traps whose transaction ids are remembered for the TrapRepress that the preload library spoils. */
export const MAX_TRAPS = 64;
