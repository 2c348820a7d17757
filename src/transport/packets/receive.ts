// Packets that arrive in this engine: to which port, to which queue pair, and may it take them. IBA vol 1, 9.6 (header checks).

import { AddressPath, PathMigration, PRIMARY_PATH_AT } from "../../spec/hca/contexts.ts";
import { OpcodeTransport, Operation, UD_SEND_ONLY, UD_SEND_ONLY_IMM } from "../../spec/ib/bth-opcode.ts";
import { Grh } from "../../spec/ib/headers.ts";
import { isMulticastLid, Qpn, QpState, Service } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import { beginReceive, datagram, endReceive, receivingParty } from "../datagram-receive.ts";
import type { Network } from "../network.ts";
import { followMigration } from "../path-migration.ts";
import { type AdapterPort, DEFAULT_PREFIX_HI, pkeysMatch } from "../port.ts";
import type { QueuePair } from "../queue-pair.ts";
import { scatterBytes } from "../scatter-list.ts";
import { readDatagram } from "./datagrams.ts";
import { type LaneNet, NOTHING_DUE } from "./lane-net.ts";
import type { LatePackets } from "./late-packets.ts";
import { countReceived, LANE_HOPS_SHIFT, LANE_TAG_MASK, LaneTag, packet, packetWords, parsePacket } from "./packet.ts";
import { receiveRequest } from "./responder.ts";
import { receiveResponse } from "./responses.ts";
import type { PacketLane, PacketRing } from "./ring.ts";

/** Packets taken from one inlet before others have a turn. */
const PACKETS_PER_TURN = 64;
/** Work of a packet that moves nothing, in the bytes that take as long. */
const PACKET_COST_BYTES = 256;
/** Engines that a packet may cross; ends loops in forwarding tables. Trees of multicast groups need two. */
const MAX_HOPS = 8;
const MAX_MULTICAST_HOPS = 3;
const RECEIVERS_MAX = 4096;
const OPERATION_MASK = 0x1f;
const TRANSPORT_SHIFT = 5;

/** Where packets come in: the far end of somebody's lane, and what the forwarding tables there say. */
export interface PacketInlet {
  readonly ring: PacketRing;
  /** What a packet to unicast `dlid` reaches from there, in the numbers of `Wire.resolve`. */
  resolve(dlid: number): number;
  /** The same for multicast, as `Wire.resolveMulticast`, and the nanoseconds that it takes the packet in hand to each. */
  resolveMulticast(dlid: number, out: Int32Array, delaysNs: Float64Array): number;
  /** What faulty cables do to the packet in hand on its way, as `Wire.passFaults`. */
  passFaults(): number;
  /** The unicast packet in hand goes its way and faulty cables do nothing to it: switches are to count it, unless its sender has said so. */
  countPath(): void;
  /** The same for one that ends on its way, because it has gone round if so said. */
  countLost(isLoop: boolean): void;
  /** Takes what is not data: a management packet, or word of the link itself. */
  handle(tag: number, hops: number, bytes: Uint8Array): void;
}

const receivers = new Int32Array(RECEIVERS_MAX);
const delaysNs = new Float64Array(RECEIVERS_MAX);
const qpns = new Int32Array(64);

/** Takes some of the packets that wait in an inlet. Returns work done. */
export function receivePackets(network: Network, inlet: PacketInlet, nowNs: number): number {
  const { ring } = inlet;
  let work = 0;
  for (let i = 0; i < PACKETS_PER_TURN && !network.isLateFull && ring.take(); i++) {
    work += PACKET_COST_BYTES + ring.length;
    const tag = ring.tag & LANE_TAG_MASK;
    const hops = ring.tag >>> LANE_HOPS_SHIFT;
    if (tag === LaneTag.DATA) receiveData(network, inlet, hops, nowNs);
    else inlet.handle(tag, hops, new Uint8Array(ring.memory.bytes.subarray(ring.at, ring.at + ring.length)));
    ring.release();
  }
  ring.makesSendersWait = network.isLateFull;
  return work;
}

function receiveData(network: Network, inlet: PacketInlet, hops: number, nowNs: number): void {
  const { ring } = inlet;
  if (!parsePacket(ring.memory, ring.at, ring.length)) {
    network.counts.malformed++;
    return;
  }
  if (isMulticastLid(packet.dlid)) receiveMulticast(network, inlet, hops, nowNs);
  else route(network, inlet, inlet.resolve(packet.dlid), hops, nowNs);
}

/** Hands the packet to the port that it reaches, or passes it on to another engine. */
function route(network: Network, inlet: PacketInlet, target: number, hops: number, nowNs: number): void {
  const port = network.portAt(target);
  if (port !== undefined) {
    let delayNs = 0;
    if (port.wire.hasFaultyFabric) delayNs = inlet.passFaults();
    else inlet.countPath();
    if (delayNs === 0) deliver(port, nowNs);
    else if (delayNs > 0) delay(network, target, nowNs + delayNs);
    return;
  }
  const lane = network.laneAt(target);
  if (lane !== undefined && hops < MAX_HOPS && forward(lane, inlet.ring, hops)) {
    inlet.countPath();
    return;
  }
  network.counts.unroutable++;
  inlet.countLost(lane !== undefined && hops >= MAX_HOPS);
}

