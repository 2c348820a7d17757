// What comes back to a requester: acknowledgements, NAKs, and answers with data. IBA vol 1, 9.7.5.1 (responses), 9.9.2 (errors).

import { add24, diff24 } from "../../base/seq24.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../spec/hca/queues.ts";
import { Operation } from "../../spec/ib/bth-opcode.ts";
import { AethKind, mtuBytes, NakCode, QpState, RNR_TIMER_NS } from "../../spec/ib/numbers.ts";
import { AdapterCounter } from "../counters.ts";
import { type QueuePair, Waiting } from "../queue-pair.ts";
import { scatterBytes } from "../scatter-list.ts";
import { newParty } from "../scratch.ts";
import type { Connection } from "./connection.ts";
import { AETH_BYTES, ATOMIC_ACK_BYTES, packet } from "./packet.ts";
import { armTimer, completeOldest, failAt, indexOf, retry, rewind, settle } from "./retries.ts";

const party = newParty();

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
  // Who waits for room has a turn when there is some, in order with others.
  if (qp.waitsFor !== Waiting.RNR && qp.state !== QpState.ERR && !qp.isHeldBack) qp.adapter.activate(qp);
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
