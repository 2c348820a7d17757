// The requester of a connected queue pair whose peer is reached by packets: messages cut into packets, several of them under way,
// sent again from the first that was lost. IBA vol 1, 9.7.2 (PSNs), 9.7.3 (requests), 9.7.5.1 (responses), 9.7.6 (retries), 9.8.2 (UC).
//
// Behind a read or an atomic nothing more is sent until its answer has come, so that fences hold and the data segments in hand are
// those the answer goes to.

import { add24, diff24 } from "../../base/seq24.ts";
import { Access, PathMigration } from "../../spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import { AethKind, ackTimeoutNs, mtuBytes, NakCode, QpState, RNR_TIMER_NS, Service } from "../../spec/ib/numbers.ts";
import { completeSendOf, SOLICITED } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import { migrate } from "../path-migration.ts";
import { type QueuePair, Waiting } from "../queue-pair.ts";
import { gatherBytes, scatterBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import { failSend, fetch, finishDrain, NO_TIMEOUT_NS, RNR_FOREVER, TURN_BYTES } from "../send-queue.ts";
import type { Connection } from "./connection.ts";
import {
  AETH_BYTES,
  ATOMIC_ACK_BYTES,
  ATOMIC_ETH_BYTES,
  beginPacket,
  IMMEDIATE_BYTES,
  LaneTag,
  packet,
  padOf,
  RETH_BYTES,
} from "./packet.ts";
import { laneOf } from "./route.ts";

/** Packets under way: at 2 KiB each half of what a ring holds, and enough for engines that wake each other up. */
const WINDOW = 256;
/** An acknowledgement is asked for at the end of a message, and in between as often as this. */
const ACK_EVERY = 16;
/** Work of a packet besides its payload, in the bytes that take as long. */
const PACKET_COST_BYTES = 512;

/** What became of an attempt to send a packet: `CLOSED` is a window that is full until an acknowledgement comes. */
const Sent = { OK: 0, NO_ROOM: 1, FAULT: 2, CLOSED: 3 } as const;

const party = newParty();

/**
 * True if the messages of `qp` take the short path again from now on: nobody wants them as packets any more, and none is under way. What is
 * acknowledged has been executed, so the peer expects the next PSN; of what may still be on its way to it, it has all.
 */
export function leavePackets(qp: QueuePair): boolean {
  const c = qp.connection!;
  laneOf(qp);
  if (!c.isLeaving || c.messages.count > 0) return false;
  // Nobody acknowledges the packets of UC. None may be overtaken.
  if (qp.service === Service.UC && qp.adapter.network.hasLoopbackPackets) return false;
  c.stopRequesting();
  qp.stopWaiting();
  return true;
}

/** Lets a queue pair whose peer is reached by packets send them. Returns work done, in bytes. */
export function runPackets(qp: QueuePair, nowNs: number): number {
  const c = qp.connection!;
  if (qp.waitsFor === Waiting.RNR) return 0;
  laneOf(qp);
  if (c.isLeaving && qp.service === Service.UC && c.messages.count === 0) return holdBack(qp);
  let work = 0;
  while (work < TURN_BYTES) {
    const { messages } = c;
    if (messages.cursor === messages.count && !takeMessage(qp, c)) break;
    if (c.syndrome !== 0 && messages.cursor === messages.count - 1) break;
    const bytes = Math.min(messages.bytes(messages.cursor), mtuBytes(qp.attributes.mtuCode));
    const outcome = sendNext(qp, c);
    if (outcome === Sent.OK) {
      work += PACKET_COST_BYTES + bytes;
      continue;
    }
    if (outcome === Sent.NO_ROOM) work += holdBack(qp);
    break;
  }
  if (work >= TURN_BYTES) qp.adapter.activate(qp);
  settle(qp, c, nowNs);
  return work;
}

/** Others drain the ring, once this engine has done something else: `qp` tries again, and the turn of its HCA ends soon. */
function holdBack(qp: QueuePair): number {
  qp.adapter.activate(qp);
  return TURN_BYTES;
}

/** Fetches the next WQE and makes a message of it. False if there is none, or none may be sent now. */
function takeMessage(qp: QueuePair, c: Connection): boolean {
  const { messages } = c;
  const isDraining = qp.state === QpState.SQ_DRAINING;
  if (isDraining || c.isLeaving || c.syndrome !== 0 || messages.isFull) return false;
  if (messages.count > 0 && messages.isAnswered(messages.count - 1)) return false;
  if (c.fetched === qp.sqPosted && !qp.refreshPosted()) return false;
  const counter = c.fetched;
  c.fetched = (counter + 1) & 0xffff;
  const syndrome = fetch(qp, counter);
  const isNop = qp.wqeOpcode === SendOpcode.NOP;
  const bytes = syndrome === 0 && !isNop ? qp.sendList.total : 0;
  const packets = syndrome !== 0 || isNop ? 0 : packetsOf(qp, bytes);
  messages.push(qp.wqeOffset, counter, qp.nextPsn, packets, qp.wqeOpcode, qp.wqeControl, bytes);
  c.syndrome = syndrome;
  c.inHand = syndrome === 0 ? counter : -1;
  c.sent = 0;
  c.answered = 0;
  c.hasAskedAgain = false;
  qp.nextPsn = add24(qp.nextPsn, packets);
  if (syndrome === 0 && !isNop) countMessage(qp, bytes);
  return true;
}

function packetsOf(qp: QueuePair, bytes: number): number {
  const mtu = mtuBytes(qp.attributes.mtuCode);
  return bytes <= mtu ? 1 : Math.ceil(bytes / mtu);
}

function countMessage(qp: QueuePair, bytes: number): void {
  const { counters } = qp.adapter;
  const { wqeOpcode } = qp;
  if (wqeOpcode === SendOpcode.RDMA_READ) counters[AdapterCounter.rdmaReads]! += 1;
  else if (wqeOpcode === SendOpcode.RDMA_WRITE || wqeOpcode === SendOpcode.RDMA_WRITE_IMM)
    counters[AdapterCounter.rdmaWrites]! += 1;
  else if (wqeOpcode === SendOpcode.SEND || wqeOpcode === SendOpcode.SEND_IMM) counters[AdapterCounter.sends]! += 1;
  else counters[AdapterCounter.atomics]! += 1;
  counters[AdapterCounter.bytes]! += bytes;
}

/** Sends the next packet of the message at the cursor. */
function sendNext(qp: QueuePair, c: Connection): number {
  const { messages } = c;
  const index = messages.cursor;
  const packets = messages.packets(index);
  if (packets > 0) {
    if (qp.service === Service.RC && diff24(add24(messages.psn(index), c.sent), c.unackedPsn) >= WINDOW) return Sent.CLOSED;
    if (c.inHand !== messages.counter(index) && !fetchAgain(qp, c, index)) return Sent.FAULT;
    const outcome = sendPacket(qp, c, index);
    if (outcome !== Sent.OK) return outcome;
  }
  if (c.sent < packets) return Sent.OK;
  messages.cursor++;
  c.sent = 0;
  if (qp.service === Service.UC) while (messages.count > 0 && messages.cursor > 0) completeOldest(qp, c);
  return Sent.OK;
}

/** Reads the WQE of a message anew, to send what was lost. It is still the driver's to keep; if it is another one now, that fails. */
function fetchAgain(qp: QueuePair, c: Connection, index: number): boolean {
  const { messages } = c;
  const syndrome = fetch(qp, messages.counter(index));
  const isSame = qp.wqeOpcode === messages.opcode(index) && qp.sendList.total === messages.bytes(index);
  if (syndrome !== 0 || !isSame) {
    failAt(c, index, syndrome === 0 ? Syndrome.LOCAL_QP_OPERATION : syndrome);
    return false;
  }
  c.inHand = messages.counter(index);
  qp.sendList.skip((messages.isAnswered(index) ? c.answered : c.sent) * mtuBytes(qp.attributes.mtuCode));
  return true;
}

/** The message fails once those before it have completed; those behind it are as if they had never been sent. */
function failAt(c: Connection, index: number, syndrome: number): void {
  c.messages.count = index + 1;
  c.messages.cursor = index;
  c.syndrome = syndrome;
  c.inHand = -1;
}

function sendPacket(qp: QueuePair, c: Connection, index: number): number {
  const opcode = c.messages.opcode(index);
  const outcome =
    opcode === SendOpcode.RDMA_READ
      ? sendReadRequest(qp, c, index)
      : c.messages.isAnswered(index)
        ? sendAtomic(qp, c, index)
        : sendData(qp, c, index);
  if (outcome !== Sent.OK) return outcome;
  const psn = add24(c.messages.psn(index), c.sent);
  const isAgain = diff24(psn, c.unsentPsn) < 0;
  qp.adapter.counters[isAgain ? AdapterCounter.packetsSentAgain : AdapterCounter.packetsSent]! += 1;
  c.sent = c.messages.isAnswered(index) ? c.messages.packets(index) : c.sent + 1;
  const end = add24(c.messages.psn(index), c.sent);
  if (diff24(end, c.unsentPsn) > 0) c.unsentPsn = end;
  return Sent.OK;
}

/** One packet of a send or write. */
function sendData(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane, sent } = c;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  const isFirst = sent === 0;
  const isLast = sent === messages.packets(index) - 1;
  const total = messages.bytes(index);
  const payload = isLast ? total - sent * mtu : mtu;
  const opcode = messages.opcode(index);
  const isWrite = opcode === SendOpcode.RDMA_WRITE || opcode === SendOpcode.RDMA_WRITE_IMM;
  const hasImmediate = isLast && (opcode === SendOpcode.SEND_IMM || opcode === SendOpcode.RDMA_WRITE_IMM);
  if (lane === undefined) return loseData(qp, payload);
  const rest = (isWrite && isFirst ? RETH_BYTES : 0) + (hasImmediate ? IMMEDIATE_BYTES : 0) + payload;
  const operation = (isWrite ? Operation.WRITE_FIRST : Operation.SEND_FIRST) + placeOf(isFirst, isLast) + (hasImmediate ? 1 : 0);
  const transport = qp.service === Service.RC ? OpcodeTransport.RC : OpcodeTransport.UC;
  const psn = add24(messages.psn(index), sent);
  const isSolicited = isLast && (messages.control(index) & SOLICITED) !== 0;
  const wantsAck = qp.service === Service.RC && (isLast || (sent + 1) % ACK_EVERY === 0);
  let at = beginPacket(lane, qp, bthOpcode(transport, operation), psn, isSolicited, wantsAck, rest);
  if (at < 0) return Sent.NO_ROOM;
  const { view } = lane.memory;
  if (isWrite && isFirst) at = writeReth(view, at, qp, 0, total);
  if (hasImmediate) {
    view.setInt32(at, qp.wqeImmediate, false);
    at += IMMEDIATE_BYTES;
  }
  party.set(qp.adapter.regions, qp.pd, Access.LOCAL_READ);
  if (!gatherBytes(qp.sendList, party, lane.memory, at, payload)) {
    failAt(c, index, Syndrome.LOCAL_PROTECTION);
    return Sent.FAULT;
  }
  pad(view, at + payload, rest);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}

