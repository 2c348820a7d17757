// Firmware commands of the mem-free InfiniHost: opcodes, status codes and mailboxes. Docs "infinihost" 2.5-2.8, 6.3.

import { be16, be32, bits, bits8, bytes, flag, half64, layout, u8 } from "../../base/layout.ts";

/** Opcodes of mem-free mode: those that the Linux driver issues, and the queries that other drivers and tools use (2.7). */
export const Command = {
  SYS_DIS: 0x002,
  QUERY_DEV_LIM: 0x003,
  QUERY_FW: 0x004,
  QUERY_ADAPTER: 0x006,
  INIT_HCA: 0x007,
  CLOSE_HCA: 0x008,
  INIT_IB: 0x009,
  CLOSE_IB: 0x00a,
  SET_IB: 0x00c,
  SW2HW_MPT: 0x00d,
  QUERY_MPT: 0x00e,
  HW2SW_MPT: 0x00f,
  MAP_EQ: 0x012,
  SW2HW_EQ: 0x013,
  HW2SW_EQ: 0x014,
  QUERY_EQ: 0x015,
  SW2HW_CQ: 0x016,
  HW2SW_CQ: 0x017,
  QUERY_CQ: 0x018,
  RST2INIT_QP: 0x019,
  INIT2RTR_QP: 0x01a,
  RTR2RTS_QP: 0x01b,
  RTS2RTS_QP: 0x01c,
  SQERR2RTS_QP: 0x01d,
  ANY2ERR_QP: 0x01e,
  RTS2SQD_QP: 0x01f,
  SQD2RTS_QP: 0x020,
  ANY2RST_QP: 0x021,
  QUERY_QP: 0x022,
  CONF_SPECIAL_QP: 0x023,
  MAD_IFC: 0x024,
  READ_MGM: 0x025,
  WRITE_MGM: 0x026,
  MGID_HASH: 0x027,
  RESIZE_CQ: 0x02c,
  INIT2INIT_QP: 0x02d,
  NOP: 0x031,
  SW2HW_SRQ: 0x035,
  HW2SW_SRQ: 0x036,
  QUERY_SRQ: 0x037,
  SQD2SQD_QP: 0x038,
  ARM_SRQ: 0x040,
  RUN_FW: 0xff6,
  ENABLE_LAM: 0xff8,
  UNMAP_ICM: 0xff9,
  MAP_ICM: 0xffa,
  UNMAP_ICM_AUX: 0xffb,
  MAP_ICM_AUX: 0xffc,
  SET_ICM_SIZE: 0xffd,
  UNMAP_FA: 0xffe,
  MAP_FA: 0xfff,
} as const;

/** Status of a completed command (2.5). */
export const CommandStatus = {
  OK: 0x00,
  INTERNAL_ERROR: 0x01,
  BAD_OP: 0x02,
  BAD_PARAM: 0x03,
  BAD_SYS_STATE: 0x04,
  BAD_RESOURCE: 0x05,
  RESOURCE_BUSY: 0x06,
  DDR_MEM_ERROR: 0x07,
  EXCEED_LIM: 0x08,
  BAD_RES_STATE: 0x09,
  BAD_INDEX: 0x0a,
  BAD_NVMEM: 0x0b,
  BAD_QP_STATE: 0x10,
  BAD_SEG_PARAM: 0x20,
  REG_BOUND: 0x21,
  LAM_NOT_PRESENT: 0x22,
  BAD_PACKET: 0x30,
  BAD_SIZE: 0x40,
} as const;

export const MAILBOX_BYTES = 4096;

/** QUERY_FW output (2.8.1). */
export const QueryFw = layout("QUERY_FW", 0x100, {
  fwPages: be16(0x00),
  major: be16(0x02),
  subMinor: be16(0x04),
  minor: be16(0x06),
  commandInterfaceRevision: be32(0x08),
  logMaxCommands: u8(0x0f),
  commandDoorbells: flag(0x10, 0),
  clrIntAddress: half64(0x20),
  catasAddress: half64(0x30),
  catasDwords: be32(0x38),
  eqArmAddress: half64(0x40),
  eqSetCiAddress: half64(0x48),
});

