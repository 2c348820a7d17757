// The responder of a connected queue pair: requests that come as packets, and what is owed for them. IBA vol 1, 9.7.4 (checks), 9.7.5
// (responses), 9.7.5.1.5 (duplicates), 9.8.2 (UC), 9.9.3 (errors).

import { newMemory } from "../../base/bytes.ts";
import { add24, diff24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { EventType, Syndrome } from "../../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import { AethKind, mtuBytes, NakCode, Service } from "../../spec/ib/numbers.ts";
import type { Adapter } from "../adapter.ts";
import { completeReceive, completeReceiveError } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { gatherBytes, ScatterList, scatterBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import { Arriving, type Connection } from "./connection.ts";
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
import { connectionOf, laneOf } from "./route.ts";

const SYNDROME_SHIFT = 5;
/** An ACK that says nothing about credits (9.7.7.2.1). */
const ACK_SYNDROME = (AethKind.ACK << SYNDROME_SHIFT) | 0x1f;
/** Bytes of answers sent before others have a turn. */
const REPLY_TURN_BYTES = 64 * 1024;
const REPLY_COST_BYTES = 512;
const ATOMIC_BYTES = 8;
const UC_BASE = 0x20;
/** Opcodes of sends; those of writes lie as far apart. */
const OPERATIONS_PER_KIND = Operation.WRITE_FIRST - Operation.SEND_FIRST;
/** Places of a packet in its message, as opcodes count them from the first. */
const Place = { FIRST: 0, MIDDLE: 1, LAST: 2, LAST_IMM: 3, ONLY: 4, ONLY_IMM: 5 } as const;

const party = newParty();
const range = new ScatterList(1);
const word = newMemory(ATOMIC_BYTES);
/** The RETH in hand. */
const reth = { rkey: 0, hi: 0, lo: 0, length: 0 };

/** The packet in hand is a request for `qp`; its path has been checked. */
export function receiveRequest(qp: QueuePair, operation: number): void {
  qp.noteMessage();
  const c = connectionOf(qp);
  if (qp.service === Service.UC) {
    receiveUnreliable(qp, c, operation);
    return;
  }
  const ahead = diff24(packet.psn, qp.expectedPsn);
  if (ahead < 0) {
    repeat(qp, c, operation, -ahead);
    return;
  }
  if (ahead > 0) {
    qp.adapter.counters[AdapterCounter.droppedPsn]! += 1;
    if (!c.hasNaked) owe(qp, c, nakOf(NakCode.PSN_SEQUENCE), qp.expectedPsn);
    c.hasNaked = true;
    return;
  }
  c.hasNaked = false;
  execute(qp, c, operation);
}

/** UC takes up the sender's PSN with each new message; a gap in the middle loses the message (9.8.2.2). */
function receiveUnreliable(qp: QueuePair, c: Connection, operation: number): void {
  const place = operation % OPERATIONS_PER_KIND;
  const isStart = place === Place.FIRST || place === Place.ONLY || place === Place.ONLY_IMM;
  if (isStart) {
    if (c.arriving !== Arriving.NOTHING) interrupt(qp, c);
  } else if (c.arriving === Arriving.NOTHING || packet.psn !== qp.expectedPsn) {
    qp.adapter.counters[AdapterCounter.droppedPsn]! += 1;
    if (c.arriving !== Arriving.NOTHING) interrupt(qp, c);
    return;
  }
  qp.expectedPsn = packet.psn;
  execute(qp, c, operation);
}

/** A UC message has lost a packet: what came of it is dropped, and its receive WQE serves the next one (9.8.2.2). */
function interrupt(qp: QueuePair, c: Connection): void {
  qp.adapter.counters[AdapterCounter.droppedInterrupted]! += 1;
  c.arriving = Arriving.NOTHING;
  if (qp.isReceiving) qp.receiveList.rewind();
}

function execute(qp: QueuePair, c: Connection, operation: number): void {
  if (operation < Operation.WRITE_FIRST) receiveSend(qp, c, operation - Operation.SEND_FIRST);
  else if (operation <= Operation.WRITE_ONLY_IMM) receiveWrite(qp, c, operation - Operation.WRITE_FIRST);
  else if (qp.service === Service.UC) dropUnreliable(qp, c);
  else if (operation === Operation.READ_REQUEST) receiveReadRequest(qp, c);
  else if (operation === Operation.COMPARE_SWAP || operation === Operation.FETCH_ADD) receiveAtomic(qp, c, operation);
  else invalidRequest(qp, c);
}

/** A request that has been executed before: acknowledged, or answered, again (9.7.5.1.5). */
function repeat(qp: QueuePair, c: Connection, operation: number, behind: number): void {
  qp.adapter.counters[AdapterCounter.duplicates]! += 1;
  if (operation === Operation.READ_REQUEST) {
    repeatRead(qp, c, behind);
    return;
  }
  if (operation !== Operation.COMPARE_SWAP && operation !== Operation.FETCH_ADD) {
    // Not in place of a NAK that is still to go out.
    if (c.owesAck && c.ackSyndrome !== ACK_SYNDROME) return;
    owe(qp, c, ACK_SYNDROME, add24(qp.expectedPsn, -1));
    return;
  }
  const kept = c.results.find(packet.psn);
  if (kept >= 0) oweAtomic(qp, c, packet.psn, c.results.hi(kept), c.results.lo(kept));
}

function repeatRead(qp: QueuePair, c: Connection, behind: number): void {
  if (packet.bodyBytes < RETH_BYTES || c.answers.count > 0) return;
  // The range must be part of what has been asked for before.
  if (readReth(qp, Access.REMOTE_READ) && packetsOf(qp, reth.length) <= behind) oweRead(qp, c);
}

const packetsOf = (qp: QueuePair, bytes: number): number => {
  const mtu = mtuBytes(qp.attributes.mtuCode);
  return bytes <= mtu ? 1 : Math.ceil(bytes / mtu);
};

// ---- sends and writes -----------------------------------------------------------------------------------------------

/** Payload of the packet in hand behind `headers` bytes of extended headers; -1 if its length is not that of its place (9.7.4.1.6). */
function payloadOf(qp: QueuePair, place: number, headers: number): number {
  const bytes = packet.bodyBytes - headers;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  if (place === Place.FIRST || place === Place.MIDDLE) return bytes === mtu ? bytes : -1;
  if (place === Place.LAST || place === Place.LAST_IMM) return bytes > 0 && bytes <= mtu ? bytes : -1;
  return bytes >= 0 && bytes <= mtu ? bytes : -1;
}

const startsMessage = (place: number): boolean => place === Place.FIRST || place >= Place.ONLY;
const endsMessage = (place: number): boolean => place >= Place.LAST;
const hasImmediate = (place: number): boolean => place === Place.LAST_IMM || place === Place.ONLY_IMM;

function receiveSend(qp: QueuePair, c: Connection, place: number): void {
  const headers = hasImmediate(place) ? IMMEDIATE_BYTES : 0;
  const payload = payloadOf(qp, place, headers);
  const isInOrder = startsMessage(place) === (c.arriving === Arriving.NOTHING) && c.arriving !== Arriving.WRITE;
  if (payload < 0 || !isInOrder) {
    invalidRequest(qp, c);
    return;
  }
  if (startsMessage(place)) {
    if (!takeReceive(qp, c) || !isReceiveAllowed(qp, c)) return;
    c.arriving = Arriving.SEND;
    c.arrived = 0;
  }
  if (c.arrived + payload > qp.receiveList.total) {
    tooLong(qp, c);
    return;
  }
  party.set(qp.adapter.regions, receivePd(qp), Access.LOCAL_WRITE);
  if (!scatterBytes(packet.memory, packet.bodyAt + headers, qp.receiveList, party, payload)) {
    failReceive(qp, c, Syndrome.LOCAL_PROTECTION, NakCode.REMOTE_OPERATIONAL);
    return;
  }
  c.arrived += payload;
  if (endsMessage(place)) finish(qp, c, hasImmediate(place) ? Operation.SEND_ONLY_IMM : Operation.SEND_ONLY);
  else accept(qp, c, 1);
}

const receivePd = (qp: QueuePair): number => (qp.setup.srq === undefined ? qp.pd : qp.setup.srq.pd);

/** Takes the receive WQE for the message that begins. False if that ends here: RNR, or an error of the WQE. */
function takeReceive(qp: QueuePair, c: Connection): boolean {
  // A UC message that lost its end has left its WQE.
  if (!qp.isReceiving) {
    const status = qp.takeReceive();
    if (status < 0) {
      notReady(qp, c);
      return false;
    }
    if (status > 0) {
      failReceive(qp, c, status, NakCode.REMOTE_OPERATIONAL);
      return false;
    }
  }
  return true;
}

/** Checks the memory of the receive WQE; a write with immediate data does not touch it. */
function isReceiveAllowed(qp: QueuePair, c: Connection): boolean {
  if (qp.receiveList.isAllowed(qp.adapter.regions, receivePd(qp), Access.LOCAL_WRITE)) return true;
  failReceive(qp, c, Syndrome.LOCAL_PROTECTION, NakCode.REMOTE_OPERATIONAL);
  return false;
}

/** RNR NAK: the requester tries again after the timer it names (9.7.5.2.8); UC loses the message. */
function notReady(qp: QueuePair, c: Connection): void {
  if (qp.service === Service.UC) {
    qp.adapter.counters[AdapterCounter.droppedNoReceive]! += 1;
    c.arriving = Arriving.NOTHING;
    qp.expectedPsn = add24(packet.psn, 1);
    return;
  }
  c.hasNaked = true;
  owe(qp, c, (AethKind.RNR_NAK << SYNDROME_SHIFT) | qp.attributes.minRnrTimer, packet.psn);
}

function receiveWrite(qp: QueuePair, c: Connection, place: number): void {
  const reth = startsMessage(place) ? RETH_BYTES : 0;
  const headers = reth + (hasImmediate(place) ? IMMEDIATE_BYTES : 0);
  const payload = payloadOf(qp, place, headers);
  const isInOrder = startsMessage(place) === (c.arriving === Arriving.NOTHING) && c.arriving !== Arriving.SEND;
  if (payload < 0 || !isInOrder) {
    invalidRequest(qp, c);
    return;
  }
  if (startsMessage(place) && !beginWrite(qp, c)) return;
  const isEnd = endsMessage(place);
  const arrived = c.arrived + payload;
  if (arrived > c.length || isEnd !== (arrived === c.length)) {
    invalidRequest(qp, c);
    return;
  }
  if (hasImmediate(place) && !takeReceive(qp, c)) return;
  if (!writeRemote(qp, c, packet.bodyAt + headers, payload)) {
    remoteAccessError(qp, c, hasImmediate(place));
    return;
  }
  c.arrived = arrived;
  c.arriving = Arriving.WRITE;
  if (!isEnd) {
    accept(qp, c, 1);
    return;
  }
  if (hasImmediate(place)) {
    finish(qp, c, Operation.WRITE_ONLY_IMM);
    return;
  }
  c.arriving = Arriving.NOTHING;
  qp.messageCount = add24(qp.messageCount, 1);
  accept(qp, c, 1);
}

/** Reads the RETH of a write and checks what it asks for (9.7.4.1.5). False if that ends here. */
function beginWrite(qp: QueuePair, c: Connection): boolean {
  if (!qp.attributes.allowsRemoteWrite) {
    invalidRequest(qp, c);
    return false;
  }
  const isOnly = packet.opcode % UC_BASE >= Operation.WRITE_ONLY;
  if (!readReth(qp, Access.REMOTE_WRITE)) {
    remoteAccessError(qp, c, isOnly && hasImmediate((packet.opcode % UC_BASE) - Operation.WRITE_FIRST));
    return false;
  }
  c.rkey = reth.rkey;
  c.remoteHi = reth.hi;
  c.remoteLo = reth.lo;
  c.length = reth.length;
  c.arrived = 0;
  return true;
}

/** Reads the RETH of the packet in hand. True if its range is empty or lies where the peer may go. */
function readReth(qp: QueuePair, access: number): boolean {
  const { view } = packet.memory;
  const at = packet.bodyAt;
  reth.hi = view.getInt32(at, false);
  reth.lo = view.getInt32(at + 4, false);
  reth.rkey = view.getInt32(at + 8, false);
  reth.length = view.getInt32(at + 12, false);
  if (reth.length < 0) return false;
  if (reth.length === 0) return true;
  range.setRemote(reth.rkey, reth.hi, reth.lo, reth.length);
  return range.isAllowed(qp.adapter.regions, qp.pd, access);
}

function writeRemote(qp: QueuePair, c: Connection, at: number, bytes: number): boolean {
  if (bytes === 0) return true;
  range.setRemote(c.rkey, c.remoteHi, c.remoteLo, c.length);
  range.skip(c.arrived);
  party.set(qp.adapter.regions, qp.pd, Access.REMOTE_WRITE);
  return scatterBytes(packet.memory, at, range, party, bytes);
}

/** The message is whole: its receive WQE completes. */
function finish(qp: QueuePair, c: Connection, operation: number): void {
  const isWrite = operation === Operation.WRITE_ONLY_IMM;
  const immediateAt = packet.bodyAt + (isWrite && packet.opcode % UC_BASE >= Operation.WRITE_ONLY ? RETH_BYTES : 0);
  const immediate = operation === Operation.SEND_ONLY ? 0 : packet.memory.view.getInt32(immediateAt, false);
  const opcode = qp.service === Service.UC ? UC_BASE | operation : operation;
  completeReceive(qp, 0, 0, immediate, c.arrived, opcode, packet.isSolicited);
  c.arriving = Arriving.NOTHING;
  qp.messageCount = add24(qp.messageCount, 1);
  accept(qp, c, 1);
}

/** The packet was executed: the next one is expected, and an ACK is owed if it asks for one. */
function accept(qp: QueuePair, c: Connection, packets: number): void {
  const psn = packet.psn;
  qp.expectedPsn = add24(psn, packets);
  if (packet.wantsAck && qp.service === Service.RC) owe(qp, c, ACK_SYNDROME, psn);
}

// ---- reads and atomics ----------------------------------------------------------------------------------------------

function receiveReadRequest(qp: QueuePair, c: Connection): void {
  if (packet.bodyBytes !== RETH_BYTES || c.arriving !== Arriving.NOTHING || !qp.attributes.allowsRemoteRead) {
    invalidRequest(qp, c);
    return;
  }
  if (!readReth(qp, Access.REMOTE_READ)) {
    remoteAccessError(qp, c, false);
    return;
  }
  if (!oweRead(qp, c)) return;
  qp.expectedPsn = add24(packet.psn, packetsOf(qp, reth.length));
  qp.messageCount = add24(qp.messageCount, 1);
}

/** Queues the answer to the read in hand. False if the peer has asked for too much at a time: it will ask again. */
function oweRead(qp: QueuePair, c: Connection): boolean {
  const index = c.answers.push();
  if (index < 0) {
    qp.adapter.counters[AdapterCounter.droppedBusy]! += 1;
    return false;
  }
  const { answers } = c;
  answers.psn[index] = packet.psn;
  answers.packets[index] = packetsOf(qp, reth.length);
  answers.isAtomic[index] = 0;
  answers.rkey[index] = reth.rkey;
  answers.hi[index] = reth.hi;
  answers.lo[index] = reth.lo;
  answers.bytes[index] = reth.length;
  getTurn(qp, c);
  return true;
}

/** Compare & swap and fetch & add on 8 aligned bytes in host byte order (9.4.5; docs "infinihost" 5.5.4). */
function receiveAtomic(qp: QueuePair, c: Connection, operation: number): void {
  const { view } = packet.memory;
  const at = packet.bodyAt;
  const isSound = packet.bodyBytes === ATOMIC_ETH_BYTES && c.arriving === Arriving.NOTHING;
  if (!isSound || !qp.attributes.allowsRemoteAtomic || (view.getInt32(at + 4, false) & 7) !== 0) {
    invalidRequest(qp, c);
    return;
  }
  range.setRemote(view.getInt32(at + 8, false), view.getInt32(at, false), view.getInt32(at + 4, false), ATOMIC_BYTES);
  party.set(qp.adapter.regions, qp.pd, Access.REMOTE_ATOMIC);
  const isThere =
    range.isAllowed(qp.adapter.regions, qp.pd, Access.REMOTE_ATOMIC) && gatherBytes(range, party, word, 0, ATOMIC_BYTES);
  if (!isThere) {
    remoteAccessError(qp, c, false);
    return;
  }
  const lo = word.view.getInt32(0, true);
  const hi = word.view.getInt32(4, true);
  if (operation === Operation.FETCH_ADD) add(hi, lo, view, at + 12);
  else swap(hi, lo, view, at + 12);
  range.rewind();
  if (!scatterBytes(word, 0, range, party, ATOMIC_BYTES)) {
    remoteAccessError(qp, c, false);
    return;
  }
  c.results.keep(packet.psn, hi, lo);
  qp.messageCount = add24(qp.messageCount, 1);
  qp.expectedPsn = add24(packet.psn, 1);
  oweAtomic(qp, c, packet.psn, hi, lo);
}

/** The new value of a fetch & add, into `word`. */
function add(hi: number, lo: number, view: DataView, at: number): void {
  const sum = (lo >>> 0) + view.getUint32(at + 4, false);
  word.view.setInt32(0, sum | 0, true);
  word.view.setInt32(4, (hi + view.getInt32(at, false) + (sum >= 2 ** 32 ? 1 : 0)) | 0, true);
}

/** The new value of a compare & swap: the old one if it is not what the peer compares with. */
function swap(hi: number, lo: number, view: DataView, at: number): void {
  if (hi !== view.getInt32(at + 8, false) || lo !== view.getInt32(at + 12, false)) return;
  word.view.setInt32(0, view.getInt32(at + 4, false), true);
  word.view.setInt32(4, view.getInt32(at, false), true);
}

function oweAtomic(qp: QueuePair, c: Connection, psn: number, hi: number, lo: number): void {
  const index = c.answers.push();
  if (index < 0) return;
  const { answers } = c;
  answers.psn[index] = psn;
  answers.packets[index] = 1;
  answers.isAtomic[index] = 1;
  answers.hi[index] = hi;
  answers.lo[index] = lo;
  getTurn(qp, c);
}

// ---- errors ---------------------------------------------------------------------------------------------------------

const nakOf = (code: number): number => (AethKind.NAK << SYNDROME_SHIFT) | code;

/** Responder class B or C for RC; a UC responder drops the message (9.9.3.1). */
function invalidRequest(qp: QueuePair, c: Connection): void {
  if (qp.service === Service.UC) {
    dropUnreliable(qp, c);
    return;
  }
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  owe(qp, c, nakOf(NakCode.INVALID_REQUEST), packet.psn);
  qp.fail(EventType.WQ_INVALID_REQUEST);
}

function dropUnreliable(qp: QueuePair, c: Connection): void {
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  qp.expectedPsn = add24(packet.psn, 1);
  if (qp.isReceiving) qp.returnReceive();
}

function remoteAccessError(qp: QueuePair, c: Connection, isImmediate: boolean): void {
  if (qp.service === Service.UC) {
    dropUnreliable(qp, c);
    return;
  }
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  // The receive WQE that the immediate data would have completed fails with "local access error" (11.6.2).
  if (isImmediate && (qp.isReceiving || qp.takeReceive() >= 0)) completeReceiveError(qp, Syndrome.LOCAL_ACCESS);
  owe(qp, c, nakOf(NakCode.REMOTE_ACCESS), packet.psn);
  qp.fail(EventType.WQ_ACCESS_VIOLATION);
}

/** The receive WQE in hand fails, and the queue pair with it; the requester learns `code`. */
function failReceive(qp: QueuePair, c: Connection, syndrome: number, code: number): void {
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  completeReceiveError(qp, syndrome);
  if (qp.service === Service.RC) owe(qp, c, nakOf(code), packet.psn);
  qp.enterError();
}

/** The message is longer than its receive WQE: class C for RC, D1 for UC (9.9.3.1). */
function tooLong(qp: QueuePair, c: Connection): void {
  if (qp.service === Service.RC) {
    failReceive(qp, c, Syndrome.LOCAL_LENGTH, NakCode.INVALID_REQUEST);
    return;
  }
  qp.adapter.counters[AdapterCounter.droppedTooLong]! += 1;
  c.arriving = Arriving.NOTHING;
  qp.expectedPsn = add24(packet.psn, 1);
  if (qp.setup.srq !== undefined) completeReceiveError(qp, Syndrome.LOCAL_LENGTH);
  qp.returnReceive();
}

// ---- what is owed ---------------------------------------------------------------------------------------------------

/** An ACK or NAK goes out once what was asked for before is answered; a later one covers it. A NAK is not covered by an ACK. */
function owe(qp: QueuePair, c: Connection, syndrome: number, psn: number): void {
  c.owesAck = true;
  c.ackSyndrome = syndrome;
  c.ackPsn = psn;
  getTurn(qp, c);
}

function getTurn(qp: QueuePair, c: Connection): void {
  if (c.isReplying) return;
  c.isReplying = true;
  qp.adapter.addReplying(qp);
}

/** Sends what the queue pairs of an adapter owe their peers, as far as there is room. Returns work done. */
export function runReplies(adapter: Adapter): number {
  const { replying } = adapter;
  let work = 0;
  for (let i = replying.length - 1; i >= 0; i--) {
    const qp = replying[i]!;
    work += reply(qp);
    if (qp.connection!.isReplying) continue;
    const last = replying.pop()!;
    if (last !== qp) replying[i] = last;
  }
  return work;
}

function reply(qp: QueuePair): number {
  const c = qp.connection!;
  let work = 0;
  laneOf(qp);
  while (c.answers.count > 0 && work < REPLY_TURN_BYTES) {
    const sent = sendAnswer(qp, c);
    if (sent < 0) return work;
    work += sent;
  }
  if (c.answers.count > 0) return work;
  if (c.owesAck && !sendAcknowledge(qp, c)) return work;
  c.isReplying = false;
  return work + REPLY_COST_BYTES;
}

function sendAcknowledge(qp: QueuePair, c: Connection): boolean {
  if (c.lane !== undefined) {
    const opcode = bthOpcode(OpcodeTransport.RC, Operation.ACKNOWLEDGE);
    const at = beginPacket(c.lane, qp, opcode, c.ackPsn, false, false, AETH_BYTES);
    if (at < 0) return false;
    c.lane.memory.view.setInt32(at, (c.ackSyndrome << 24) | qp.messageCount, false);
    c.lane.commit(LaneTag.DATA);
  }
  c.owesAck = false;
  return true;
}

/** Sends the next packet of the oldest answer; work done, or -1 if there is no room. */
function sendAnswer(qp: QueuePair, c: Connection): number {
  const { answers, lane } = c;
  const index = answers.first;
  if (lane === undefined) {
    answers.shift();
    return REPLY_COST_BYTES;
  }
  const bytes = answers.isAtomic[index] === 1 ? sendAtomicResult(qp, c, index) : sendReadData(qp, c, index);
  if (bytes < 0) return -1;
  answers.sent[index] = answers.sent[index]! + 1;
  if (answers.sent[index] === answers.packets[index]) answers.shift();
  return REPLY_COST_BYTES + bytes;
}

function sendAtomicResult(qp: QueuePair, c: Connection, index: number): number {
  const { answers } = c;
  const lane = c.lane!;
  const opcode = bthOpcode(OpcodeTransport.RC, Operation.ATOMIC_ACKNOWLEDGE);
  const at = beginPacket(lane, qp, opcode, answers.psn[index]!, false, false, AETH_BYTES + ATOMIC_ACK_BYTES);
  if (at < 0) return -1;
  const { view } = lane.memory;
  view.setInt32(at, (ACK_SYNDROME << 24) | qp.messageCount, false);
  view.setInt32(at + AETH_BYTES, answers.hi[index]!, false);
  view.setInt32(at + AETH_BYTES + 4, answers.lo[index]!, false);
  lane.commit(LaneTag.DATA);
  return ATOMIC_ACK_BYTES;
}

/** The next packet of a read's answer (9.7.5.1.2): the first and the last carry an AETH. */
function sendReadData(qp: QueuePair, c: Connection, index: number): number {
  const { answers } = c;
  const lane = c.lane!;
  const mtu = mtuBytes(qp.attributes.mtuCode);
  const sent = answers.sent[index]!;
  const isLast = sent === answers.packets[index]! - 1;
  const total = answers.bytes[index]!;
  const payload = isLast ? total - sent * mtu : mtu;
  const operation = readOperation(sent === 0, isLast);
  const aeth = operation === Operation.READ_RESPONSE_MIDDLE ? 0 : AETH_BYTES;
  const psn = add24(answers.psn[index]!, sent);
  const at = beginPacket(lane, qp, bthOpcode(OpcodeTransport.RC, operation), psn, false, false, aeth + payload);
  if (at < 0) return -1;
  const { view } = lane.memory;
  if (aeth > 0) view.setInt32(at, (ACK_SYNDROME << 24) | qp.messageCount, false);
  range.setRemote(answers.rkey[index]!, answers.hi[index]!, answers.lo[index]!, total);
  range.skip(sent * mtu);
  party.set(qp.adapter.regions, qp.pd, Access.REMOTE_READ);
  if (!gatherBytes(range, party, lane.memory, at + aeth, payload)) {
    failAnswer(qp, c, psn);
    return 0;
  }
  for (let i = padOf(aeth + payload) - 1; i >= 0; i--) view.setUint8(at + aeth + payload + i, 0);
  lane.commit(LaneTag.DATA);
  return payload;
}

const readOperation = (isFirst: boolean, isLast: boolean): number =>
  isFirst
    ? isLast
      ? Operation.READ_RESPONSE_ONLY
      : Operation.READ_RESPONSE_FIRST
    : isLast
      ? Operation.READ_RESPONSE_LAST
      : Operation.READ_RESPONSE_MIDDLE;

/** The memory of a read has gone while it was answered: NAK in place of the next response (9.7.5.2.4). */
function failAnswer(qp: QueuePair, c: Connection, psn: number): void {
  c.answers.clear();
  c.answers.push();
  c.answers.packets[c.answers.first] = 1;
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  owe(qp, c, nakOf(NakCode.REMOTE_ACCESS), psn);
  qp.fail(EventType.WQ_ACCESS_VIOLATION);
}
