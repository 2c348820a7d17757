// RC and UC requests over the short path: the message moves from one guest's memory to the other's in slices, with the checks
// the responder would make packet by packet. IBA vol 1, 9.7 (RC), 9.8.2 (UC), 9.9.3 (responder errors).

import { newMemory } from "../base/bytes.ts";
import { add24 } from "../base/seq24.ts";
import { Access, AddressPath, PathMigration, PRIMARY_PATH_AT } from "../spec/hca/contexts.ts";
import { EventType, SendOpcode, Syndrome } from "../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../spec/ib/bth-opcode.ts";
import { mtuBytes, packetsOf, Service } from "../spec/ib/numbers.ts";
import { completeReceive, completeReceiveError, completeSend, countTraffic, SOLICITED } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import { followMigration, noteArming } from "./path-migration.ts";
import { type AdapterPort, pkeysMatch } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { gatherBytes, Moved, moveBytes, ScatterList, scatterBytes } from "./scatter-list.ts";
import { newParty } from "./scratch.ts";
import { Outcome, SLICE_BYTES } from "./status.ts";

const ATOMIC_BYTES = 8;

/** Scratch: the two sides of the message being moved. */
const local = newParty();
const remote = newParty();
/** Scratch: the remote range of an RDMA operation or atomic. */
const remoteRange = new ScatterList(1);
/** Scratch: original value of an atomic, in the target's byte order. */
const original = newMemory(ATOMIC_BYTES);

/** Carries out the WQE in hand of an RC or UC QP. */
export function executeConnected(qp: QueuePair): number {
  const peer = findPeer(qp);
  if (peer === undefined && qp.needsPackets) return Outcome.PACKETS;
  if (peer === undefined) return qp.service === Service.RC ? Outcome.NO_ANSWER : dropUnreliable(qp);
  peer.noteMessage();
  // A request begins before the last message has ended: its opcode is out of sequence (9.7.4.1.2).
  if (!qp.isTransferring && peer.isReceiving && qp.service === Service.RC) return invalidRequest(qp, peer);
  switch (qp.wqeOpcode) {
    case SendOpcode.SEND:
    case SendOpcode.SEND_IMM:
      return qp.isTransferring ? continueSend(qp, peer) : startSend(qp, peer);
    case SendOpcode.RDMA_WRITE:
    case SendOpcode.RDMA_WRITE_IMM:
      return qp.isTransferring ? continueWrite(qp, peer) : startWrite(qp, peer);
    case SendOpcode.RDMA_READ:
      return qp.isTransferring ? continueRead(qp, peer) : startRead(qp, peer);
    case SendOpcode.ATOMIC_CS:
    case SendOpcode.ATOMIC_FA:
      return executeAtomic(qp, peer);
    default:
      return refuse(qp, Syndrome.LOCAL_QP_OPERATION);
  }
}

/** The QP at the other end, if it would take packets of this connection. */
function findPeer(qp: QueuePair): QueuePair | undefined {
  const network = qp.adapter.network;
  const wire = qp.port.wire;
  if (qp.peer === undefined || qp.peerNetworkEpoch !== network.epoch || qp.peerWireEpoch !== wire.epoch) {
    qp.peer = lookUpPeer(qp);
    // In the middle of a message this is the answer for its rest only.
    qp.peerNetworkEpoch = qp.isTransferring ? -1 : network.epoch;
    qp.peerWireEpoch = wire.epoch;
  }
  const peer = qp.peer;
  if (peer === undefined) return undefined;
  // A PSN that is not the expected one is answered by a NAK or as a duplicate for ever: the connection was set up wrong.
  // UC takes up the sender's PSN with each new message (9.8.2.2).
  if (peer.expectedPsn !== qp.nextPsn && qp.service === Service.RC) {
    peer.adapter.counters[AdapterCounter.droppedPsn]! += 1;
    return undefined;
  }
  // One of them asked to be armed, and none has migrated: the codes are such that this is one comparison.
  if ((qp.migration | peer.migration) === PathMigration.REARM) noteArming(qp, peer);
  return peer;
}

