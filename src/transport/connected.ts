// RC and UC requests over the short path: the message moves from one guest's memory to the other's in slices, with the checks
// the responder would make packet by packet. IBA vol 1, 9.7 (RC), 9.8.2 (UC), 9.9.3 (responder errors).

import { newMemory } from "../base/bytes.ts";
import { add24 } from "../base/seq24.ts";
import { Access } from "../spec/hca/contexts.ts";
import { EventType, SendOpcode, Syndrome } from "../spec/hca/queues.ts";
import { Operation } from "../spec/ib/bth-opcode.ts";
import { mtuBytes, Service } from "../spec/ib/numbers.ts";
import { completeReceive, completeReceiveError, completeSend, countTraffic } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import { pkeysMatch } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { gatherBytes, Moved, moveBytes, scatterBytes } from "./scatter-list.ts";
import { newParty } from "./scratch.ts";
import { Outcome } from "./status.ts";

/** Bytes of one message moved before others have a turn: about 5 µs of copying. */
export const SLICE_BYTES = 64 * 1024;
const SOLICITED = 1 << 1;
const UC_BASE = 0x20;
const ATOMIC_BYTES = 8;

/** Scratch: the two sides of the message being moved. */
const local = newParty();
const remote = newParty();
/** Scratch: original value of an atomic, in the target's byte order. */
const original = newMemory(ATOMIC_BYTES);

/** Carries out the WQE in hand of an RC or UC QP. */
export function executeConnected(qp: QueuePair): number {
  const peer = findPeer(qp);
  if (peer === undefined) return qp.service === Service.RC ? Outcome.NO_ANSWER : dropUnreliable(qp);
  peer.noteMessage();
  switch (qp.wqeOpcode) {
    case SendOpcode.SEND:
    case SendOpcode.SEND_IMM:
      return qp.isTransferring ? continueSend(qp, peer) : startSend(qp, peer);
    case SendOpcode.RDMA_WRITE:
    case SendOpcode.RDMA_WRITE_IMM:
      return qp.isTransferring ? continueWrite(qp, peer) : startWrite(qp, peer);
    case SendOpcode.RDMA_READ:
      if (qp.service !== Service.RC) return refuse(qp, Syndrome.LOCAL_QP_OPERATION);
      return qp.isTransferring ? continueRead(qp, peer) : startRead(qp, peer);
    case SendOpcode.ATOMIC_CS:
    case SendOpcode.ATOMIC_FA:
      return qp.service === Service.RC ? executeAtomic(qp, peer) : refuse(qp, Syndrome.LOCAL_QP_OPERATION);
    default:
      return refuse(qp, Syndrome.LOCAL_QP_OPERATION);
  }
}

/** The QP at the other end, if it would take packets of this connection. */
function findPeer(qp: QueuePair): QueuePair | undefined {
  const network = qp.adapter.network;
  const wire = qp.port.wire;
  if (qp.peerNetworkEpoch !== network.epoch || qp.peerWireEpoch !== wire.epoch) {
    qp.peer = lookUpPeer(qp);
    qp.peerNetworkEpoch = network.epoch;
    qp.peerWireEpoch = wire.epoch;
  }
  const peer = qp.peer;
  // A PSN that is not the expected one is answered by a NAK or as a duplicate for ever: the connection was set up wrong.
  // UC takes up the sender's PSN with each new message (9.8.2.2).
  return peer !== undefined && (peer.expectedPsn === qp.nextPsn || qp.service === Service.UC) ? peer : undefined;
}

function lookUpPeer(qp: QueuePair): QueuePair | undefined {
  const { rlid, remoteQpn, pathBits, pkeyIndex } = qp.attributes;
  if (!qp.port.isActive) return undefined;
  const port = qp.port.peer(rlid);
  if (port === undefined || !port.isActive) return undefined;
  const peer = port.adapter.qps.find(remoteQpn);
  if (peer === undefined || peer.service !== qp.service || !peer.canReceive || peer.port !== port) return undefined;
  // The responder takes packets of its own connection only (9.6.1.5): from the QP's remote LID, for its remote QP.
  if (peer.attributes.remoteQpn !== qp.number && qp.service === Service.RC) return undefined;
  if (peer.attributes.rlid !== (qp.port.wire.lid | pathBits)) return undefined;
  if (!pkeysMatch(qp.port.pkey(pkeyIndex), port.pkey(peer.attributes.pkeyIndex))) {
    port.wire.countPkeyViolation();
    return undefined;
  }
  return peer;
}

/** Nobody hears a UC message: it is lost, and the sender does not know. */
function dropUnreliable(qp: QueuePair): number {
  qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  qp.nextPsn = add24(qp.nextPsn, packetsOf(qp, qp.sendList.total));
  completeSend(qp, 0);
  return Outcome.DONE;
}

function refuse(qp: QueuePair, syndrome: number): number {
  qp.syndrome = syndrome;
  return Outcome.ERROR;
}

/** Packets of a message of `bytes`; an empty message is one packet. */
function packetsOf(qp: QueuePair, bytes: number): number {
  const mtu = mtuBytes(qp.attributes.mtuCode);
  return bytes <= mtu || mtu === 0 ? 1 : Math.ceil(bytes / mtu);
}

