// PCI configuration space, header type 0 (PCI Local Bus Specification 3.0, 6.1 and 6.2; PCI Express Base Specification 5.0,
// 7.5.1). Little-endian.

import { layout, le16, le32, leBits, u8 } from "../../base/layout.ts";

/** Configuration space without PCI Express's extended part. */
export const CONFIG_BYTES = 256;
/** Where device-specific registers and capabilities begin. */
export const CONFIG_HEADER_BYTES = 64;
export const BAR_COUNT = 6;

export const ConfigHeader = layout("PCI configuration header", 64, {
  vendorId: le16(0x00),
  deviceId: le16(0x02),
  command: le16(0x04),
  status: le16(0x06),
  revision: u8(0x08),
  /** Base class, sub-class, programming interface. */
  classCode: leBits(0x08, 31, 8),
  cacheLineSize: u8(0x0c),
  latencyTimer: u8(0x0d),
  headerType: u8(0x0e),
  bist: u8(0x0f),
  bar0: le32(0x10),
  bar1: le32(0x14),
  bar2: le32(0x18),
  bar3: le32(0x1c),
  bar4: le32(0x20),
  bar5: le32(0x24),
  cardbusCis: le32(0x28),
  subsystemVendorId: le16(0x2c),
  subsystemId: le16(0x2e),
  romAddress: le32(0x30),
  capabilities: u8(0x34),
  interruptLine: u8(0x3c),
  /** 0 = none, 1..4 = INTA..INTD. */
  interruptPin: u8(0x3d),
  minGrant: u8(0x3e),
  maxLatency: u8(0x3f),
});

/** Command register (3.0, 6.2.2). */
export const PciCommand = {
  IO_SPACE: 1 << 0,
  MEMORY_SPACE: 1 << 1,
  BUS_MASTER: 1 << 2,
  PARITY_ERROR_RESPONSE: 1 << 6,
  SERR_ENABLE: 1 << 8,
  INTERRUPT_DISABLE: 1 << 10,
} as const;

/** Status register (3.0, 6.2.3). */
export const PciStatus = {
  INTERRUPT: 1 << 3,
  CAPABILITIES_LIST: 1 << 4,
  MASTER_DATA_PARITY_ERROR: 1 << 8,
  SIGNALED_TARGET_ABORT: 1 << 11,
  RECEIVED_TARGET_ABORT: 1 << 12,
  RECEIVED_MASTER_ABORT: 1 << 13,
  SIGNALED_SYSTEM_ERROR: 1 << 14,
  DETECTED_PARITY_ERROR: 1 << 15,
} as const;
/** Status bits that are cleared by writing 1. */
export const PCI_STATUS_W1C =
  PciStatus.MASTER_DATA_PARITY_ERROR |
  PciStatus.SIGNALED_TARGET_ABORT |
  PciStatus.RECEIVED_TARGET_ABORT |
  PciStatus.RECEIVED_MASTER_ABORT |
  PciStatus.SIGNALED_SYSTEM_ERROR |
  PciStatus.DETECTED_PARITY_ERROR;

/** Low bits of a base address register (3.0, 6.2.5.1). */
export const BarFlag = { IO: 1 << 0, MEMORY_64: 1 << 2, PREFETCHABLE: 1 << 3 } as const;
export const BAR_MEMORY_ADDRESS_MASK = 0xfffffff0;
export const BAR_IO_ADDRESS_MASK = 0xfffffffc;

/** Class codes used here: base class, sub-class, programming interface (PCI Code and ID Assignment Specification). */
export const PciClass = {
  NETWORK_OTHER: 0x028000,
  SERIAL_BUS_INFINIBAND: 0x0c0600,
  OTHER: 0xff0000,
} as const;