function lookUpPeer(qp: QueuePair): QueuePair | undefined {
  const { rlid, remoteQpn } = qp.attributes;
  // A message that has begun on the short path ends there.
  qp.needsPackets = !qp.isTransferring && qp.port.needsPackets(rlid, qp.service === Service.RC);
  if (qp.needsPackets) return undefined;
  const port = qp.port.isActive ? qp.port.peer(rlid) : undefined;
  if (port === undefined || !port.isActive) {
    // A UC sender counts it with each message it loses.
    if (qp.service === Service.RC) qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
    return undefined;
  }
  const peer = port.adapter.qps.find(remoteQpn);
  if (peer === undefined || peer.service !== qp.service || !peer.canReceive) {
    port.adapter.counters[AdapterCounter.droppedNoQp]! += 1;
    return undefined;
  }
  return isFromPeer(qp, peer, port) && isPathAccepted(qp, peer) ? peer : undefined;
}

/** The responder takes packets of its own connection only (9.6.1.5): at its port, from its remote QP, from its remote LID. */
function isFromPeer(qp: QueuePair, peer: QueuePair, port: AdapterPort): boolean {
  const isConnected = peer.attributes.remoteQpn === qp.number;
  const isMigrating = qp.migration === PathMigration.MIGRATED && peer.migration === PathMigration.ARMED;
  const source = qp.port.wire.lid | qp.attributes.pathBits;
  const pkey = qp.port.pkey(qp.attributes.pkeyIndex);
  if (isConnected && isMigrating && !followMigration(peer, port, source, pkey)) return false;
  const isExpected = isConnected || qp.service !== Service.RC;
  if (isExpected && peer.port === port && peer.attributes.rlid === source) return true;
  peer.adapter.counters[AdapterCounter.droppedWrongPeer]! += 1;
  return false;
}

/** The checks of a packet's GRH and P_Key at the responder, and of its size on the link (9.6.1, 10.9.3). */
function isPathAccepted(qp: QueuePair, peer: QueuePair): boolean {
  const { pkeyIndex, mtuCode } = qp.attributes;
  const { counters } = peer.adapter;
  if (mtuCode > qp.port.wire.mtuCode) {
    qp.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
    return false;
  }
  if (!areGidsAccepted(qp, peer)) {
    counters[AdapterCounter.droppedGid]! += 1;
    return false;
  }
  if (pkeysMatch(qp.port.pkey(pkeyIndex), peer.port.pkey(peer.attributes.pkeyIndex))) return true;
  counters[AdapterCounter.droppedPkey]! += 1;
  peer.port.wire.countPkeyViolation();
  return false;
}

/** A packet with a GRH must name a GID of the port it reaches, and come from the GID that the responder's path names (9.6.1.2). */
function areGidsAccepted(qp: QueuePair, peer: QueuePair): boolean {
  if (!qp.attributes.hasGrh) return true;
  const rgidAt = PRIMARY_PATH_AT + AddressPath.rgid.offset;
  if (!peer.port.ownsGid(qp.context, qp.contextAt + rgidAt)) return false;
  return !peer.attributes.hasGrh || qp.port.findGid(peer.context, peer.contextAt + rgidAt) === qp.attributes.sgidIndex;
}

/** Nobody hears a UC message: it is lost, and the sender does not know. */
function dropUnreliable(qp: QueuePair): number {
  qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  qp.nextPsn = add24(qp.nextPsn, packetsOf(qp.sendList.total, mtuBytes(qp.attributes.mtuCode)));
  completeSend(qp, 0);
  return Outcome.DONE;
}

function refuse(qp: QueuePair, syndrome: number): number {
  qp.syndrome = syndrome;
  return Outcome.ERROR;
}

/** True if the responder would find a packet longer than its path MTU, or one in the middle that is shorter (9.7.4.1.6). */
function isMisfit(qp: QueuePair, peer: QueuePair): boolean {
  const { mtuCode } = qp.attributes;
  return mtuCode !== peer.attributes.mtuCode && qp.sendList.total > mtuBytes(Math.min(mtuCode, peer.attributes.mtuCode));
}

/** A message whose packets do not fit: NAK "invalid request" for RC, dropped for UC. */
function refuseMisfit(qp: QueuePair, peer: QueuePair): number {
  if (qp.service === Service.RC) return invalidRequest(qp, peer);
  peer.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
  return loseMessage(qp);
}

/** The message was accepted: PSNs, retry counters and traffic counters move on, and the requester completes. */
function finish(qp: QueuePair, peer: QueuePair, byteCount: number): number {
  const total = qp.sendList.total;
  const packets = packetsOf(total, mtuBytes(qp.attributes.mtuCode));
  qp.nextPsn = add24(qp.nextPsn, packets);
  peer.expectedPsn = qp.nextPsn;
  peer.messageCount = add24(peer.messageCount, 1);
  qp.retriesLeft = qp.attributes.retryCount;
  qp.rnrRetriesLeft = qp.attributes.rnrRetry;
  if (qp.wqeOpcode === SendOpcode.RDMA_READ)
    countTraffic(peer.port, qp.port, peer.attributes.rlid, total, packets, peer.attributes.sl);
  else countTraffic(qp.port, peer.port, qp.attributes.rlid, total, packets, qp.attributes.sl);
  qp.adapter.counters[AdapterCounter.bytes]! += total;
  completeSend(qp, byteCount);
  return Outcome.DONE;
}