/** Where the opcodes of a message's packets lie behind that of its first: middle, last, only (IBA vol 1, table 38). */
const placeOf = (isFirst: boolean, isLast: boolean): number => (isFirst ? (isLast ? 4 : 0) : isLast ? 2 : 1);

/** Nothing reaches the peer at this time: the packet is lost at the port. */
function loseData(qp: QueuePair, payload: number): number {
  qp.adapter.counters[AdapterCounter.droppedUnreachable]! += 1;
  qp.sendList.skip(payload);
  return Sent.OK;
}

function pad(view: DataView, at: number, bytes: number): void {
  for (let i = padOf(bytes) - 1; i >= 0; i--) view.setUint8(at + i, 0);
}

/** RETH of the WQE in hand, from byte `done` of its remote range on. */
function writeReth(view: DataView, at: number, qp: QueuePair, done: number, bytes: number): number {
  const low = (qp.remoteLo >>> 0) + done;
  view.setInt32(at, low >= 2 ** 32 ? qp.remoteHi + 1 : qp.remoteHi, false);
  view.setInt32(at + 4, low | 0, false);
  view.setInt32(at + 8, qp.rkey, false);
  view.setInt32(at + 12, bytes, false);
  return at + RETH_BYTES;
}

/** Asks for what has not come yet of a read (9.7.5.1.2: again from the first response that is missing). */
function sendReadRequest(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane } = c;
  if (lane === undefined) return loseData(qp, 0);
  const done = c.answered * mtuBytes(qp.attributes.mtuCode);
  const opcode = bthOpcode(OpcodeTransport.RC, Operation.READ_REQUEST);
  const at = beginPacket(lane, qp, opcode, add24(messages.psn(index), c.answered), false, true, RETH_BYTES);
  if (at < 0) return Sent.NO_ROOM;
  writeReth(lane.memory.view, at, qp, done, messages.bytes(index) - done);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}

