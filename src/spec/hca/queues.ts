// Entries of work, completion and event queues. Docs "infinihost" 5.2, 5.6, 5.8, 6.1, 7.2.

import { be16, be32, bits, bits8, bytes, flag, half64, layout, u8 } from "../../base/layout.ts";

/** First 16 bytes of every WQE: a link that describes the *next* WQE, and control of this one (5.2.1). */
export const WqeNext = layout("WQE next/control", 16, {
  nextAddress: bits(0x00, 31, 6),
  nextOpcode: bits(0x00, 4, 0),
  doorbellDone: flag(0x04, 7),
  nextFence: flag(0x04, 6),
  nextSize: bits(0x04, 5, 0),
  signaled: flag(0x08, 3),
  solicited: flag(0x08, 1),
  immediate: be32(0x0c),
});

/** Control dword and addressing of an MLX send (6.1). */
export const WqeMlx = layout("WQE MLX control", 16, {
  vl15: flag(0x08, 17),
  slr: flag(0x08, 16),
  staticRate: bits(0x08, 15, 12),
  sl: bits(0x08, 11, 8),
  signaled: flag(0x08, 3),
  rlid: be16(0x0c),
  vcrc: be16(0x0e),
});

export const WQE_NEXT_BYTES = 16;
/** Sizes in WQE links count units of 16 bytes. */
export const WQE_UNIT_BYTES = 16;
export const WQE_SIZE_UNITS_MAX = 63;
/** Opcode and size in the two dwords of a WQE's link (5.2.2). */
export const WQE_OPCODE_MASK = 0x1f;
export const WQE_SIZE_MASK = 0x3f;

/** Send opcodes (5.2.2); completions carry the same numbers. */
export const SendOpcode = {
  NOP: 0x00,
  RDMA_WRITE: 0x08,
  RDMA_WRITE_IMM: 0x09,
  SEND: 0x0a,
  SEND_IMM: 0x0b,
  RDMA_READ: 0x10,
  ATOMIC_CS: 0x11,
  ATOMIC_FA: 0x12,
  BIND_MW: 0x18,
} as const;

/** Data segment, 16 bytes. */
export const DataSegment = layout("data segment", 16, {
  inline: flag(0, 31),
  byteCount: bits(0, 30, 0),
  lkey: be32(4),
  address: half64(8),
});
export const DATA_SEGMENT_BYTES = 16;
/** Ends the list of a receive WQE together with a byte count of 0. */
export const INVALID_LKEY = 0x100;
export const INLINE_FLAG = 0x80000000;
export const INLINE_LENGTH_MASK = 0x3ff;
/** Byte count field of an inline segment, bits 9:0 and the library's limit of 1024. */
export const INLINE_BYTES_MAX = 1024;

export const RemoteAddressSegment = layout("remote address segment", 16, { address: half64(0), rkey: be32(8) });
export const REMOTE_ADDRESS_BYTES = 16;

export const AtomicSegment = layout("atomic segment", 16, { swapAdd: half64(0), compare: half64(8) });
export const ATOMIC_SEGMENT_BYTES = 16;

/** UD segment of mem-free mode: address vector, then QPN and Q_Key. */
export const UdSegment = layout("UD segment", 48, { destQpn: bits(0x20, 23, 0), qkey: be32(0x24) });
export const UD_SEGMENT_BYTES = 48;

/** Address vector, 32 bytes (7.2). */
export const AddressVector = layout("address vector", 32, {
  port: bits(0x00, 25, 24),
  pd: bits(0x00, 23, 0),
  grh: bits8(0x05, 7, 7),
  pathBits: bits8(0x05, 6, 0),
  dlid: be16(0x06),
  gidIndex: u8(0x09),
  maxMessage: bits8(0x0a, 5, 4),
  staticRate: bits8(0x0a, 2, 0),
  hopLimit: u8(0x0b),
  sl: bits(0x0c, 31, 28),
  trafficClass: bits(0x0c, 27, 20),
  flowLabel: bits(0x0c, 19, 0),
  dgid: bytes(0x10, 16),
});