// ---- send -----------------------------------------------------------------------------------------------------------

function startSend(qp: QueuePair, peer: QueuePair): number {
  if (isMisfit(qp, peer)) return refuseMisfit(qp, peer);
  const status = takeReceive(qp, peer);
  if (status < 0) return noReceive(qp, peer);
  if (status > 0) return failReceive(qp, peer, status, Syndrome.REMOTE_OPERATION);
  if (qp.sendList.total > peer.receiveList.total) return tooLong(qp, peer);
  if (!peer.receiveList.isAllowed(peer.adapter.regions, receivePd(peer), Access.LOCAL_WRITE)) {
    return failReceive(qp, peer, Syndrome.LOCAL_PROTECTION, Syndrome.REMOTE_OPERATION);
  }
  qp.adapter.counters[AdapterCounter.sends]! += 1;
  qp.isTransferring = true;
  return continueSend(qp, peer);
}

/** Takes a receive WQE for this sender; -1 if there is none, else 0 or a syndrome. */
function takeReceive(qp: QueuePair, peer: QueuePair): number {
  peer.sender = qp;
  if (!peer.isReceiving) return peer.takeReceive();
  // A message began before the last one ended: what came of that is dropped, and its WQE serves again (9.8.2.2, UC).
  peer.adapter.counters[AdapterCounter.droppedInterrupted]! += 1;
  peer.receiveList.rewind();
  return 0;
}

/** True while the receive WQE taken for this sender is still in hand: the peer may have been reset between two slices. */
const isArriving = (qp: QueuePair, peer: QueuePair): boolean => peer.isReceiving && peer.sender === qp;

/** A receive WQE of an SRQ names memory of the SRQ's protection domain (IBA vol 1, 10.2.9.2). */
function receivePd(peer: QueuePair): number {
  return peer.setup.srq === undefined ? peer.pd : peer.setup.srq.pd;
}

function continueSend(qp: QueuePair, peer: QueuePair): number {
  if (!isArriving(qp, peer)) return qp.service === Service.RC ? Outcome.NO_ANSWER : dropUnreliable(qp);
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  remote.set(peer.adapter.regions, receivePd(peer), Access.LOCAL_WRITE);
  const slice = sliceOf(qp);
  const moved = moveBytes(qp.sendList, local, peer.receiveList, remote, slice);
  if (moved === Moved.SOURCE_FAULT) return refuse(qp, Syndrome.LOCAL_PROTECTION);
  if (moved === Moved.TARGET_FAULT) return failReceive(qp, peer, Syndrome.LOCAL_PROTECTION, Syndrome.REMOTE_OPERATION);
  qp.done += slice;
  if (qp.done < qp.sendList.total) return Outcome.MORE;
  const hasImmediate = qp.wqeOpcode === SendOpcode.SEND_IMM;
  completeAtPeer(qp, peer, hasImmediate ? Operation.SEND_ONLY_IMM : Operation.SEND_ONLY, hasImmediate ? qp.wqeImmediate : 0);
  return finish(qp, peer, 0);
}

const sliceOf = (qp: QueuePair): number => Math.min(qp.sendList.total - qp.done, SLICE_BYTES);

function completeAtPeer(qp: QueuePair, peer: QueuePair, operation: number, immediate: number): void {
  const opcode = bthOpcode(qp.service === Service.UC ? OpcodeTransport.UC : OpcodeTransport.RC, operation);
  completeReceive(peer, 0, 0, immediate, qp.sendList.total, opcode, (qp.wqeControl & SOLICITED) !== 0);
}

function noReceive(qp: QueuePair, peer: QueuePair): number {
  if (qp.service === Service.RC) return Outcome.RNR;
  peer.adapter.counters[AdapterCounter.droppedNoReceive]! += 1;
  return loseMessage(qp);
}

/** UC: the message is dropped, the requester completes as if it had arrived. */
function loseMessage(qp: QueuePair): number {
  const packets = packetsOf(qp.sendList.total, mtuBytes(qp.attributes.mtuCode));
  qp.nextPsn = add24(qp.nextPsn, packets);
  if (qp.peer !== undefined) qp.peer.expectedPsn = qp.nextPsn;
  completeSend(qp, 0);
  return Outcome.DONE;
}

