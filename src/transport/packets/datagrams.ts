// UD as packets: to a port that another engine serves. IBA vol 1, 9.8.3; docs "infinihost" 5.5.2, 7.1.

import { Access } from "../../spec/hca/contexts.ts";
import { UD_SEND_ONLY_IMM } from "../../spec/ib/bth-opcode.ts";
import { Deth, LrhNextHeader } from "../../spec/ib/headers.ts";
import { datagram, grh } from "../datagram-receive.ts";
import type { QueuePair } from "../queue-pair.ts";
import { gatherBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import { BTH_BYTES, DETH_BYTES, GRH_BYTES, IMMEDIATE_BYTES, LaneTag, LRH_BYTES, packet, padOf, writeLrh } from "./packet.ts";
import type { PacketLane } from "./ring.ts";

const SOLICITED = 1 << 23;

/** What became of a datagram. */
export const DatagramSent = { OK: 0, NO_ROOM: 1, SOURCE_FAULT: 2 } as const;

const party = newParty();

/** Bytes of the packet of the datagram in hand, from the LRH on and without CRCs. */
export function datagramPacketBytes(): number {
  const headers = LRH_BYTES + BTH_BYTES + DETH_BYTES + (datagram.hasGrh ? GRH_BYTES : 0);
  return headers + (datagram.opcode === UD_SEND_ONLY_IMM ? IMMEDIATE_BYTES : 0) + datagram.length + padOf(datagram.length);
}

/** Sends the datagram in hand, with the data of the WQE in hand of `qp`, into `lane`. */
export function sendDatagramPacket(qp: QueuePair, lane: PacketLane): number {
  const pad = padOf(datagram.length);
  const grhBytes = datagram.hasGrh ? GRH_BYTES : 0;
  const hasImmediate = datagram.opcode === UD_SEND_ONLY_IMM;
  const length = datagramPacketBytes();
  const headers = length - datagram.length - pad;
  if (!lane.reserve(length, datagram.sl, datagram.dlid, datagram.delay)) return DatagramSent.NO_ROOM;
  const { view } = lane.memory;
  const next = datagram.hasGrh ? LrhNextHeader.GRH : LrhNextHeader.BTH;
  writeLrh(view, lane.at, lane.vl, datagram.sl, next, datagram.dlid, datagram.slid, length);
  let at = lane.at + LRH_BYTES;
  for (let i = 0; i < grhBytes; i += 4) view.setInt32(at + i, grh.view.getInt32(i));
  at += grhBytes;
  view.setInt32(at, (datagram.opcode << 24) | (datagram.isSolicited ? SOLICITED : 0) | (pad << 20) | datagram.pkey, false);
  view.setInt32(at + 4, datagram.destQpn, false);
  view.setInt32(at + 8, 0, false);
  at += BTH_BYTES;
  view.setInt32(at, datagram.qkey, false);
  view.setInt32(at + 4, datagram.sourceQpn, false);
  at += DETH_BYTES;
  if (hasImmediate) view.setInt32(at, datagram.immediate, false);
  party.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  const dataAt = lane.at + headers;
  if (!gatherBytes(qp.sendList, party, lane.memory, dataAt, datagram.length)) return DatagramSent.SOURCE_FAULT;
  for (let i = 0; i < pad; i++) view.setUint8(dataAt + datagram.length + i, 0);
  lane.commit(LaneTag.DATA);
  return DatagramSent.OK;
}

/** Fills `datagram` from the packet in hand; where its payload begins, or -1 if it is cut short. */
export function readDatagram(): number {
  const { view } = packet.memory;
  const hasImmediate = packet.opcode === UD_SEND_ONLY_IMM;
  const headers = DETH_BYTES + (hasImmediate ? IMMEDIATE_BYTES : 0);
  if (packet.bodyBytes < headers) return -1;
  datagram.dlid = packet.dlid;
  datagram.slid = packet.slid;
  datagram.sl = packet.sl;
  datagram.hasGrh = packet.hasGrh;
  datagram.destQpn = packet.destQpn;
  datagram.sourceQpn = Deth.srcQp.get(view, packet.bodyAt);
  datagram.qkey = view.getInt32(packet.bodyAt, false);
  datagram.pkey = packet.pkey;
  datagram.opcode = packet.opcode;
  datagram.immediate = hasImmediate ? view.getInt32(packet.bodyAt + DETH_BYTES, false) : 0;
  datagram.isSolicited = packet.isSolicited;
  datagram.length = packet.bodyBytes - headers;
  for (let i = 0; packet.hasGrh && i < GRH_BYTES; i += 4) grh.view.setInt32(i, view.getInt32(packet.grhAt + i));
  return packet.bodyAt + headers;
}