function sendAtomic(qp: QueuePair, c: Connection, index: number): number {
  const { messages, lane } = c;
  if (lane === undefined) return loseData(qp, 0);
  const isSwap = messages.opcode(index) === SendOpcode.ATOMIC_CS;
  const opcode = bthOpcode(OpcodeTransport.RC, isSwap ? Operation.COMPARE_SWAP : Operation.FETCH_ADD);
  const at = beginPacket(lane, qp, opcode, messages.psn(index), false, true, ATOMIC_ETH_BYTES);
  if (at < 0) return Sent.NO_ROOM;
  const { view } = lane.memory;
  view.setInt32(at, qp.remoteHi, false);
  view.setInt32(at + 4, qp.remoteLo, false);
  view.setInt32(at + 8, qp.rkey, false);
  view.setInt32(at + 12, qp.atomicSwapHi, false);
  view.setInt32(at + 16, qp.atomicSwapLo, false);
  view.setInt32(at + 20, qp.atomicCompareHi, false);
  view.setInt32(at + 24, qp.atomicCompareLo, false);
  lane.commit(LaneTag.DATA);
  return Sent.OK;
}

// ---- what comes back ------------------------------------------------------------------------------------------------

/** The packet in hand is an ACK, a NAK or an answer for `qp`. */
export function receiveResponse(qp: QueuePair, operation: number, nowNs: number): void {
  const c = qp.connection;
  if (c === undefined || !c.isRequesting || qp.state < QpState.RTS || qp.state === QpState.ERR) {
    dropResponse(qp);
    return;
  }
  // Only what has been sent can be answered; what has been answered before is a duplicate (9.7.5.1.1).
  const isKnown = diff24(packet.psn, c.unackedPsn) >= 0 && diff24(packet.psn, c.unsentPsn) < 0;
  if (!isKnown) {
    dropResponse(qp);
    return;
  }
  if (operation === Operation.ACKNOWLEDGE) receiveAcknowledge(qp, c, nowNs);
  else receiveAnswer(qp, c, operation, nowNs);
  settle(qp, c, nowNs);
  if (qp.waitsFor !== Waiting.RNR && qp.state !== QpState.ERR) qp.adapter.activate(qp);
}