function forward(lane: PacketLane, ring: PacketRing, hops: number): boolean {
  if (!lane.reserve(ring.length, packet.sl, packet.dlid, 0)) return false;
  ring.memory.bytes.copy(lane.memory.bytes, lane.at, ring.at, ring.at + ring.length);
  lane.commit(LaneTag.DATA | ((hops + 1) << LANE_HOPS_SHIFT));
  return true;
}

/** The packet in hand arrives there later. */
function delay(network: Network, target: number, dueNs: number): void {
  if (!network.late.keep(packet.memory, packet.at, packet.end - packet.at, target, dueNs)) network.counts.unroutable++;
}

/** Delivers packets that have been long enough in their cables. Returns work done. */
export function receiveLate(network: Network, late: LatePackets, nowNs: number): number {
  let work = 0;
  for (let i = 0; i < PACKETS_PER_TURN; i++) {
    const slot = late.take(nowNs);
    if (slot < 0) break;
    const length = late.lengthOf(slot);
    work += PACKET_COST_BYTES + length;
    // Who has the port's number now may be another HCA.
    const port = parsePacket(late.memory, late.at(slot), length) ? network.portAt(late.targetOf(slot)) : undefined;
    if (port === undefined) network.counts.unroutable++;
    else if (isMulticastLid(packet.dlid)) deliverToMembers(port);
    else if (port.ownsLid(packet.dlid)) deliver(port, nowNs);
    else network.counts.unroutable++;
    late.release(slot);
  }
  return work;
}

/** Delivers packets that have come through the fabric's lanes. Returns work done. */
export function receiveFromLanes(network: Network, net: LaneNet, nowNs: number): number {
  const { roomEpoch } = net;
  let work = 0;
  // Senders that have waited are to fill their queues before more time passes there.
  for (let i = 0; i < PACKETS_PER_TURN && net.roomEpoch === roomEpoch; i++) {
    const target = net.take(nowNs);
    if (target < 0) return target === NOTHING_DUE ? work : work + PACKET_COST_BYTES;
    work += PACKET_COST_BYTES + net.byteLength;
    const port = parsePacket(net.memory, net.at, net.byteLength) ? network.portAt(target) : undefined;
    if (port === undefined) network.counts.unroutable++;
    else if (isMulticastLid(packet.dlid)) deliverToMembers(port);
    else if (port.ownsLid(packet.dlid)) deliver(port, nowNs);
    else network.counts.unroutable++;
    net.release();
  }
  return work;
}

function deliver(port: AdapterPort, nowNs: number): void {
  if (!port.isActive) {
    port.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
    return;
  }
  if (port.tap !== undefined) port.tap.sink.keep(packet.memory, packet.at, packet.end - packet.at, false);
  countReceived(port.wire, packet.end - packet.at, packet.sl, false);
  port.adapter.counters[AdapterCounter.packetsReceived]! += 1;
  const transport = packet.opcode >>> TRANSPORT_SHIFT;
  if (transport === OpcodeTransport.UD) deliverDatagram(port);
  else deliverConnected(port, transport, nowNs);
}

// ---- connected services ---------------------------------------------------------------------------------------------

function deliverConnected(port: AdapterPort, transport: number, nowNs: number): void {
  const { counters } = port.adapter;
  const qp = port.receiver(packet.destQpn);
  const service = transport === OpcodeTransport.RC ? Service.RC : transport === OpcodeTransport.UC ? Service.UC : -1;
  if (qp === undefined || qp.service !== service || !qp.canReceive) {
    counters[AdapterCounter.droppedNoQp]! += 1;
    return;
  }
  if (!isFromPeer(port, qp) || !areKeysRight(port, qp)) return;
  const operation = packet.opcode & OPERATION_MASK;
  const isResponse = operation >= Operation.READ_RESPONSE_FIRST && operation <= Operation.ATOMIC_ACKNOWLEDGE;
  if (isResponse && service === Service.RC) receiveResponse(qp, operation, nowNs);
  else receiveRequest(qp, operation);
}

/** The responder takes packets of its own connection only (9.6.1.5), and follows a peer that has migrated (17.2.8). */
function isFromPeer(port: AdapterPort, qp: QueuePair): boolean {
  if (qp.migration === PathMigration.REARM && !packet.isMigrated) qp.migration = PathMigration.ARMED;
  const isMigrating = qp.migration === PathMigration.ARMED && packet.isMigrated;
  if (isMigrating && !followMigration(qp, port, packet.slid, packet.pkey)) return dropFromWrongPeer(qp);
  return (qp.port === port && qp.attributes.rlid === packet.slid) || dropFromWrongPeer(qp);
}

