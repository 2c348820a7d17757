// What a responder owes its peer: answers to reads and atomics first, then one ACK or NAK. IBA vol 1, 9.7.5.1, 9.7.5.2.

import { add24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { EventType } from "../../spec/hca/queues.ts";
import { bthOpcode, OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import { AethKind, mtuBytes, NakCode } from "../../spec/ib/numbers.ts";
import type { Adapter } from "../adapter.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { gatherBytes, ScatterList } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import type { Connection } from "./connection.ts";
import { AETH_BYTES, ATOMIC_ACK_BYTES, beginPacket, LaneTag, padOf } from "./packet.ts";
import { laneOf } from "./route.ts";

export const SYNDROME_SHIFT = 5;

/** An ACK that says nothing about credits (9.7.7.2.1). */
export const ACK_SYNDROME = (AethKind.ACK << SYNDROME_SHIFT) | 0x1f;

/** Bytes of answers sent before others have a turn. */
const REPLY_TURN_BYTES = 64 * 1024;
const REPLY_COST_BYTES = 512;
const party = newParty();
const range = new ScatterList(1);

export const nakOf = (code: number): number => (AethKind.NAK << SYNDROME_SHIFT) | code;

/** An ACK or NAK goes out once what was asked for before is answered; a later one covers it. A NAK is not covered by an ACK. */
export function owe(qp: QueuePair, c: Connection, syndrome: number, psn: number): void {
  c.owesAck = true;
  c.ackSyndrome = syndrome;
  c.ackPsn = psn;
  getTurn(qp, c);
}

export function getTurn(qp: QueuePair, c: Connection): void {
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
