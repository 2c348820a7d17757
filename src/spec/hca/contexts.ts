// Contexts that the driver hands to the device by command. Docs "infinihost" 4.1-4.6; bit numbers as there.

import { be16, be32, bits, bits8, bytes, flag, half64, layout, u8 } from "../../base/layout.ts";

/** QP context, 256 bytes (4.1). */
export const QpContext = layout("QP context", 256, {
  state: bits(0x00, 31, 28),
  service: bits(0x00, 18, 16),
  pathMigration: bits(0x00, 12, 11),
  descriptorEvent: flag(0x00, 8),
  mtu: bits8(0x08, 7, 5),
  logMaxMessage: bits8(0x08, 4, 0),
  logRqSize: bits8(0x09, 6, 3),
  logRqStride: bits8(0x09, 2, 0),
  logSqSize: bits8(0x0a, 6, 3),
  logSqStride: bits8(0x0a, 2, 0),
  scheduleQueue: bits8(0x0b, 3, 0),
  usrPage: bits(0x0c, 23, 0),
  localQpn: bits(0x10, 23, 0),
  remoteQpn: bits(0x14, 23, 0),
  rdd: bits(0x60, 23, 0),
  pd: bits(0x64, 23, 0),
  wqeBaseHi: be32(0x68),
  wqeLkey: be32(0x6c),
  ackRequestFrequency: bits(0x70, 31, 28),
  flightLimit: bits(0x70, 27, 24),
  logRequesterReads: bits(0x70, 23, 21),
  retryCount: bits(0x70, 18, 16),
  sendReads: flag(0x70, 15),
  sendWrites: flag(0x70, 14),
  sendAtomics: flag(0x70, 13),
  rnrRetriesLeft: bits(0x70, 10, 8),
  retriesLeft: bits(0x70, 7, 5),
  signalAll: flag(0x70, 3),
  nextSendPsn: bits(0x78, 23, 0),
  sendCqn: bits(0x7c, 23, 0),
  sqBase: be32(0x80),
  sqRecord: be32(0x84),
  lastAckedPsn: bits(0x88, 23, 0),
  ssn: bits(0x8c, 23, 0),
  logResponderReads: bits(0x90, 23, 21),
  remoteRead: flag(0x90, 15),
  remoteWrite: flag(0x90, 14),
  remoteAtomic: flag(0x90, 13),
  invalidCredits: flag(0x90, 4),
  receiveSignalAll: flag(0x90, 3),
  minRnrTimer: bits(0x94, 28, 24),
  nextReceivePsn: bits(0x94, 23, 0),
  rdbAddress: be32(0x98),
  receiveCqn: bits(0x9c, 23, 0),
  rqBase: be32(0xa0),
  rqRecord: be32(0xa4),
  qkey: be32(0xa8),
  srqAttached: flag(0xac, 24),
  srqn: bits(0xac, 23, 0),
  responderMsn: bits(0xb0, 23, 0),
  rqWqeCounter: be16(0xb4),
  sqWqeCounter: be16(0xb6),
});

/** Where the primary and alternate paths lie in the QP context. */
export const PRIMARY_PATH_AT = 0x20;
export const ALTERNATE_PATH_AT = 0x40;

/** Address path, 32 bytes (4.1.1). */
export const AddressPath = layout("address path", 32, {
  port: bits(0x00, 25, 24),
  pkeyIndex: bits(0x00, 6, 0),
  rnrRetry: bits8(0x04, 7, 5),
  grh: bits8(0x05, 7, 7),
  pathBits: bits8(0x05, 6, 0),
  rlid: be16(0x06),
  ackTimeout: bits8(0x08, 7, 3),
  sgidIndex: u8(0x09),
  staticRate: bits8(0x0a, 2, 0),
  hopLimit: u8(0x0b),
  sl: bits(0x0c, 31, 28),
  trafficClass: bits(0x0c, 27, 20),
  flowLabel: bits(0x0c, 19, 0),
  rgid: bytes(0x10, 16),
});

/**
 * Inter-packet delays (IBA vol 1, 9.11) of static rates: full, a quarter, an eighth and half of what the port's link has (7.3). 5 is what libmthca
 * writes into address vectors for 5 Gb/s, a quarter of 4X DDR; its other numbers mean the same as ours there, or the full rate.
 */
export const INTER_PACKET_DELAYS: Readonly<Uint8Array> = Uint8Array.of(0, 3, 7, 1, 0, 3, 0, 0);

/** Path-migration states of the QP context. */
export const PathMigration = { ARMED: 0, REARM: 1, MIGRATED: 3 } as const;

/** Optional-parameter mask of QP transitions (4.1.4). */
export const QpOptional = {
  ALTERNATE_PATH: 1 << 0,
  REMOTE_READ: 1 << 1,
  REMOTE_ATOMIC: 1 << 2,
  REMOTE_WRITE: 1 << 3,
  PKEY_INDEX: 1 << 4,
  QKEY: 1 << 5,
  RNR_TIMER: 1 << 6,
  PRIMARY_PATH: 1 << 7,
  REQUESTER_READS: 1 << 8,
  RESPONDER_READS: 1 << 9,
  PATH_MIGRATION: 1 << 10,
  PORT: 1 << 11,
  RETRY_COUNT: 1 << 12,
  ALTERNATE_RNR_RETRY: 1 << 13,
  ACK_TIMEOUT: 1 << 14,
  RNR_RETRY: 1 << 15,
  SCHEDULE_QUEUE: 1 << 16,
} as const;