/** The message was accepted: PSNs, retry counters and traffic counters move on, and the requester completes. */
function finish(qp: QueuePair, peer: QueuePair, byteCount: number): number {
  const total = qp.sendList.total;
  const packets = packetsOf(qp, total);
  qp.nextPsn = add24(qp.nextPsn, packets);
  peer.expectedPsn = qp.nextPsn;
  peer.messageCount = add24(peer.messageCount, 1);
  qp.retriesLeft = qp.attributes.retryCount;
  qp.rnrRetriesLeft = qp.attributes.rnrRetry;
  if (qp.wqeOpcode === SendOpcode.RDMA_READ) countTraffic(peer.port, qp.port, total, packets);
  else countTraffic(qp.port, peer.port, total, packets);
  qp.adapter.counters[AdapterCounter.bytes]! += total;
  completeSend(qp, byteCount);
  return Outcome.DONE;
}

// ---- send -----------------------------------------------------------------------------------------------------------

function startSend(qp: QueuePair, peer: QueuePair): number {
  const status = takeReceive(qp, peer);
  if (status < 0) return noReceive(qp);
  if (status > 0) return failReceive(qp, peer, status, Syndrome.REMOTE_OPERATION);
  if (qp.sendList.total > peer.receiveList.total) return tooLong(qp, peer);
  if (!peer.receiveList.isAllowed(peer.adapter.regions, receivePd(peer), Access.LOCAL_WRITE)) {
    return failReceive(qp, peer, Syndrome.LOCAL_PROTECTION, Syndrome.REMOTE_OPERATION);
  }
  qp.adapter.counters[AdapterCounter.sends]! += 1;
  qp.isTransferring = true;
  return continueSend(qp, peer);
}

/** Takes a receive WQE for this sender; -1 if there is none or another (UC) sender's message is arriving. */
function takeReceive(qp: QueuePair, peer: QueuePair): number {
  if (peer.isReceiving) return -1;
  const status = peer.takeReceive();
  peer.sender = qp;
  return status;
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
  const opcode = qp.service === Service.UC ? UC_BASE | operation : operation;
  completeReceive(peer, 0, 0, immediate, qp.sendList.total, opcode, (qp.wqeControl & SOLICITED) !== 0);
}

function noReceive(qp: QueuePair): number {
  if (qp.service === Service.RC) return Outcome.RNR;
  qp.adapter.counters[AdapterCounter.droppedNoReceive]! += 1;
  return loseMessage(qp);
}

/** UC: the message is dropped, the requester completes as if it had arrived. */
function loseMessage(qp: QueuePair): number {
  const packets = packetsOf(qp, qp.sendList.total);
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
  // An empty write touches no memory: address and key are not looked at (9.7.4.1.5, note).
  if (total > 0) {
    qp.remoteList.setRemote(qp.rkey, qp.remoteHi, qp.remoteLo, total);
    if (!peer.attributes.allowsRemoteWrite || !isRemoteAllowed(qp, peer, Access.REMOTE_WRITE)) return remoteAccessError(qp, peer);
  }
  if (qp.wqeOpcode === SendOpcode.RDMA_WRITE_IMM) {
    const status = takeReceive(qp, peer);
    if (status < 0) return noReceive(qp);
    if (status > 0) return failReceive(qp, peer, status, Syndrome.REMOTE_OPERATION);
  }
  qp.adapter.counters[AdapterCounter.rdmaWrites]! += 1;
  qp.isTransferring = true;
  return continueWrite(qp, peer);
}

const isRemoteAllowed = (qp: QueuePair, peer: QueuePair, access: number): boolean =>
  qp.remoteList.isAllowed(peer.adapter.regions, peer.pd, access);

function continueWrite(qp: QueuePair, peer: QueuePair): number {
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_WRITE);
  const slice = sliceOf(qp);
  const moved = moveBytes(qp.sendList, local, qp.remoteList, remote, slice);
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
  peer.adapter.counters[AdapterCounter.responderErrors]! += 1;
  if (qp.service !== Service.RC) return loseMessage(qp);
  peer.fail(EventType.WQ_ACCESS_VIOLATION);
  return refuse(qp, Syndrome.REMOTE_ACCESS);
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
  if (total > 0) {
    qp.remoteList.setRemote(qp.rkey, qp.remoteHi, qp.remoteLo, total);
    if (!isRemoteAllowed(qp, peer, Access.REMOTE_READ)) return remoteAccessError(qp, peer);
  }
  qp.adapter.counters[AdapterCounter.rdmaReads]! += 1;
  qp.isTransferring = true;
  return continueRead(qp, peer);
}

function continueRead(qp: QueuePair, peer: QueuePair): number {
  local.set(qp.adapter.regions, qp.pd, Access.LOCAL_WRITE);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_READ);
  const slice = sliceOf(qp);
  const moved = moveBytes(qp.remoteList, remote, qp.sendList, local, slice);
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
  if (qp.sendList.total !== ATOMIC_BYTES) return refuse(qp, Syndrome.LOCAL_LENGTH);
  if (!peer.attributes.allowsRemoteAtomic || (qp.remoteLo & 7) !== 0) return invalidRequest(qp, peer);
  qp.remoteList.setRemote(qp.rkey, qp.remoteHi, qp.remoteLo, ATOMIC_BYTES);
  if (!isRemoteAllowed(qp, peer, Access.REMOTE_ATOMIC)) return remoteAccessError(qp, peer);
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_ATOMIC);
  if (!gatherBytes(qp.remoteList, remote, original, 0, ATOMIC_BYTES)) return remoteAccessError(qp, peer);
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
  qp.remoteList.rewind();
  remote.set(peer.adapter.regions, peer.pd, Access.REMOTE_ATOMIC);
  return scatterBytes(original, 0, qp.remoteList, remote, ATOMIC_BYTES);
}