/** The message is longer than the receive WQE: responder class C for RC, D1 for UC (9.9.3.1). */
function tooLong(qp: QueuePair, peer: QueuePair): number {
  if (qp.service === Service.RC) return failReceive(qp, peer, Syndrome.LOCAL_LENGTH, Syndrome.REMOTE_INVALID_REQUEST);
  peer.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
  if (peer.setup.srq !== undefined) completeReceiveError(peer, Syndrome.LOCAL_LENGTH);
  peer.returnReceive();
  return loseMessage(qp);
}

/** The receive WQE in hand fails with `localSyndrome`, the responder goes to ERR, the requester learns `remoteSyndrome`. */
function failReceive(qp: QueuePair, peer: QueuePair, localSyndrome: number, remoteSyndrome: number): number {
  peer.adapter.counters[AdapterCounter.responderErrors]! += 1;
  completeReceiveError(peer, localSyndrome);
  peer.enterError();
  if (qp.service === Service.RC) return refuse(qp, remoteSyndrome);
  return loseMessage(qp);
}

// ---- RDMA write -----------------------------------------------------------------------------------------------------

function startWrite(qp: QueuePair, peer: QueuePair): number {
  const total = qp.sendList.total;
  if (isMisfit(qp, peer)) return refuseMisfit(qp, peer);
  if (!peer.attributes.allowsRemoteWrite) return qp.service === Service.RC ? invalidRequest(qp, peer) : dropRefused(qp, peer);
  // An empty write touches no memory: address and key are not looked at (9.7.4.1.5, note).
  if (total > 0 && !isRemoteAllowed(qp, peer, Access.REMOTE_WRITE)) return remoteAccessError(qp, peer);
  if (qp.wqeOpcode === SendOpcode.RDMA_WRITE_IMM) {
    const status = takeReceive(qp, peer);
    if (status < 0) return noReceive(qp, peer);
    if (status > 0) return failReceive(qp, peer, status, Syndrome.REMOTE_OPERATION);
  }
  qp.adapter.counters[AdapterCounter.rdmaWrites]! += 1;
  qp.isTransferring = true;
  return moveWrite(qp, peer);
}

/** Points `remoteRange` at what is left of the remote range of the WQE in hand. */
function locateRemote(qp: QueuePair): void {
  remoteRange.setRemote(qp.rkey, qp.remoteHi, qp.remoteLo, qp.sendList.total);
  remoteRange.skip(qp.done);
}

function isRemoteAllowed(qp: QueuePair, peer: QueuePair, access: number): boolean {
  locateRemote(qp);
  return remoteRange.isAllowed(peer.adapter.regions, peer.pd, access);
}

function continueWrite(qp: QueuePair, peer: QueuePair): number {
  locateRemote(qp);
  return moveWrite(qp, peer);
}

/** Moves the next slice to where `remoteRange` points. */
function moveWrite(qp: QueuePair, peer: QueuePair): number {
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_WRITE);
  const slice = sliceOf(qp);
  const moved = moveBytes(qp.sendList, local, remoteRange, remote, slice);
  if (moved === Moved.SOURCE_FAULT) return refuse(qp, Syndrome.LOCAL_PROTECTION);
  if (moved === Moved.TARGET_FAULT) return remoteAccessError(qp, peer);
  qp.done += slice;
  if (qp.done < qp.sendList.total) return Outcome.MORE;
  if (qp.wqeOpcode === SendOpcode.RDMA_WRITE_IMM) {
    if (!isArriving(qp, peer)) return qp.service === Service.RC ? Outcome.NO_ANSWER : dropUnreliable(qp);
    completeAtPeer(qp, peer, Operation.WRITE_ONLY_IMM, qp.wqeImmediate);
  }
  return finish(qp, peer, 0);
}

/** NAK "remote access error": responder class C (9.9.3.1); a UC responder drops the message (class D). */
function remoteAccessError(qp: QueuePair, peer: QueuePair): number {
  if (qp.service !== Service.RC) return dropRefused(qp, peer);
  peer.adapter.counters[AdapterCounter.responderErrors]! += 1;
  if (qp.wqeOpcode === SendOpcode.RDMA_WRITE_IMM) failImmediate(qp, peer);
  peer.fail(EventType.WQ_ACCESS_VIOLATION);
  return refuse(qp, Syndrome.REMOTE_ACCESS);
}