/** CQ context, 64 bytes (4.2). */
export const CqContext = layout("CQ context", 64, {
  status: bits(0x00, 31, 28),
  translation: flag(0x00, 18),
  overrunIgnore: flag(0x00, 17),
  state: bits(0x00, 11, 8),
  startAddress: half64(0x04),
  logSize: bits(0x0c, 28, 24),
  usrPage: bits(0x0c, 23, 0),
  errorEqn: bits(0x10, 7, 0),
  completionEqn: bits(0x14, 7, 0),
  pd: bits(0x18, 23, 0),
  lkey: be32(0x1c),
  lastNotifiedIndex: be32(0x20),
  solicitedProducerIndex: be32(0x24),
  consumerCounter: be32(0x28),
  producerCounter: be32(0x2c),
  cqn: bits(0x30, 23, 0),
  ciRecord: be32(0x34),
  armRecord: be32(0x38),
});

export const CqStatus = { OK: 0, OVERFLOW: 9, WRITE_FAILURE: 10 } as const;
export const CqState = { DISARMED: 0, ARMED_SOLICITED: 6, ARMED: 9, FIRED: 10 } as const;

/** SRQ context of mem-free mode, 48 bytes (4.3). */
export const SrqContext = layout("SRQ context", 48, {
  state: bits(0x00, 31, 28),
  logSize: bits(0x00, 27, 24),
  srqn: bits(0x00, 23, 0),
  lkey: be32(0x04),
  record: be32(0x08),
  logStride: bits(0x0c, 31, 29),
  usrPage: bits(0x0c, 23, 0),
  wqeAddress: half64(0x10),
  pd: bits(0x18, 23, 0),
  limitWatermark: be16(0x1c),
  wqeCount: be16(0x1e),
  wqeCounter: be16(0x22),
});

export const SrqState = { HW: 0, ERROR: 1, SW: 15 } as const;

/** EQ context, 64 bytes (4.4). */
export const EqContext = layout("EQ context", 64, {
  status: bits(0x00, 31, 28),
  owner: bits(0x00, 27, 24),
  translation: flag(0x00, 18),
  overrunIgnore: flag(0x00, 17),
  state: bits(0x00, 11, 8),
  startAddress: half64(0x04),
  logSize: bits(0x0c, 28, 24),
  intr: u8(0x17),
  pd: bits(0x18, 23, 0),
  lkey: be32(0x1c),
  consumerIndex: be32(0x28),
  producerIndex: be32(0x2c),
});

export const EqState = { ARMED: 9, FIRED: 10, ALWAYS_ARMED: 11 } as const;
/** Bits 7:6 of `EqContext.intr`: 10 means MSI-X entry in the low bits, 00 the INTA pin (1.3). */
export const EQ_INTR_MSIX = 0x80;
export const EQ_INTR_VECTOR_MASK = 0x3f;

/** Memory protection table entry, 64 bytes (4.5). */
export const Mpt = layout("MPT", 64, {
  status: bits(0x00, 31, 28),
  memoryIo: flag(0x00, 17),
  bindEnable: flag(0x00, 15),
  remoteAtomic: flag(0x00, 14),
  remoteWrite: flag(0x00, 13),
  remoteRead: flag(0x00, 12),
  localWrite: flag(0x00, 11),
  localRead: flag(0x00, 10),
  physical: flag(0x00, 9),
  region: flag(0x00, 8),
  accessBits: bits(0x00, 7, 0),
  logPageSize: bits(0x04, 4, 0),
  key: be32(0x08),
  pd: bits(0x0c, 23, 0),
  start: half64(0x10),
  length: half64(0x18),
  parentLkey: be32(0x20),
  windowCount: be32(0x24),
  windowLimit: be32(0x28),
  mttAddress: half64(0x2c),
  mttCount: be32(0x34),
});

/** Local and remote access of a region, as the bits of MPT dword 0. */
export const Access = {
  LOCAL_READ: 1 << 10,
  LOCAL_WRITE: 1 << 11,
  REMOTE_READ: 1 << 12,
  REMOTE_WRITE: 1 << 13,
  REMOTE_ATOMIC: 1 << 14,
} as const;
export const ACCESS_MASK = 0x1f << 10;

/** MTT entry: page address with the present bit (3.4). */
export const MTT_BYTES = 8;
export const MTT_PRESENT = 1;

/** Multicast group entry, 256 bytes (4.6). */
export const Mgm = layout("MGM", 32, { next: bits(0x00, 31, 6), mgid: bytes(0x10, 16) });
export const MGM_BYTES = 256;
export const MGM_QPS_AT = 0x20;
export const MGM_QPS_MAX = 56;
export const MGM_QP_VALID = 0x80000000;
export const MGM_QPN_MASK = 0xffffff;
