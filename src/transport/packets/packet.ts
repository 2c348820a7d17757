// Packets of the connected and datagram services, written into a lane and read out of one: LRH, [GRH], BTH and what follows, without
// CRCs, which belong to a wire that can damage bits. IBA vol 1, 7.7 (LRH), 8.3 (GRH), 9.2 (BTH), 9.3 (extended headers).

import type { Memory } from "../../base/bytes.ts";
import { AddressPath, PathMigration, PRIMARY_PATH_AT } from "../../spec/hca/contexts.ts";
import { AtomicEth, Bth, Deth, GRH_NEXT_HEADER_BTH, Grh, ICRC_BYTES, Lrh, LrhNextHeader, Reth } from "../../spec/ib/headers.ts";
import { isMulticastLid } from "../../spec/ib/numbers.ts";
import { PortCounter, RCV_DATA_SL } from "../../spec/ib/port-counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { nowhere } from "../scratch.ts";
import type { Wire } from "../wire.ts";
import type { PacketLane } from "./ring.ts";

export const LRH_BYTES = Lrh.byteLength;
export const GRH_BYTES = Grh.byteLength;
export const BTH_BYTES = Bth.byteLength;
export const DETH_BYTES = Deth.byteLength;
export const RETH_BYTES = Reth.byteLength;
export const ATOMIC_ETH_BYTES = AtomicEth.byteLength;
export const AETH_BYTES = 4;
export const IMMEDIATE_BYTES = 4;
export const ATOMIC_ACK_BYTES = 8;
const IP_VERSION = 6;
const SOLICITED = 1 << 23;
const MIGRATED = 1 << 22;
const ACK_REQUEST = 1 << 31;
const PSN_MASK = 0xffffff;
const HEADERS_MIN = LRH_BYTES + BTH_BYTES;

/** What a record in a lane holds. Above it: switches between engines that the packet has crossed. */
export const LaneTag = { DATA: 0, MANAGEMENT: 1, CONTROL: 2 } as const;
export const LANE_TAG_MASK = 0xff;
export const LANE_HOPS_SHIFT = 8;

/** Padding that fills a payload up to whole words (9.2.3). */
export const padOf = (bytes: number): number => -bytes & 3;

/**
 * Begins a packet of a connected queue pair in `lane`: headers up to the BTH.
 * @param rest bytes behind the BTH without padding
 * @returns where those begin, or -1 if the lane has no room
 */
export function beginPacket(
  lane: PacketLane,
  qp: QueuePair,
  opcode: number,
  psn: number,
  isSolicited: boolean,
  wantsAck: boolean,
  rest: number,
): number {
  const { attributes, port } = qp;
  const pad = padOf(rest);
  const grhBytes = attributes.hasGrh ? GRH_BYTES : 0;
  const length = LRH_BYTES + grhBytes + BTH_BYTES + rest + pad;
  if (!lane.reserve(length, attributes.sl, attributes.rlid, attributes.interPacketDelay)) return -1;
  const { view } = lane.memory;
  const next = attributes.hasGrh ? LrhNextHeader.GRH : LrhNextHeader.BTH;
  writeLrh(view, lane.at, lane.vl, attributes.sl, next, attributes.rlid, port.wire.lid | attributes.pathBits, length);
  let at = lane.at + LRH_BYTES;
  if (attributes.hasGrh) {
    writeGrh(view, at, qp, BTH_BYTES + rest + pad + ICRC_BYTES);
    at += GRH_BYTES;
  }
  const flags = (isSolicited ? SOLICITED : 0) | (qp.migration === PathMigration.MIGRATED ? MIGRATED : 0) | (pad << 20);
  view.setInt32(at, (opcode << 24) | flags | port.pkey(attributes.pkeyIndex), false);
  view.setInt32(at + 4, attributes.remoteQpn, false);
  view.setInt32(at + 8, (wantsAck ? ACK_REQUEST : 0) | psn, false);
  countSent(port.wire, length, attributes.rlid, attributes.sl);
  return at + BTH_BYTES;
}

/** Writes an LRH; `length` counts from it to the end without CRCs. */
export function writeLrh(
  view: DataView,
  at: number,
  vl: number,
  sl: number,
  next: number,
  dlid: number,
  slid: number,
  length: number,
): void {
  view.setInt32(at, (vl << 28) | (sl << 20) | (next << 16) | dlid, false);
  view.setInt32(at + 4, (((length + ICRC_BYTES) >>> 2) << 16) | slid, false);
}

function writeGrh(view: DataView, at: number, qp: QueuePair, payloadLength: number): void {
  const path = qp.contextAt + PRIMARY_PATH_AT;
  const { context } = qp;
  const { gids } = qp.port.wire;
  const trafficClass = AddressPath.trafficClass.get(context, path);
  view.setInt32(at, (IP_VERSION << 28) | (trafficClass << 20) | AddressPath.flowLabel.get(context, path), false);
  const hopLimit = AddressPath.hopLimit.get(context, path);
  view.setInt32(at + 4, (payloadLength << 16) | (GRH_NEXT_HEADER_BTH << 8) | hopLimit, false);
  const sgid = qp.attributes.sgidIndex * 16;
  for (let i = 0; i < 16; i++) view.setUint8(at + Grh.sgid.offset + i, gids[sgid + i]!);
  for (let i = 0; i < 16; i++) view.setUint8(at + Grh.dgid.offset + i, context.getUint8(path + AddressPath.rgid.offset + i));
}