function dropResponse(qp: QueuePair): void {
  qp.adapter.counters[AdapterCounter.droppedPsn]! += 1;
}

function receiveAcknowledge(qp: QueuePair, c: Connection, nowNs: number): void {
  if (packet.bodyBytes < AETH_BYTES) {
    dropResponse(qp);
    return;
  }
  const syndrome = packet.memory.view.getUint8(packet.bodyAt);
  const kind = (syndrome >>> 5) & 3;
  const code = syndrome & 0x1f;
  if (kind === AethKind.ACK) {
    acknowledge(qp, c, add24(packet.psn, 1));
    return;
  }
  // A NAK acknowledges everything before its PSN (9.7.5.1.1).
  acknowledge(qp, c, packet.psn);
  if (c.messages.count === 0) return;
  if (kind === AethKind.RNR_NAK) waitForReceiver(qp, c, code, nowNs);
  else if (kind === AethKind.NAK && code === NakCode.PSN_SEQUENCE) retry(qp, c);
  else failAt(c, indexOf(c, packet.psn), remoteSyndrome(code));
}

const remoteSyndrome = (code: number): number =>
  code === NakCode.INVALID_REQUEST
    ? Syndrome.REMOTE_INVALID_REQUEST
    : code === NakCode.REMOTE_ACCESS
      ? Syndrome.REMOTE_ACCESS
      : code === NakCode.REMOTE_OPERATIONAL
        ? Syndrome.REMOTE_OPERATION
        : Syndrome.BAD_RESPONSE;

