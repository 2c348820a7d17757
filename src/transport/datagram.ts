// UD: address vector in the WQE, one packet, unicast or multicast. IBA vol 1, 9.8.3, 10.5.2; docs "infinihost" 5.5.2, 7.1, 7.2.

import { Access, INTER_PACKET_DELAYS } from "../spec/hca/contexts.ts";
import { AddressVector, SendOpcode, Syndrome, UD_SEGMENT_BYTES, UdSegment, WQE_NEXT_BYTES } from "../spec/hca/queues.ts";
import { UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../spec/ib/bth-opcode.ts";
import { GRH_NEXT_HEADER_BTH, Grh } from "../spec/ib/headers.ts";
import { isMulticastLid, isUnicastLid, mtuBytes, Qpn } from "../spec/ib/numbers.ts";
import type { Adapter } from "./adapter.ts";
import { completeSend, countTraffic } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import { beginReceive, datagram, endReceive, grh, receivingParty } from "./datagram-receive.ts";
import { DatagramSent, datagramPacketBytes, sendDatagramPacket } from "./packets/datagrams.ts";
import { countAtSender, countReceived, countSent, wordsOf } from "./packets/packet.ts";
import type { PacketLane } from "./packets/ring.ts";
import type { AdapterPort } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { type MemoryParty, Moved, moveBytes } from "./scatter-list.ts";
import { newParty } from "./scratch.ts";
import { sendUdToManagement } from "./special.ts";
import { Outcome } from "./status.ts";

const SOLICITED = 1 << 1;
const PRIVILEGED_QKEY = 0x80000000;
/** BTH, DETH and ICRC: what a GRH's payload length counts besides the payload. */
const GRH_PAYLOAD_OVERHEAD = 12 + 8 + 4;
const IMMEDIATE_BYTES = 4;
/** Receivers of one multicast packet, in this fabric and in one HCA. */
const RECEIVERS_MAX = 4096;

const DGID_AT = Grh.dgid.offset;

const from: MemoryParty = newParty();
const ports = new Int32Array(RECEIVERS_MAX);
const qpns = new Int32Array(64);
/** No memory stands behind the payload, though its keys allow it: found only when it is moved. */
let isSourceMissing = false;
/** There is no room for the packet where it has to go. */
let isHeldBack = false;
let makesSendersWait = false;

/** Carries out the WQE in hand of a UD QP: local mistakes fail it, whatever happens on the way to the receiver does not. */
export function executeDatagram(qp: QueuePair): number {
  qp.syndrome = decode(qp);
  if (qp.syndrome !== 0) return Outcome.ERROR;
  isSourceMissing = false;
  isHeldBack = false;
  if (qp.port.isActive) send(qp);
  else qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  if (isHeldBack) return holdBack(qp);
  qp.adapter.counters[AdapterCounter.sends]! += 1;
  if (isSourceMissing) {
    qp.syndrome = Syndrome.LOCAL_PROTECTION;
    return Outcome.ERROR;
  }
  completeSend(qp, 0);
  return Outcome.DONE;
}

/** A lane of the fabric says when there is room; else the QP tries again. */
function holdBack(qp: QueuePair): number {
  if (!makesSendersWait) return Outcome.MORE;
  qp.adapter.holdBack(qp);
  return Outcome.HELD_BACK;
}

/** Reads the UD segment and the data segments; 0 or a syndrome. */
function decode(qp: QueuePair): number {
  const { memory, at } = qp.wqes;
  const { view } = memory;
  const av = at + WQE_NEXT_BYTES;
  if (qp.wqeBytes < WQE_NEXT_BYTES + UD_SEGMENT_BYTES) return Syndrome.LOCAL_QP_OPERATION;
  if (qp.wqeOpcode !== SendOpcode.SEND && qp.wqeOpcode !== SendOpcode.SEND_IMM) return Syndrome.LOCAL_QP_OPERATION;
  if (AddressVector.pd.get(view, av) !== qp.pd) return Syndrome.LOCAL_QP_OPERATION;
  if (qp.adapter.checksAvPort && AddressVector.port.get(view, av) !== qp.port.number) return Syndrome.LOCAL_QP_OPERATION;
  const status = qp.sendList.decodeSend(memory, av + UD_SEGMENT_BYTES, at + qp.wqeBytes);
  if (status !== 0) return status;
  if (qp.sendList.total > mtuBytes(qp.port.wire.mtuCode)) return Syndrome.LOCAL_LENGTH;
  if (!qp.sendList.isInline && !qp.sendList.isAllowed(qp.adapter.regions, qp.pd, Access.LOCAL_READ)) {
    return Syndrome.LOCAL_PROTECTION;
  }
  const qkey = UdSegment.qkey.get(view, av);
  datagram.qkey = (qkey >= PRIVILEGED_QKEY ? qp.attributes.qkey : qkey) | 0;
  datagram.destQpn = UdSegment.destQpn.get(view, av);
  datagram.dlid = AddressVector.dlid.get(view, av);
  datagram.sl = AddressVector.sl.get(view, av);
  datagram.delay = INTER_PACKET_DELAYS[AddressVector.staticRate.get(view, av)]!;
  datagram.slid = qp.port.wire.lid | (AddressVector.pathBits.get(view, av) & ((1 << qp.port.wire.lmc) - 1));
  datagram.hasGrh = AddressVector.grh.get(view, av) === 1;
  datagram.sourceQpn = qp.number;
  datagram.pkey = qp.port.pkey(qp.attributes.pkeyIndex);
  datagram.opcode = qp.wqeOpcode === SendOpcode.SEND_IMM ? UD_SEND_ONLY_IMM : UD_SEND_ONLY;
  datagram.immediate = qp.wqeImmediate;
  datagram.isSolicited = (qp.wqeControl & SOLICITED) !== 0;
  datagram.length = qp.sendList.total;
  if (datagram.hasGrh) buildGrh(qp, view, av);
  return 0;
}

function buildGrh(qp: QueuePair, view: DataView, av: number): void {
  const { wire } = qp.port;
  Grh.version.set(grh.view, 0, 6);
  Grh.trafficClass.set(grh.view, 0, AddressVector.trafficClass.get(view, av));
  Grh.flowLabel.set(grh.view, 0, AddressVector.flowLabel.get(view, av));
  const immediateBytes = datagram.opcode === UD_SEND_ONLY_IMM ? IMMEDIATE_BYTES : 0;
  Grh.payloadLength.set(grh.view, 0, ((datagram.length + 3) & ~3) + GRH_PAYLOAD_OVERHEAD + immediateBytes);
  Grh.nextHeader.set(grh.view, 0, GRH_NEXT_HEADER_BTH);
  Grh.hopLimit.set(grh.view, 0, AddressVector.hopLimit.get(view, av));
  const sgid = (AddressVector.gidIndex.get(view, av) % wire.gidCount) * 16;
  for (let i = 0; i < 16; i++) grh.bytes[Grh.sgid.offset + i] = wire.gids[sgid + i]!;
  for (let i = 0; i < 16; i += 4) grh.view.setInt32(DGID_AT + i, view.getInt32(av + AddressVector.dgid.offset + i));
}

function send(qp: QueuePair): void {
  if (isMulticastLid(datagram.dlid)) sendMulticast(qp);
  else if (isUnicastLid(datagram.dlid)) sendUnicast(qp);
  else qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
}

function sendUnicast(qp: QueuePair): void {
  if (datagram.destQpn === Qpn.SMI) {
    // Only the kernel's own QP0 may send there (10.2.3.1).
    qp.adapter.counters[AdapterCounter.droppedNoQp]! += 1;
    return;
  }
  if (datagram.destQpn === Qpn.GSI) {
    from.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
    isSourceMissing = !sendUdToManagement(qp, from);
    return;
  }
  if (qp.port.needsPackets(datagram.dlid)) {
    sendPacket(qp, qp.port.laneTo(datagram.dlid));
    return;
  }
  const port = qp.port.peer(datagram.dlid);
  if (port === undefined || !port.isActive) {
    qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
    return;
  }
  countTraffic(qp.port, port, datagram.dlid, datagram.length, 1, datagram.sl);
  const target = port.receiver(datagram.destQpn);
  if (target === undefined) port.adapter.counters[AdapterCounter.droppedNoQp]! += 1;
  else deliver(qp, port, target);
}

function sendMulticast(qp: QueuePair): void {
  // A multicast packet always has a GRH: the MGID is what receivers are found by (10.5.1.1).
  if (!datagram.hasGrh || datagram.destQpn !== Qpn.MULTICAST) {
    qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
    return;
  }
  if (qp.adapter.network.usesLoopback || (qp.port.wire.hasFaultyFabric && qp.adapter.network.path === "auto")) {
    // One packet for all receivers but those of this port itself.
    sendPacket(qp, qp.port.multicastLane);
    if (!isHeldBack && !isSourceMissing) deliverToMembers(qp, qp.port);
    return;
  }
  const bytes = datagramPacketBytes();
  const { wire } = qp.port;
  wire.countPath(datagram.dlid, datagram.sl, countAtSender(wire, bytes, datagram.dlid, datagram.sl), 1);
  deliverToMembers(qp, qp.port);
  const count = wire.resolveMulticast(datagram.dlid, ports);
  for (let i = 0; i < count; i++) {
    const port = qp.adapter.network.portAt(ports[i]!);
    if (port === undefined) {
      sendCopy(qp, ports[i]!);
      continue;
    }
    if (!port.isActive) continue;
    countReceived(port.wire, bytes, datagram.sl, true);
    deliverToMembers(qp, port);
  }
}

function sendPacket(qp: QueuePair, lane: PacketLane | undefined): void {
  if (lane === undefined) return;
  const sent = sendDatagramPacket(qp, lane);
  isHeldBack = sent === DatagramSent.NO_ROOM;
  makesSendersWait = lane.makesSendersWait;
  isSourceMissing = sent === DatagramSent.SOURCE_FAULT;
  if (sent === DatagramSent.OK) countSent(qp.port.wire, datagramPacketBytes(), datagram.dlid, datagram.sl);
}

/** One copy for all receivers that another engine serves; without room there it is lost, since others have theirs already. */
function sendCopy(qp: QueuePair, target: number): void {
  const lane = qp.adapter.network.laneAt(target);
  if (lane === undefined) return;
  qp.sendList.rewind();
  const sent = sendDatagramPacket(qp, lane);
  if (sent === DatagramSent.SOURCE_FAULT) isSourceMissing = true;
  if (sent !== DatagramSent.NO_ROOM) return;
  qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  qp.adapter.network.discardCopy(target, datagram.sl, wordsOf(datagramPacketBytes()));
}

/** Gives every QP of `port`'s HCA that is attached to the MGID its copy. */
function deliverToMembers(qp: QueuePair, port: AdapterPort): void {
  const adapter: Adapter = port.adapter;
  if (adapter.multicast.isEmpty) return;
  const count = adapter.multicast.members(grh.view, DGID_AT, qpns);
  if (count < 0) adapter.counters[AdapterCounter.multicastChainErrors]! += 1;
  for (let i = 0; i < count; i++) {
    const target = adapter.qps.find(qpns[i]!);
    if (target === undefined || target.port !== port) {
      adapter.counters[AdapterCounter.multicastMembersMissing]! += 1;
      continue;
    }
    qp.sendList.rewind();
    deliver(qp, port, target);
  }
}

/** Puts the datagram into a receive WQE of `target`, or drops it and counts why (9.6.1, 9.8.3). */
function deliver(qp: QueuePair, port: AdapterPort, target: QueuePair): void {
  const status = beginReceive(port, target);
  if (status !== 0) return;
  from.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  const moved = moveBytes(qp.sendList, from, target.receiveList, receivingParty, datagram.length);
  if (moved === Moved.SOURCE_FAULT) {
    isSourceMissing = true;
    qp.adapter.counters[AdapterCounter.droppedSourceFault]! += 1;
    target.giveBackReceive();
    return;
  }
  endReceive(port, target, moved === Moved.OK);
}