/** The receive WQE that the immediate data would have completed fails with "local access error" (11.6.2). */
function failImmediate(qp: QueuePair, peer: QueuePair): void {
  if (isArriving(qp, peer) || takeReceive(qp, peer) >= 0) completeReceiveError(peer, Syndrome.LOCAL_ACCESS);
}

function dropRefused(qp: QueuePair, peer: QueuePair): number {
  peer.adapter.counters[AdapterCounter.responderErrors]! += 1;
  if (isArriving(qp, peer)) peer.returnReceive();
  return loseMessage(qp);
}

function invalidRequest(qp: QueuePair, peer: QueuePair): number {
  peer.adapter.counters[AdapterCounter.responderErrors]! += 1;
  peer.fail(EventType.WQ_INVALID_REQUEST);
  return refuse(qp, Syndrome.REMOTE_INVALID_REQUEST);
}

// ---- RDMA read ------------------------------------------------------------------------------------------------------

function startRead(qp: QueuePair, peer: QueuePair): number {
  const total = qp.sendList.total;
  if (!peer.attributes.allowsRemoteRead) return invalidRequest(qp, peer);
  if (total > 0 && !isRemoteAllowed(qp, peer, Access.REMOTE_READ)) return remoteAccessError(qp, peer);
  qp.adapter.counters[AdapterCounter.rdmaReads]! += 1;
  qp.isTransferring = true;
  return moveRead(qp, peer);
}

function continueRead(qp: QueuePair, peer: QueuePair): number {
  locateRemote(qp);
  return moveRead(qp, peer);
}

/** Moves the next slice from where `remoteRange` points. */
function moveRead(qp: QueuePair, peer: QueuePair): number {
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_WRITE);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_READ);
  const slice = sliceOf(qp);
  const moved = moveBytes(remoteRange, remote, qp.sendList, local, slice);
  if (moved === Moved.SOURCE_FAULT) return remoteAccessError(qp, peer);
  if (moved === Moved.TARGET_FAULT) return refuse(qp, Syndrome.LOCAL_PROTECTION);
  qp.done += slice;
  if (qp.done < qp.sendList.total) return Outcome.MORE;
  return finish(qp, peer, qp.sendList.total);
}

// ---- atomics --------------------------------------------------------------------------------------------------------

/**
 * Compare & swap and fetch & add on 8 aligned bytes (9.4.5). Operands are numbers; memory is in host byte order, and only
 * little-endian hosts exist here (docs "infinihost" 5.5.4).
 */
function executeAtomic(qp: QueuePair, peer: QueuePair): number {
  if (!peer.attributes.allowsRemoteAtomic || (qp.remoteLo & 7) !== 0) return invalidRequest(qp, peer);
  if (!isRemoteAllowed(qp, peer, Access.REMOTE_ATOMIC)) return remoteAccessError(qp, peer);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_ATOMIC);
  if (!gatherBytes(remoteRange, remote, original, 0, ATOMIC_BYTES)) return remoteAccessError(qp, peer);
  const lo = original.view.getInt32(0, true);
  const hi = original.view.getInt32(4, true);
  if (!applyAtomic(qp, peer, hi, lo)) return remoteAccessError(qp, peer);
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_WRITE);
  original.view.setInt32(0, lo, true);
  original.view.setInt32(4, hi, true);
  if (!scatterBytes(original, 0, qp.sendList, local, ATOMIC_BYTES)) return refuse(qp, Syndrome.LOCAL_PROTECTION);
  qp.adapter.counters[AdapterCounter.atomics]! += 1;
  return finish(qp, peer, ATOMIC_BYTES);
}

/** Writes the new value, if there is one. False on a memory fault. */
function applyAtomic(qp: QueuePair, peer: QueuePair, hi: number, lo: number): boolean {
  let newHi = qp.atomicSwapHi;
  let newLo = qp.atomicSwapLo;
  if (qp.wqeOpcode === SendOpcode.ATOMIC_CS) {
    if (hi !== qp.atomicCompareHi || lo !== qp.atomicCompareLo) return true;
  } else {
    const sum = (lo >>> 0) + (qp.atomicSwapLo >>> 0);
    newLo = sum | 0;
    newHi = (hi + qp.atomicSwapHi + (sum >= 2 ** 32 ? 1 : 0)) | 0;
  }
  original.view.setInt32(0, newLo, true);
  original.view.setInt32(4, newHi, true);
  remoteRange.rewind();
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_ATOMIC);
  return scatterBytes(original, 0, remoteRange, remote, ATOMIC_BYTES);
}