function waitForReceiver(qp: QueuePair, c: Connection, timer: number, nowNs: number): void {
  if (c.isLastTry) {
    failAt(c, indexOf(c, packet.psn), Syndrome.RNR_RETRY);
    return;
  }
  qp.adapter.counters[AdapterCounter.rnrWaits]! += 1;
  rewind(c, packet.psn);
  qp.waitsFor = Waiting.RNR;
  qp.deadlineNs = nowNs + RNR_TIMER_NS[timer]!;
  qp.adapter.addWaiting(qp);
}

/** Index of the message that `psn`, which is under way, belongs to. */
function indexOf(c: Connection, psn: number): number {
  const { messages } = c;
  let index = messages.count - (c.syndrome === 0 ? 1 : 2);
  while (index > 0 && diff24(psn, messages.psn(index)) < 0) index--;
  return index;
}

/** Everything before `psn` has arrived: completes what that makes whole. */
function acknowledge(qp: QueuePair, c: Connection, psn: number): void {
  const { messages } = c;
  while (messages.count > 0) {
    if (c.syndrome !== 0 && messages.count === 1) break;
    const end = add24(messages.psn(0), messages.packets(0));
    if (diff24(end, psn) > 0) break;
    // Nothing is sent behind a read until it is answered, so an ACK for one comes instead of an answer: it proves nothing.
    if (messages.isAnswered(0) && c.answered < messages.packets(0)) break;
    completeOldest(qp, c);
  }
  if (diff24(psn, c.unackedPsn) <= 0) return;
  if (messages.count > 0 && messages.isAnswered(0)) {
    // Its PSNs are acknowledged by its answers only.
    const answered = add24(messages.psn(0), c.answered);
    c.unackedPsn = diff24(psn, answered) > 0 ? answered : psn;
  } else {
    c.unackedPsn = psn;
    skipArrived(c);
  }
  noteProgress(qp, c);
}

/** Packets that were going to be sent again have arrived after all. */
function skipArrived(c: Connection): void {
  const { messages } = c;
  if (messages.cursor !== 0 || messages.count === 0) return;
  const arrived = diff24(c.unackedPsn, messages.psn(0));
  if (arrived <= c.sent) return;
  c.sent = arrived;
  c.inHand = -1;
}

function noteProgress(qp: QueuePair, c: Connection): void {
  qp.retriesLeft = qp.attributes.retryCount;
  qp.rnrRetriesLeft = qp.attributes.rnrRetry;
  qp.deadlineNs = 0;
  c.isLastTry = false;
}

