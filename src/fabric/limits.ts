// Bounds of the fabric, each with its reason.

/** Entries in the fabric's queue; beyond it new packets are dropped and counted. 10,000 hosts with a dozen packets each. */
export const MAX_QUEUED = 1 << 17;
/** Packets waiting at one port on VL 15. OpenSM can be told to keep hundreds of SMPs outstanding. */
export const MAX_QUEUED_VL15 = 512;
/** Packets waiting at one port on all other lanes together. */
export const MAX_QUEUED_DATA = 512;
/** Longest packet: 4 KiB of payload and every header there is. */
export const MAX_PACKET_BYTES = 4096 + 128;
/** Switches a packet may cross; ends loops in forwarding tables. The longest directed route has as many. */
export const MAX_HOPS = 64;
/** Packets handled per step if the caller names no budget. */
export const DEFAULT_BUDGET = 4096;
/** Ports of one node: NodeInfo.NumPorts is a byte and 255 means "discard" in forwarding tables. */
export const MAX_NODE_PORTS = 254;