/** MAP_FA, MAP_ICM_AUX and MAP_ICM entries (2.8.3). */
export const MapEntry = layout("MAP_ICM entry", 16, { icmAddress: half64(0), dmaAddress: half64(8) });
export const MAP_ENTRIES_MAX = 256;

/** QUERY_DEV_LIM output (2.8.6). Names with `log` hold log2. */
export const QueryDevLim = layout("QUERY_DEV_LIM", 0x100, {
  logMaxSrqWqes: u8(0x10),
  logMaxQpWqes: u8(0x11),
  logReservedQps: bits8(0x12, 3, 0),
  logMaxQps: bits8(0x13, 4, 0),
  logReservedSrqs: bits8(0x14, 7, 4),
  logMaxSrqs: bits8(0x15, 4, 0),
  logReservedEecs: bits8(0x16, 3, 0),
  logMaxEecs: bits8(0x17, 4, 0),
  logMaxCqes: u8(0x19),
  logReservedCqs: bits8(0x1a, 3, 0),
  logMaxCqs: bits8(0x1b, 4, 0),
  logMaxMpts: bits8(0x1d, 5, 0),
  logReservedEqs: bits8(0x1e, 3, 0),
  logMaxEqs: bits8(0x1f, 2, 0),
  logReservedMtts: bits8(0x20, 7, 4),
  logMaxMrSize: u8(0x21),
  logReservedMpts: bits8(0x22, 3, 0),
  logMaxMttSegments: bits8(0x23, 5, 0),
  logMaxRequesterReads: bits8(0x29, 5, 0),
  logMaxResponderReads: bits8(0x2b, 5, 0),
  logMaxResponderResources: bits8(0x2f, 5, 0),
  srqResize: bits8(0x33, 0, 0),
  localCaAckDelay: bits8(0x35, 4, 0),
  maxMtu: bits8(0x36, 7, 4),
  portWidths: bits8(0x36, 3, 0),
  vlCount: bits8(0x37, 7, 4),
  ports: bits8(0x37, 3, 0),
  logGids: bits8(0x3b, 3, 0),
  staticRates: be16(0x3c),
  logPkeys: bits8(0x3f, 3, 0),
  flags: be32(0x44),
  reservedUars: bits8(0x48, 7, 4),
  logUarMegabytes: bits8(0x49, 5, 0),
  logMinPage: u8(0x4b),
  maxSendSges: u8(0x51),
  maxSendDescriptorBytes: be16(0x52),
  maxReceiveSges: u8(0x55),
  maxReceiveDescriptorBytes: be16(0x56),
  logQpsPerGroup: u8(0x61),
  reservedMgms: bits8(0x62, 3, 0),
  logMaxGroups: u8(0x63),
  reservedPds: bits8(0x64, 7, 4),
  logMaxPds: bits8(0x65, 5, 0),
  reservedRdds: bits8(0x66, 7, 4),
  logMaxRdds: bits8(0x67, 5, 0),
  eecBytes: be16(0x80),
  qpcBytes: be16(0x82),
  eeecBytes: be16(0x84),
  eqpcBytes: be16(0x86),
  eqcBytes: be16(0x88),
  cqcBytes: be16(0x8a),
  srqcBytes: be16(0x8c),
  uarScratchBytes: be16(0x8e),
  mttBytes: be16(0x90),
  mptBytes: be16(0x92),
  logMaxPbl: bits8(0x96, 5, 0),
  bmmFlags: u8(0x97),
  reservedLkey: be32(0x98),
  needsLocalMemory: bits8(0x9f, 0, 0),
  maxIcmBytes: half64(0xa0),
});

/** Bits of `QueryDevLim.flags`. */
export const DevLimFlag = {
  RC: 1 << 0,
  UC: 1 << 1,
  UD: 1 << 2,
  SRQ: 1 << 6,
  IPOIB_CSUM: 1 << 7,
  PKEY_COUNTER: 1 << 8,
  QKEY_COUNTER: 1 << 9,
  APM: 1 << 17,
  ATOMICS: 1 << 18,
  UD_AV_PORT: 1 << 20,
  UD_MULTICAST: 1 << 21,
} as const;

