// Packet headers of InfiniBand. IBA vol 1: LRH 7.7, GRH 8.3, BTH 9.2, extended transport headers 9.3.
// All fields are big-endian; bit 31 of a dword is the first bit on the wire.

import { be16, be32, bits, bits8, bytes, flag, half64, layout, u8 } from "../../base/layout.ts";

/** Local route header, on every packet. */
export const Lrh = layout("LRH", 8, {
  vl: bits8(0, 7, 4),
  version: bits8(0, 3, 0),
  sl: bits8(1, 7, 4),
  nextHeader: bits8(1, 1, 0),
  dlid: be16(2),
  /** Length in 4-byte words from the LRH to the ICRC inclusive. */
  packetLength: bits(4, 26, 16),
  slid: be16(6),
});

/** Values of `Lrh.nextHeader`. */
export const LrhNextHeader = { RAW: 0, IPV6: 1, BTH: 2, GRH: 3 } as const;

/** Global route header: an IPv6 header. */
export const Grh = layout("GRH", 40, {
  version: bits(0, 31, 28),
  trafficClass: bits(0, 27, 20),
  flowLabel: bits(0, 19, 0),
  payloadLength: be16(4),
  nextHeader: u8(6),
  hopLimit: u8(7),
  sgid: bytes(8, 16),
  dgid: bytes(24, 16),
});

/** `Grh.nextHeader` of an InfiniBand transport packet. */
export const GRH_NEXT_HEADER_BTH = 0x1b;

/** Base transport header. */
export const Bth = layout("BTH", 12, {
  opcode: u8(0),
  solicitedEvent: flag(0, 23),
  migReq: flag(0, 22),
  padCount: bits(0, 21, 20),
  version: bits(0, 19, 16),
  pkey: be16(2),
  destQp: bits(4, 23, 0),
  ackReq: flag(8, 31),
  psn: bits(8, 23, 0),
});

/** Datagram extended transport header. */
export const Deth = layout("DETH", 8, { qkey: be32(0), srcQp: bits(4, 23, 0) });

/** RDMA extended transport header. */
export const Reth = layout("RETH", 16, { va: half64(0), rkey: be32(8), dmaLength: be32(12) });

/** Atomic extended transport header. */
export const AtomicEth = layout("AtomicETH", 28, { va: half64(0), rkey: be32(8), swapAdd: half64(12), compare: half64(20) });

/** ACK extended transport header. */
export const Aeth = layout("AETH", 4, { syndrome: u8(0), msn: bits(0, 23, 0) });

/** Atomic ACK extended transport header. */
export const AtomicAckEth = layout("AtomicAckETH", 8, { original: half64(0) });

/** Immediate data. */
export const ImmDt = layout("ImmDt", 4, { immediate: be32(0) });

export const ICRC_BYTES = 4;
export const VCRC_BYTES = 2;