function dropFromWrongPeer(qp: QueuePair): boolean {
  qp.adapter.counters[AdapterCounter.droppedWrongPeer]! += 1;
  return false;
}

/** P_Key and GRH (9.6.1.1, 9.6.1.2). */
function areKeysRight(port: AdapterPort, qp: QueuePair): boolean {
  const { counters } = qp.adapter;
  if (packet.hasGrh && !areGidsRight(port, qp)) {
    counters[AdapterCounter.droppedGid]! += 1;
    return false;
  }
  if (pkeysMatch(packet.pkey, port.pkey(qp.attributes.pkeyIndex))) return true;
  counters[AdapterCounter.droppedPkey]! += 1;
  port.wire.countPkeyViolation();
  return false;
}

function areGidsRight(port: AdapterPort, qp: QueuePair): boolean {
  const { view } = packet.memory;
  if (!port.ownsGid(view, packet.grhAt + Grh.dgid.offset)) return false;
  if (!qp.attributes.hasGrh) return true;
  const expected = qp.contextAt + PRIMARY_PATH_AT + AddressPath.rgid.offset;
  const sgid = packet.grhAt + Grh.sgid.offset;
  for (let i = 8; i < 16; i += 4) if (view.getInt32(sgid + i) !== qp.context.getInt32(expected + i)) return false;
  // A port goes by its GUID with the default prefix, too, whatever prefix its subnet has (4.1.1).
  const isDefault = qp.context.getInt32(expected) === DEFAULT_PREFIX_HI && qp.context.getInt32(expected + 4) === 0;
  const isSame =
    view.getInt32(sgid) === qp.context.getInt32(expected) && view.getInt32(sgid + 4) === qp.context.getInt32(expected + 4);
  return isDefault || isSame;
}

// ---- datagrams ------------------------------------------------------------------------------------------------------

function deliverDatagram(port: AdapterPort): void {
  const { counters } = port.adapter;
  const isDatagram = packet.opcode === UD_SEND_ONLY || packet.opcode === UD_SEND_ONLY_IMM;
  const payloadAt = isDatagram ? readDatagram() : -1;
  if (payloadAt < 0) {
    counters[AdapterCounter.droppedBadPacket]! += 1;
    return;
  }
  // Management has ways of its own: what names QP0 or QP1 in a lane for data is forged.
  const target = packet.destQpn <= Qpn.GSI ? undefined : port.receiver(packet.destQpn);
  if (target === undefined) counters[AdapterCounter.droppedNoQp]! += 1;
  else giveDatagram(port, target, payloadAt);
}

function giveDatagram(port: AdapterPort, target: QueuePair, payloadAt: number): void {
  if (beginReceive(port, target) !== 0) return;
  endReceive(port, target, scatterBytes(packet.memory, payloadAt, target.receiveList, receivingParty, datagram.length));
}

function receiveMulticast(network: Network, inlet: PacketInlet, hops: number, nowNs: number): void {
  const count = inlet.resolveMulticast(packet.dlid, receivers, delaysNs);
  for (let i = 0; i < count; i++) {
    const target = receivers[i]!;
    const port = network.portAt(target);
    if (port !== undefined && delaysNs[i]! > 0) delay(network, target, nowNs + delaysNs[i]!);
    else if (port !== undefined) deliverToMembers(port);
    else {
      const lane = network.laneAt(target);
      if (lane !== undefined && hops < MAX_MULTICAST_HOPS && forward(lane, inlet.ring, hops)) continue;
      network.counts.unroutable++;
      network.discardCopy(target, packet.sl, packetWords());
    }
  }
}

/** Gives every queue pair of the port's HCA that is attached to the group its copy (10.5.2). */
function deliverToMembers(port: AdapterPort): void {
  const { adapter } = port;
  if (port.tap !== undefined && port.isActive) port.tap.sink.keep(packet.memory, packet.at, packet.end - packet.at, false);
  if (!port.isActive) return;
  countReceived(port.wire, packet.end - packet.at, packet.sl, true);
  if (adapter.multicast.isEmpty || !packet.hasGrh || packet.destQpn !== Qpn.MULTICAST) return;
  const payloadAt = readDatagram();
  if (payloadAt < 0) return;
  const count = adapter.multicast.members(packet.memory.view, packet.grhAt + Grh.dgid.offset, qpns);
  if (count < 0) adapter.counters[AdapterCounter.multicastChainErrors]! += 1;
  for (let i = 0; i < count; i++) {
    const target = adapter.qps.find(qpns[i]!);
    if (target !== undefined && target.port === port && target.state !== QpState.ERR) giveDatagram(port, target, payloadAt);
    else adapter.counters[AdapterCounter.multicastMembersMissing]! += 1;
  }
}