/** Completion queue entry, 32 bytes (5.6). */
export const Cqe = layout("CQE", 32, {
  qpn: be32(0x00),
  checksumHi: u8(0x04),
  checksumLo: bits(0x08, 31, 24),
  remoteQpn: bits(0x08, 23, 0),
  sl: bits8(0x0c, 7, 4),
  ipOk: bits8(0x0c, 0, 0),
  grh: bits8(0x0d, 7, 7),
  pathBits: bits8(0x0d, 6, 0),
  rlid: be16(0x0e),
  immediate: be32(0x10),
  byteCount: be32(0x14),
  wqe: be32(0x18),
  opcode: u8(0x1c),
  isSend: bits8(0x1d, 7, 7),
  owner: bits8(0x1f, 7, 7),
});
export const CQE_BYTES = 32;
export const CQE_SHIFT = 5;

/** The fields of an error completion that differ. */
export const CqeError = layout("CQE error", 32, {
  qpn: be32(0x00),
  syndrome: u8(0x10),
  vendorError: u8(0x11),
  doorbellCount: be16(0x12),
  wqe: be32(0x18),
  opcode: u8(0x1c),
  owner: bits8(0x1f, 7, 7),
});
export const CqeErrorOpcode = { SEND: 0xff, RECEIVE: 0xfe } as const;

/** Syndromes of error completions. */
export const Syndrome = {
  LOCAL_LENGTH: 0x01,
  LOCAL_QP_OPERATION: 0x02,
  LOCAL_EEC_OPERATION: 0x03,
  LOCAL_PROTECTION: 0x04,
  WR_FLUSHED: 0x05,
  MW_BIND: 0x06,
  BAD_RESPONSE: 0x10,
  LOCAL_ACCESS: 0x11,
  REMOTE_INVALID_REQUEST: 0x12,
  REMOTE_ACCESS: 0x13,
  REMOTE_OPERATION: 0x14,
  TRANSPORT_RETRY: 0x15,
  RNR_RETRY: 0x16,
} as const;

/** Byte 0x1f of a CQE or EQE: who owns the entry. */
export const Owner = { SOFTWARE: 0x00, HARDWARE: 0x80 } as const;

/** Event queue entry, 32 bytes (5.8). */
export const Eqe = layout("EQE", 32, {
  type: u8(0x01),
  subType: u8(0x03),
  number: bits(0x04, 23, 0),
  portNumber: bits(0x0c, 29, 28),
  owner: bits8(0x1f, 7, 7),
});
/** The fields of a command completion event. */
export const EqeCommand = layout("EQE command", 32, {
  type: u8(0x01),
  token: be16(0x06),
  status: u8(0x0f),
  outParam: half64(0x10),
  owner: bits8(0x1f, 7, 7),
});
export const EQE_BYTES = 32;
/** Syndrome byte of a CQ error event. */
export const EQE_CQ_SYNDROME_AT = 0x0f;

export const EventType = {
  COMPLETION: 0x00,
  PATH_MIGRATED: 0x01,
  COMM_ESTABLISHED: 0x02,
  SQ_DRAINED: 0x03,
  CQ_ERROR: 0x04,
  WQ_CATASTROPHIC: 0x05,
  PATH_MIGRATION_FAILED: 0x07,
  LOCAL_CATASTROPHIC: 0x08,
  PORT_CHANGE: 0x09,
  COMMAND: 0x0a,
  EQ_OVERFLOW: 0x0f,
  WQ_INVALID_REQUEST: 0x10,
  WQ_ACCESS_VIOLATION: 0x11,
  SRQ_CATASTROPHIC: 0x12,
  SRQ_LAST_WQE: 0x13,
  SRQ_LIMIT: 0x14,
} as const;

export const PortChange = { DOWN: 1, ACTIVE: 4 } as const;
export const CqErrorSyndrome = { OVERRUN: 1, ACCESS_VIOLATION: 2 } as const;