/** QUERY_ADAPTER output (2.8.7). */
export const QueryAdapter = layout("QUERY_ADAPTER", 0x100, {
  vendorId: be32(0x00),
  deviceId: be32(0x04),
  revision: be32(0x08),
  intaPin: u8(0x10),
  vsd: bytes(0x20, 208),
  /** 16 characters, each group of four byte-reversed. */
  boardId: bytes(0xf0, 16),
});

/** INIT_HCA input (2.8.8). Bases are ICM addresses; their low bits hold the log2 of the table's entries. */
export const InitHca = layout("INIT_HCA", 0x200, {
  mkeyOptimisation: be32(0x00c),
  checksumOffload: bits(0x014, 5, 3),
  hostBigEndian: flag(0x014, 1),
  checkUdAvPort: flag(0x014, 0),
  qpcBase: half64(0x030),
  eecBase: half64(0x040),
  srqcBase: half64(0x048),
  cqcBase: half64(0x050),
  eqpcBase: half64(0x060),
  eeecBase: half64(0x070),
  eqcBase: half64(0x080),
  rdbBase: half64(0x090),
  multicastBase: half64(0x0c0),
  logMulticastEntryBytes: be16(0x0d2),
  multicastHashEntries: be16(0x0d6),
  logMulticastEntries: u8(0x0db),
  mptBase: half64(0x0f0),
  logMpts: u8(0x0fb),
  mttBase: half64(0x100),
  uarBase: half64(0x120),
  logUarcPages: u8(0x129),
  logUars: u8(0x12a),
  uarPageSize: u8(0x12b),
  uarScratchBase: half64(0x130),
  uarcBase: half64(0x138),
});

/** Bits of an INIT_HCA base that hold log2 of the number of entries. */
export const LOG_IN_BASE_MASK = 0x3f;

/** INIT_IB input (2.8.9). */
export const InitIb = layout("INIT_IB", 56, {
  mtuCap: bits(0x00, 15, 12),
  portWidth: bits(0x00, 11, 8),
  vlCount: bits(0x00, 7, 4),
  setGuid0: flag(0x00, 16),
  setNodeGuid: flag(0x00, 17),
  setSystemImageGuid: flag(0x00, 18),
  maxGids: be16(0x06),
  maxPkeys: be16(0x0a),
  guid0: half64(0x10),
  nodeGuid: half64(0x18),
  systemImageGuid: half64(0x20),
});

/** SET_IB input (2.8.10). */
export const SetIb = layout("SET_IB", 64, {
  setSystemImageGuid: flag(0x00, 18),
  resetQkeyViolations: flag(0x00, 0),
  capabilityMask: be32(0x04),
  systemImageGuid: half64(0x08),
});

/** RESIZE_CQ input (2.8.12). */
export const ResizeCq = layout("RESIZE_CQ", 64, { startAddress: half64(0x04), logSize: u8(0x0c), lkey: be32(0x1c) });

/** MAD_IFC (6.3): the MAD itself is the first 256 bytes of both mailboxes. */
export const MadIfc = layout("MAD_IFC", 0x168, {
  localQpn: be32(0x100),
  remoteQpn: be32(0x108),
  sl: bits8(0x10c, 7, 4),
  grhPresent: bits8(0x10d, 7, 7),
  pathBits: bits8(0x10d, 6, 0),
  slid: be16(0x10e),
  pkeyIndex: be16(0x112),
  grh: bytes(0x140, 40),
});
export const MAD_BYTES = 256;
export const MadIfcModifier = { IGNORE_MKEY: 1, IGNORE_BKEY: 2, EXTENDED: 4 } as const;

/** QP transition mailbox (2.8.14): the context follows at +8. */
export const QpTransition = layout("QP transition", 8, { optionalMask: be32(0) });
export const QP_CONTEXT_AT = 8;
