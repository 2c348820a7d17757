// QP0 and QP1: the driver sends whole packets through MLX queue pairs and receives management datagrams. Docs "infinihost"
// 6.1, 6.2; IBA vol 1, 13.5.

import { newMemory } from "../base/bytes.ts";
import { Access } from "../spec/hca/contexts.ts";
import { Syndrome, WQE_NEXT_BYTES, WqeMlx } from "../spec/hca/queues.ts";
import { UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../spec/ib/bth-opcode.ts";
import { Bth, Deth, Grh, ImmDt, Lrh, LrhNextHeader } from "../spec/ib/headers.ts";
import { Lid, Qpn } from "../spec/ib/numbers.ts";
import { completeSend } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import { beginReceive, datagram, endReceive, GRH_BYTES, grh, receivingParty } from "./datagram-receive.ts";
import type { AdapterPort } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { gatherBytes, type MemoryParty, scatterBytes } from "./scatter-list.ts";
import { newParty } from "./scratch.ts";
import { Outcome } from "./status.ts";

const LRH_BYTES = Lrh.byteLength;
const HEADERS_MIN = Lrh.byteLength + Bth.byteLength + Deth.byteLength;
const MAD_BYTES = 256;
/** The virtual lane of subnet management. */
const MANAGEMENT_VL = 15;
/** LRH, GRH, BTH, DETH, immediate and one MTU. */
const PACKET_BYTES_MAX = LRH_BYTES + GRH_BYTES + Bth.byteLength + Deth.byteLength + ImmDt.byteLength + 2048;

const packet = newMemory(PACKET_BYTES_MAX);
/** The same bytes as a plain array: a Buffer's `slice` would not copy for the receiver. */
const packetBytes = new Uint8Array(packet.bytes.buffer, packet.bytes.byteOffset, packet.bytes.length);
const from = newParty();

/** Carries out the WQE in hand of an MLX QP: completes the headers the driver built and sends the packet (6.1). */
export function executeManagement(qp: QueuePair): number {
  const { memory, at } = qp.wqes;
  const flags = memory.view.getInt32(at + WqeMlx.slr.offset, false);
  const status = qp.sendList.decodeSend(memory, at + WQE_NEXT_BYTES, at + qp.wqeBytes);
  const length = qp.sendList.total;
  if (status !== 0 || qp.sendList.isInline || length < HEADERS_MIN || length > PACKET_BYTES_MAX) {
    qp.syndrome = status !== 0 ? status : Syndrome.LOCAL_QP_OPERATION;
    return Outcome.ERROR;
  }
  from.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  if (
    !qp.sendList.isAllowed(qp.adapter.regions, qp.pd, Access.LOCAL_READ) ||
    !gatherBytes(qp.sendList, from, packet, 0, length)
  ) {
    qp.syndrome = Syndrome.LOCAL_PROTECTION;
    return Outcome.ERROR;
  }
  const isPermissive = (flags & (1 << 16)) !== 0;
  if (!isPermissive) {
    const { lid, lmc } = qp.port.wire;
    Lrh.slid.set(packet.view, 0, lid | (Lrh.slid.get(packet.view, 0) & ((1 << lmc) - 1)));
  }
  qp.adapter.counters[AdapterCounter.sends]! += 1;
  qp.port.wire.transmit(packetBytes.subarray(0, length));
  completeSend(qp, 0);
  return Outcome.DONE;
}

/**
 * A datagram that an ordinary UD QP sends to QP1 leaves as a packet, since software may be behind the port it goes to.
 * @returns false if there is no memory behind the payload
 */
export function sendUdToManagement(qp: QueuePair, party: MemoryParty): boolean {
  if (datagram.length !== MAD_BYTES) {
    qp.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
    return true;
  }
  const { view } = packet;
  packet.bytes.fill(0, 0, LRH_BYTES + GRH_BYTES + Bth.byteLength + Deth.byteLength);
  let at = LRH_BYTES;
  if (datagram.hasGrh) {
    grh.bytes.copy(packet.bytes, at);
    at += GRH_BYTES;
  }
  const bth = at;
  const deth = bth + Bth.byteLength;
  const end = deth + Deth.byteLength + MAD_BYTES;
  Lrh.sl.set(view, 0, datagram.sl);
  Lrh.nextHeader.set(view, 0, datagram.hasGrh ? LrhNextHeader.GRH : LrhNextHeader.BTH);
  Lrh.dlid.set(view, 0, datagram.dlid);
  Lrh.slid.set(view, 0, datagram.slid);
  Lrh.packetLength.set(view, 0, (end + 4) >>> 2);
  Bth.opcode.set(view, bth, UD_SEND_ONLY);
  Bth.pkey.set(view, bth, datagram.pkey);
  Bth.destQp.set(view, bth, datagram.destQpn);
  Deth.qkey.set(view, deth, datagram.qkey);
  Deth.srcQp.set(view, deth, qp.number);
  if (!gatherBytes(qp.sendList, party, packet, deth + Deth.byteLength, MAD_BYTES)) return false;
  qp.port.wire.transmit(packetBytes.subarray(0, end));
  return true;
}

/** A management packet has arrived at `port`: LRH … payload without CRCs, from the fabric, so any bytes (6.2). */
export function receivePacket(port: AdapterPort, bytes: Uint8Array): void {
  const counters = port.adapter.counters;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payloadAt = decodeHeaders(port, view);
  if (payloadAt < 0) {
    counters[AdapterCounter.droppedBadPacket]! += 1;
    return;
  }
  const target = port.receiver(datagram.destQpn);
  if (target === undefined) {
    counters[AdapterCounter.droppedNoQp]! += 1;
    return;
  }
  packet.bytes.set(bytes);
  if (beginReceive(port, target) !== 0) return;
  endReceive(port, target, scatterBytes(packet, payloadAt, target.receiveList, receivingParty, datagram.length));
}

/**
 * VL 15 is for QP0 and QP0 for VL 15 (IBA vol 1, 13.5.1). Directed-route SMPs carry the permissive LID and are for whatever port
 * they arrive at; everything else must name it.
 */
function isAddressedTo(port: AdapterPort, isManagementVl: boolean): boolean {
  if (isManagementVl !== (datagram.destQpn === Qpn.SMI)) return false;
  return port.ownsLid(datagram.dlid) || (isManagementVl && datagram.dlid === Lid.PERMISSIVE);
}

/** Fills `datagram` from a packet's headers; where the payload starts, or -1 if it is no UD packet that fits. */
function decodeHeaders(port: AdapterPort, view: DataView): number {
  const length = view.byteLength;
  if (length < HEADERS_MIN || length > PACKET_BYTES_MAX) return -1;
  datagram.dlid = Lrh.dlid.get(view, 0);
  datagram.slid = Lrh.slid.get(view, 0);
  datagram.sl = Lrh.sl.get(view, 0);
  datagram.hasGrh = Lrh.nextHeader.get(view, 0) === LrhNextHeader.GRH;
  let at = LRH_BYTES;
  if (datagram.hasGrh) {
    if (length < HEADERS_MIN + GRH_BYTES) return -1;
    for (let i = 0; i < Grh.byteLength; i += 4) grh.view.setInt32(i, view.getInt32(at + i));
    at += GRH_BYTES;
  }
  datagram.opcode = Bth.opcode.get(view, at);
  datagram.isSolicited = Bth.solicitedEvent.get(view, at) === 1;
  datagram.pkey = Bth.pkey.get(view, at);
  datagram.destQpn = Bth.destQp.get(view, at);
  at += Bth.byteLength;
  datagram.qkey = Deth.qkey.get(view, at) | 0;
  datagram.sourceQpn = Deth.srcQp.get(view, at);
  at += Deth.byteLength;
  if (datagram.opcode === UD_SEND_ONLY_IMM) {
    if (at + ImmDt.byteLength > length) return -1;
    datagram.immediate = ImmDt.immediate.get(view, at) | 0;
    at += ImmDt.byteLength;
  } else if (datagram.opcode !== UD_SEND_ONLY) return -1;
  datagram.length = length - at;
  return isAddressedTo(port, Lrh.vl.get(view, 0) === MANAGEMENT_VL) ? at : -1;
}
