// Numbers of the InfiniBand architecture that are neither packet layouts nor one device's. IBA vol 1, section beside each.

/** Destination LIDs (4.1.3). */
export const Lid = {
  RESERVED: 0,
  UNICAST_LAST: 0xbfff,
  MULTICAST_FIRST: 0xc000,
  MULTICAST_LAST: 0xfffe,
  PERMISSIVE: 0xffff,
} as const;

export const isMulticastLid = (lid: number): boolean => lid >= Lid.MULTICAST_FIRST && lid <= Lid.MULTICAST_LAST;
export const isUnicastLid = (lid: number): boolean => lid > Lid.RESERVED && lid <= Lid.UNICAST_LAST;

/** Queue pair numbers with a fixed meaning (3.9, 10.5). */
export const Qpn = { SMI: 0, GSI: 1, MULTICAST: 0xffffff } as const;

/** Q_Key of QP1 (16.1.1). */
export const GSI_QKEY = 0x80010000;

/** Default partition, full member (10.9.1.2). */
export const DEFAULT_PKEY = 0xffff;
/** Membership bit of a P_Key: full members talk to everybody of their partition, limited ones to full ones only (10.9.1.1). */
export const PKEY_FULL = 0x8000;
export const isFullMember = (pkey: number): boolean => (pkey & PKEY_FULL) !== 0;
/** The partition that a P_Key is of: what it says without the membership. */
export const pkeyBase = (pkey: number): number => pkey & 0x7fff;

/** Logical port state (14.2.5.6 PortInfo.PortState). */
export const PortState = { NO_CHANGE: 0, DOWN: 1, INIT: 2, ARMED: 3, ACTIVE: 4 } as const;

/** Physical port state (14.2.5.6 PortInfo.PortPhysicalState). */
export const PhysState = { NO_CHANGE: 0, SLEEP: 1, POLLING: 2, DISABLED: 3, TRAINING: 4, LINK_UP: 5, RECOVERY: 6 } as const;

/** MTU codes (9.2, 14.2.5.6). */
export const Mtu = { MTU_256: 1, MTU_512: 2, MTU_1024: 3, MTU_2048: 4, MTU_4096: 5 } as const;

/** Bytes of payload for an MTU code 1..5; 0 for anything else. */
export const mtuBytes = (code: number): number => (code >= 1 && code <= 5 ? 128 << code : 0);

/** Packets of a message of `bytes` at a path MTU of `mtu` bytes (9.7.2); an empty message is one packet. */
export const packetsOf = (bytes: number, mtu: number): number => (bytes <= mtu || mtu === 0 ? 1 : Math.ceil(bytes / mtu));

/** QP states (10.3.1), numbered as the HCA's contexts number them (infinihost 4.1). */
export const QpState = { RST: 0, INIT: 1, RTR: 2, RTS: 3, SQE: 4, SQD: 5, ERR: 6, SQ_DRAINING: 7 } as const;

/** Transport services, numbered as in the HCA's QP context. */
export const Service = { RC: 0, UC: 1, RD: 2, UD: 3, MLX: 7 } as const;

/** RNR NAK timer codes in nanoseconds (9.7.5.2.8, table 45). Code 0 is the longest. */
export const RNR_TIMER_NS: readonly number[] = [
  655.36, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24, 0.32, 0.48, 0.64, 0.96, 1.28, 1.92, 2.56, 3.84, 5.12, 7.68, 10.24,
  15.36, 20.48, 30.72, 40.96, 61.44, 81.92, 122.88, 163.84, 245.76, 327.68, 491.52,
].map((ms) => Math.round(ms * 1e6));

/** Local ACK timeout of an exponent 1..31: 4.096 µs × 2^code; 0 means "never" (9.7.6.1.3). */
export const ackTimeoutNs = (code: number): number => (code === 0 ? Number.POSITIVE_INFINITY : 4096 * 2 ** code);

/** AETH syndrome, bits 6:5 (9.7.5.2.1). */
export const AethKind = { ACK: 0, RNR_NAK: 1, NAK: 3 } as const;

/** NAK codes, AETH syndrome bits 4:0 (9.7.5.2.2). */
export const NakCode = {
  PSN_SEQUENCE: 0,
  INVALID_REQUEST: 1,
  REMOTE_ACCESS: 2,
  REMOTE_OPERATIONAL: 3,
  INVALID_RD_REQUEST: 4,
} as const;