function completeOldest(qp: QueuePair, c: Connection): void {
  const { messages } = c;
  const wasAtCursor = messages.cursor === 0;
  const bytes = messages.isAnswered(0) ? messages.bytes(0) : 0;
  // UC counts as acknowledged what has been sent.
  const end = add24(messages.psn(0), messages.packets(0));
  if (diff24(end, c.unackedPsn) > 0) c.unackedPsn = end;
  completeSendOf(qp, messages.offset(0), messages.opcode(0), messages.control(0), bytes);
  messages.shift();
  if (!wasAtCursor) return;
  c.sent = 0;
  c.inHand = -1;
}

/** A response with data: of a read, or the original value of an atomic. */
function receiveAnswer(qp: QueuePair, c: Connection, operation: number, nowNs: number): void {
  const { messages } = c;
  const index = messages.count - 1;
  const isExpected = index >= 0 && messages.isAnswered(index) && messages.cursor === messages.count;
  if (!isExpected || c.inHand !== messages.counter(index)) {
    dropResponse(qp);
    return;
  }
  const first = messages.psn(index);
  const place = diff24(packet.psn, first);
  if (place < c.answered) {
    dropResponse(qp);
    return;
  }
  // What answers a read has executed everything before it (9.7.5.1.1).
  acknowledge(qp, c, first);
  if (place > c.answered) {
    askAgain(qp, c);
    return;
  }
  const bytes = messages.opcode(0) === SendOpcode.RDMA_READ ? readBytes(qp, c, operation) : atomicBytes(operation);
  if (bytes < 0) {
    failAt(c, 0, Syndrome.BAD_RESPONSE);
    return;
  }
  const dataAt = packet.bodyAt + packet.bodyBytes - bytes;
  if (messages.opcode(0) !== SendOpcode.RDMA_READ) swapWords(dataAt);
  party.set(qp.adapter.regions, qp.pd, Access.LOCAL_WRITE);
  if (!scatterBytes(packet.memory, dataAt, qp.sendList, party, bytes)) {
    failAt(c, 0, Syndrome.LOCAL_PROTECTION);
    return;
  }
  c.answered++;
  c.hasAskedAgain = false;
  c.unackedPsn = add24(packet.psn, 1);
  noteProgress(qp, c);
  if (c.answered === messages.packets(0)) completeOldest(qp, c);
  armTimer(qp, nowNs);
}

/** Payload that the next packet of a read's answer must have; -1 if it is not that packet (9.7.5.1.4, 9.7.5.2.4). */
function readBytes(qp: QueuePair, c: Connection, operation: number): number {
  const { messages } = c;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  const isLast = c.answered === messages.packets(0) - 1;
  const bytes = isLast ? messages.bytes(0) - c.answered * mtu : mtu;
  const isEnd = operation === Operation.READ_RESPONSE_LAST || operation === Operation.READ_RESPONSE_ONLY;
  const isMiddle = operation === Operation.READ_RESPONSE_MIDDLE;
  if (operation === Operation.ATOMIC_ACKNOWLEDGE || isEnd !== isLast) return -1;
  return packet.bodyBytes === bytes + (isMiddle ? 0 : AETH_BYTES) ? bytes : -1;
}

const atomicBytes = (operation: number): number =>
  operation === Operation.ATOMIC_ACKNOWLEDGE && packet.bodyBytes === AETH_BYTES + ATOMIC_ACK_BYTES ? ATOMIC_ACK_BYTES : -1;

/** An original value travels as a big-endian number and lands in host order (docs "infinihost" 5.5.4). */
function swapWords(at: number): void {
  const { view } = packet.memory;
  const hi = view.getInt32(at, false);
  const lo = view.getInt32(at + 4, false);
  view.setInt32(at, lo, true);
  view.setInt32(at + 4, hi, true);
}

