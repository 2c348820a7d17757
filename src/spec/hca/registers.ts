// BAR 0 and BAR 2 of the MT25204 in mem-free mode, as the Linux driver uses them.
// Facts: docs "infinihost" 1.2-1.6, 2.1, 5.1. Registers are big-endian dwords in ascending byte address.

import { be16, be32, bits, flag, half64, layout } from "../../base/layout.ts";

/** PCI identity of the MT25204 "Sinai". */
export const MT25204 = {
  vendorId: 0x15b3,
  deviceId: 0x6274,
  revision: 0x20,
  /** Serial bus controller, InfiniBand. */
  classCode: 0x0c0600,
  firmware: { major: 1, minor: 2, subMinor: 0 },
} as const;

/** BAR 0: device configuration space. The driver accepts exactly this size. */
export const BAR0_BYTES = 0x100000;
/** BAR 2: UAR pages of 4 KiB. */
export const UAR_BYTES = 0x800000;
export const UAR_PAGE_BYTES = 4096;

/** BAR 0 offsets. HCR and RESET are fixed by the driver; QUERY_FW reports the others. */
export const Bar0 = {
  /** First byte of the two pages that a VMM may map: HCR, EQ arm, EQ consumer indices, catastrophic-error buffer. */
  MAPPED: 0x80000,
  MAPPED_BYTES: 0x2000,
  HCR: 0x80680,
  EQ_ARM: 0x80800,
  EQ_SET_CI: 0x81000,
  /** Among the mapped pages: the driver reads it every 5 s, for which nobody should leave the guest. */
  CATAS: 0x81800,
  MSIX_TABLE: 0x82000,
  MSIX_PBA: 0x83000,
  CLR_INT: 0xf00d8,
  RESET: 0xf0010,
} as const;

/** Dwords of the catastrophic-error buffer; the driver crashes at unbind if it is 0. */
export const CATAS_DWORDS = 16;
/** Type in the top byte of the buffer's first dword (1.5). */
export const CatastrophicError = { INTERNAL: 0, UPLINK_BUS: 3, DDR_DATA: 4, INTERNAL_PARITY: 5 } as const;
/** Bytes from one EQ's consumer index to the next. */
export const EQ_SET_CI_STRIDE = 8;

/** HCA command register (2.1). */
export const Hcr = layout("HCR", 28, {
  inParam: half64(0),
  inputModifier: be32(8),
  outParam: half64(12),
  token: bits(20, 31, 16),
  status: bits(24, 31, 24),
  go: flag(24, 23),
  eventRequest: flag(24, 22),
  opcodeModifier: bits(24, 15, 12),
  opcode: bits(24, 11, 0),
});

/** GO of the HCR in a little-endian load of its last dword. */
export const HCR_GO_LE = 0x8000;

/** Doorbells inside a UAR page (5.1). */
export const UarDoorbell = { SEND: 0x10, CQ: 0x20 } as const;

export const SendDoorbell = layout("send doorbell", 8, {
  wqeCount: bits(0, 31, 24),
  sqCounter: bits(0, 23, 8),
  fence: flag(0, 5),
  opcode: bits(0, 4, 0),
  qpn: bits(4, 31, 8),
  size: bits(4, 5, 0),
});

export const CqDoorbell = layout("CQ arm doorbell", 8, {
  sequence: bits(0, 29, 28),
  command: bits(0, 26, 24),
  cqn: bits(0, 23, 0),
  consumerIndex: be32(4),
});

/** Doorbell records in the UAR context, 8 bytes each (3.5). */
export const DB_RECORD_BYTES = 8;
export const DB_RECORDS_PER_PAGE = 512;

export const DbRecordType = { FREE: 0, CQ_CI: 1, CQ_ARM: 2, SQ: 3, RQ: 4, SRQ: 5, GROUP_SEPARATOR: 7 } as const;

/** SQ, RQ and SRQ records: how many WQEs have been posted, modulo 2^16. */
export const WqDbRecord = layout("WQ doorbell record", 8, { counter: be16(2), number: bits(4, 31, 8), type: bits(4, 7, 5) });

/** CQ consumer-index record. */
export const CqCiDbRecord = layout("CQ CI doorbell record", 8, {
  consumerIndex: be32(0),
  number: bits(4, 31, 8),
  type: bits(4, 7, 5),
});

/** CQ arm record. */
export const CqArmDbRecord = layout("CQ arm doorbell record", 8, {
  consumerIndex: be32(0),
  number: bits(4, 31, 8),
  type: bits(4, 7, 5),
  sequence: bits(4, 4, 3),
  command: bits(4, 2, 0),
});

/** Commands of a CQ arm. */
export const CqArm = { NONE: 0, SOLICITED: 1, NEXT: 2 } as const;
