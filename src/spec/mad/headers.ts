// Headers of management datagrams. IBA vol 1: common header 13.4.3, RMPP 13.6.2, SMP 14.2.1, SA 15.2.1.1. All offsets
// count from the first byte of the MAD.

import { be16, be32, bits8, bits16, bytes, half64, layout, u8 } from "../../base/layout.ts";
import { MAD_BYTES } from "./numbers.ts";

/** Common to every MAD. */
export const MadHeader = layout("MAD header", 24, {
  baseVersion: u8(0),
  mgmtClass: u8(1),
  classVersion: u8(2),
  method: u8(3),
  status: be16(4),
  classSpecific: be16(6),
  tid: half64(8),
  attributeId: be16(16),
  attributeModifier: be32(20),
});

/** Subnet management packet; the directed-route fields are reserved in the LID-routed class. */
export const Smp = layout("SMP", MAD_BYTES, {
  /** D: 1 on the way back. */
  direction: bits16(4, 15, 15),
  status: bits16(4, 14, 0),
  hopPointer: u8(6),
  hopCount: u8(7),
  mkey: half64(24),
  drSlid: be16(32),
  drDlid: be16(34),
  data: bytes(64, 64),
  initialPath: bytes(128, 64),
  returnPath: bytes(192, 64),
});
export const SMP_DATA_AT = 64;
export const SMP_DATA_BYTES = 64;
export const SMP_INITIAL_PATH_AT = 128;
export const SMP_RETURN_PATH_AT = 192;
/** Hops a directed route can have: the path arrays hold entries 1..63. */
export const SMP_MAX_HOPS = 63;

/** Reliable multi-packet header, after the common header. */
export const Rmpp = layout("RMPP", 36, {
  version: u8(24),
  type: u8(25),
  responseTime: bits8(26, 7, 3),
  flags: bits8(26, 2, 0),
  status: u8(27),
  /** Data1: the segment number. */
  segment: be32(28),
  /** Data2: payload length of a DATA segment, the new window of an ACK. */
  payloadOrWindow: be32(32),
});

/** Subnet administration header, after RMPP. */
export const SaHeader = layout("SA header", 56, {
  smKey: half64(36),
  /** Distance of records in a table, in 8-byte words. */
  attributeOffset: be16(44),
  componentMask: half64(48),
});
export const SA_DATA_AT = 56;
export const SA_DATA_BYTES = 200;
/** The SA header's share of each RMPP segment's payload length. */
export const SA_HEADER_IN_RMPP = 20;

/** Where the data of performance management (and of most general classes) begin. */
export const PM_DATA_AT = 64;
