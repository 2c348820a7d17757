// PCI capabilities (PCI Local Bus Specification 3.0, 6.7 and appendix H; PCI Express Base Specification 5.0, 7.5.2, 7.5.3
// and 7.7). Little-endian; offsets count from the capability's first byte.

import { layout, le16, le32, leBits, leBits16, u8 } from "../../base/layout.ts";

export const CapabilityId = {
  POWER_MANAGEMENT: 0x01,
  VPD: 0x03,
  MSI: 0x05,
  PCI_X: 0x07,
  VENDOR_SPECIFIC: 0x09,
  PCI_EXPRESS: 0x10,
  MSI_X: 0x11,
} as const;

/** First two bytes of every capability. */
export const CapabilityHeader = layout("PCI capability", 2, { id: u8(0), next: u8(1) });

/** Power management (PCI Bus Power Management Interface 1.2, 3.2). */
export const PowerManagement = layout("PCI power management", 8, {
  id: u8(0),
  next: u8(1),
  version: leBits16(2, 2, 0),
  supportsD1: leBits16(2, 9, 9),
  supportsD2: leBits16(2, 10, 10),
  /** 0..3 for D0..D3hot. */
  powerState: leBits16(4, 1, 0),
  noSoftReset: leBits16(4, 3, 3),
  pmeEnable: leBits16(4, 8, 8),
  pmeStatus: leBits16(4, 15, 15),
});
export const POWER_MANAGEMENT_VERSION = 3;

/** MSI-X (7.7.2). */
export const MsiX = layout("PCI MSI-X", 12, {
  id: u8(0),
  next: u8(1),
  /** Number of vectors minus one. */
  tableSize: leBits16(2, 10, 0),
  functionMask: leBits16(2, 14, 14),
  enable: leBits16(2, 15, 15),
  tableBar: leBits(4, 2, 0),
  /** In units of 8 bytes. */
  tableOffset: leBits(4, 31, 3),
  pbaBar: leBits(8, 2, 0),
  pbaOffset: leBits(8, 31, 3),
});
export const MSIX_MAX_VECTORS = 2048;

/** One vector of the MSI-X table (7.7.2.5..8). */
export const MsiXEntry = layout("PCI MSI-X table entry", 16, {
  addressLo: le32(0),
  addressHi: le32(4),
  data: le32(8),
  masked: leBits(12, 0, 0),
});

/** PCI Express capability, version 1, as far as an endpoint has it (PCI Express Base Specification 1.1, 7.8). */
export const PciExpressEndpoint = layout("PCI Express endpoint", 20, {
  id: u8(0),
  next: u8(1),
  version: leBits16(2, 3, 0),
  deviceType: leBits16(2, 7, 4),
  interruptMessage: leBits16(2, 13, 9),
  /** 128 bytes × 2^n. */
  maxPayloadSupported: leBits(4, 2, 0),
  extendedTag: leBits(4, 5, 5),
  l0sLatency: leBits(4, 8, 6),
  l1Latency: leBits(4, 11, 9),
  roleBasedErrors: leBits(4, 15, 15),
  functionLevelReset: leBits(4, 28, 28),
  deviceControl: le16(8),
  deviceStatus: le16(10),
  maxLinkSpeed: leBits(12, 3, 0),
  maxLinkWidth: leBits(12, 9, 4),
  linkControl: le16(16),
  linkSpeed: leBits16(18, 3, 0),
  linkWidth: leBits16(18, 9, 4),
});
export const PciExpressType = { ENDPOINT: 0, LEGACY_ENDPOINT: 1, ROOT_COMPLEX_INTEGRATED: 9 } as const;
export const PciExpressSpeed = { GT_2_5: 1, GT_5: 2, GT_8: 3 } as const;
/** Device Control bits software may set (function-level reset, bit 15, is not offered). */
export const DEVICE_CONTROL_WRITABLE = 0x7fff;
/** Device Control after reset: relaxed ordering, no snoop, 512-byte read requests. */
export const DEVICE_CONTROL_RESET = 0x2810;
/** Device Status bits cleared by writing 1: correctable, non-fatal, fatal error, unsupported request. */
export const DEVICE_STATUS_W1C = 0x000f;
/** Link Control bits of an endpoint that software may set: ASPM, read completion boundary, common clock, extended synch. */
export const LINK_CONTROL_WRITABLE = 0x00cb;
