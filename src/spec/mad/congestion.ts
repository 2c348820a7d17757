// Congestion control MADs. IBA vol 1, annex A10.4: the CC_Key takes the place of the SMP's M_Key, data begin as they do there, but the log's
// right behind the key. Offsets in attributes count from the attribute's first byte.

import { be16, be32, bits8, half64, layout, u8 } from "../../base/layout.ts";
import { MAD_BYTES } from "./numbers.ts";

export const CONGESTION_CLASS_VERSION = 2;
export const CONGESTION_DATA_AT = 64;
export const CONGESTION_LOG_AT = 32;
/** Entries of a CongestionControlTable block. */
export const CONTROL_TABLE_BLOCK = 64;
/** Ports in a block of SwitchPortCongestionSetting. */
export const SWITCH_PORT_BLOCK = 32;

export const CongestionMad = layout("congestion control MAD", MAD_BYTES, { key: half64(24) });

export const CongestionInfo = layout("CongestionInfo", 4, {
  /** Bit 0: the switch knows credit starvation. */
  info: be16(0),
  /** CongestionControlTable blocks of 64 entries that a CA has. */
  controlTableCap: u8(2),
});

export const CongestionKeyInfo = layout("CongestionKeyInfo", 16, {
  key: half64(0),
  isProtected: bits8(8, 7, 7),
  leasePeriod: be16(10),
  violations: be16(12),
});

export const CongestionLog = layout("CongestionLog", 12, {
  /** 1: of a switch, 2: of a CA. */
  type: u8(0),
  flags: u8(1),
  eventCounter: be16(2),
  /** At 8 in the log of a CA. */
  switchTimestamp: be32(4),
  caTimestamp: be32(8),
});