/** An answer has got lost: asks for the rest once, the timer sees to the rest. */
function askAgain(qp: QueuePair, c: Connection): void {
  if (c.hasAskedAgain) return;
  c.hasAskedAgain = true;
  retry(qp, c);
}

// ---- time -----------------------------------------------------------------------------------------------------------

/** Sends everything that is not acknowledged again, if retries are left; else the oldest message fails (9.7.6.1.1). */
function retry(qp: QueuePair, c: Connection): void {
  if (qp.retriesLeft === 0) {
    exhaust(qp, c);
    return;
  }
  qp.retriesLeft--;
  qp.deadlineNs = 0;
  rewind(c, c.unackedPsn);
}

function exhaust(qp: QueuePair, c: Connection): void {
  if (qp.migration === PathMigration.ARMED) {
    migrate(qp);
    rewind(c, c.unackedPsn);
    return;
  }
  failAt(c, 0, Syndrome.TRANSPORT_RETRY);
}

/** The next packet to send is that with `psn`. */
function rewind(c: Connection, psn: number): void {
  const { messages } = c;
  // What cannot be sent waits at the end; what is before it may have got lost.
  if (messages.count === 0 || (c.syndrome !== 0 && messages.count === 1)) return;
  const index = indexOf(c, psn);
  messages.cursor = index;
  c.sent = messages.isAnswered(index) ? 0 : Math.max(0, diff24(psn, messages.psn(index)));
  c.inHand = -1;
}

/** A timer of `qp` may have run out. Returns work done. */
export function runPacketTimer(qp: QueuePair, nowNs: number): number {
  const c = qp.connection!;
  if (nowNs < qp.deadlineNs) return 0;
  if (qp.waitsFor === Waiting.RNR) {
    qp.stopWaiting();
    // The last wait, too, ends with a try: on the short path, which need not wait, it would have succeeded (decision 3).
    if (qp.rnrRetriesLeft === 0) c.isLastTry = true;
    else if (qp.attributes.rnrRetry !== RNR_FOREVER) qp.rnrRetriesLeft--;
  } else {
    qp.adapter.counters[AdapterCounter.noAnswerWaits]! += 1;
    qp.stopWaiting();
    if (qp.attributes.ackTimeout === 0) rewind(c, c.unackedPsn);
    else retry(qp, c);
  }
  settle(qp, c, nowNs);
  if (qp.state !== QpState.ERR) qp.adapter.activate(qp);
  return 1;
}

function armTimer(qp: QueuePair, nowNs: number): void {
  if (qp.waitsFor === Waiting.ACK && qp.deadlineNs !== 0) return;
  const timeoutNs = ackTimeoutNs(qp.attributes.ackTimeout);
  qp.waitsFor = Waiting.ACK;
  qp.deadlineNs = nowNs + (timeoutNs === Number.POSITIVE_INFINITY ? NO_TIMEOUT_NS : timeoutNs);
  qp.adapter.addWaiting(qp);
}

/** Completes what needs no answer, fails what is due to fail, ends a drain, and sees to the timer. */
function settle(qp: QueuePair, c: Connection, nowNs: number): void {
  const { messages } = c;
  while (messages.count > 0 && messages.cursor > 0 && messages.packets(0) === 0) completeOldest(qp, c);
  if (c.syndrome !== 0 && messages.count === 1) {
    const { syndrome } = c;
    qp.wqeOffset = messages.offset(0);
    c.messages.clear();
    c.syndrome = 0;
    failSend(qp, syndrome);
    return;
  }
  if (messages.count === 0 && qp.state === QpState.SQ_DRAINING) {
    qp.stopWaiting();
    finishDrain(qp);
    return;
  }
  if (qp.waitsFor === Waiting.RNR) return;
  if (qp.service === Service.RC && diff24(c.unsentPsn, c.unackedPsn) > 0 && messages.count > 0) armTimer(qp, nowNs);
  else qp.stopWaiting();
}