/** Counts a packet to `dlid` of `length` bytes without CRCs, at the port that sends it and on its way. */
export function countSent(wire: Wire, length: number, dlid: number, sl: number): void {
  const words = countAtSender(wire, length, dlid, sl);
  // Where packets go hop by hop or may be lost, the switches that it reaches count it.
  if (!wire.countsHops(dlid)) wire.countPath(dlid, sl, words, 1);
}

/** Words of a packet of `length` bytes without CRCs, as ports count them: from the LRH to the ICRC (16.1.3.5). */
export const wordsOf = (length: number): number => (length + ICRC_BYTES) >>> 2;

/** Counts a packet as the port that sends it does (16.1.3.5); returns its words from the LRH to the ICRC. */
export function countAtSender(wire: Wire, length: number, dlid: number, sl: number): number {
  const isMulticast = isMulticastLid(dlid);
  const { counters } = wire;
  const words = wordsOf(length);
  wire.slData[sl]! += words;
  counters[PortCounter.xmitData]! += words;
  counters[PortCounter.xmitPackets]! += 1;
  counters[isMulticast ? PortCounter.multicastXmitPackets : PortCounter.unicastXmitPackets]! += 1;
  return words;
}

/** Counts a packet of `length` bytes without CRCs as the port that receives it does. */
export function countReceived(wire: Wire, length: number, sl: number, isMulticast: boolean): void {
  const { counters, slData } = wire;
  const words = wordsOf(length);
  slData[RCV_DATA_SL + sl]! += words;
  counters[PortCounter.rcvData]! += words;
  counters[PortCounter.rcvPackets]! += 1;
  counters[isMulticast ? PortCounter.multicastRcvPackets : PortCounter.unicastRcvPackets]! += 1;
}

/** Words of the packet in hand, as ports count them. */
export const packetWords = (): number => wordsOf(packet.end - packet.at);

/** The packet in hand; one at a time in an engine. */
export const packet = {
  memory: nowhere as Memory,
  /** Where it begins and ends in `memory`. */
  at: 0,
  end: 0,
  sl: 0,
  dlid: 0,
  slid: 0,
  hasGrh: false,
  grhAt: 0,
  opcode: 0,
  isSolicited: false,
  isMigrated: false,
  pkey: 0,
  destQpn: 0,
  wantsAck: false,
  psn: 0,
  /** Behind the BTH; the end without padding. */
  bodyAt: 0,
  bodyBytes: 0,
};

/** Reads the headers up to the BTH of the packet of `length` bytes at `at`: any bytes. False if it is none. */
export function parsePacket(memory: Memory, at: number, length: number): boolean {
  const { view } = memory;
  if (length < HEADERS_MIN || (length & 3) !== 0) return false;
  const first = view.getInt32(at, false);
  const second = view.getInt32(at + 4, false);
  const next = (first >>> 16) & 3;
  if (((first >>> 24) & 0xf) !== 0 || ((second >>> 16) & 0x7ff) << 2 !== length + ICRC_BYTES) return false;
  if (next !== LrhNextHeader.BTH && next !== LrhNextHeader.GRH) return false;
  const hasGrh = next === LrhNextHeader.GRH;
  let bth = at + LRH_BYTES;
  if (hasGrh) {
    if (length < HEADERS_MIN + GRH_BYTES || view.getUint8(bth + Grh.nextHeader.offset) !== GRH_NEXT_HEADER_BTH) return false;
    bth += GRH_BYTES;
  }
  const word = view.getInt32(bth, false);
  const last = view.getInt32(bth + 8, false);
  const bodyAt = bth + BTH_BYTES;
  const bodyBytes = at + length - bodyAt - ((word >>> 20) & 3);
  if (bodyBytes < 0 || ((word >>> 16) & 0xf) !== 0) return false;
  packet.memory = memory;
  packet.at = at;
  packet.end = at + length;
  packet.sl = (first >>> 20) & 0xf;
  packet.dlid = first & 0xffff;
  packet.slid = second & 0xffff;
  packet.hasGrh = hasGrh;
  packet.grhAt = at + LRH_BYTES;
  packet.opcode = word >>> 24;
  packet.isSolicited = (word & SOLICITED) !== 0;
  packet.isMigrated = (word & MIGRATED) !== 0;
  packet.pkey = word & 0xffff;
  packet.destQpn = view.getInt32(bth + 4, false) & PSN_MASK;
  packet.wantsAck = last < 0;
  packet.psn = last & PSN_MASK;
  packet.bodyAt = bodyAt;
  packet.bodyBytes = bodyBytes;
  return true;
}
