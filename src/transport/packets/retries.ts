// How a requester's messages end: completed, sent again from the first packet that was lost, or failed; and its timers. IBA vol 1, 9.7.6, 9.9.2.

import { diff24 } from "../../base/seq24.ts";
import { PathMigration } from "../../spec/hca/contexts.ts";
import { Syndrome } from "../../spec/hca/queues.ts";
import { ackTimeoutNs, QpState, Service } from "../../spec/ib/numbers.ts";
import { completeSendOf } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import { migrate } from "../path-migration.ts";
import { type QueuePair, Waiting } from "../queue-pair.ts";
import { failSend, finishDrain, NO_TIMEOUT_NS, RNR_FOREVER } from "../send-queue.ts";
import type { Connection } from "./connection.ts";

export function completeOldest(qp: QueuePair, c: Connection): void {
  const { messages } = c;
  const wasAtCursor = messages.cursor === 0;
  const bytes = messages.isAnswered(0) ? messages.bytes(0) : 0;
  completeSendOf(qp, messages.offset(0), messages.opcode(0), messages.control(0), bytes);
  messages.shift();
  if (!wasAtCursor) return;
  c.sent = 0;
  c.inHand = -1;
}

/** The message fails once those before it have completed; those behind it are as if they had never been sent. */
export function failAt(c: Connection, index: number, syndrome: number): void {
  c.messages.count = index + 1;
  c.messages.cursor = index;
  c.syndrome = syndrome;
  c.inHand = -1;
}

/** Index of the message that `psn`, which is under way, belongs to. */
export function indexOf(c: Connection, psn: number): number {
  const { messages } = c;
  let index = messages.count - (c.syndrome === 0 ? 1 : 2);
  while (index > 0 && diff24(psn, messages.psn(index)) < 0) index--;
  return index;
}

/** The next packet to send is that with `psn`. */
export function rewind(c: Connection, psn: number): void {
  const { messages } = c;
  // What cannot be sent waits at the end; what is before it may have got lost.
  if (messages.count === 0 || (c.syndrome !== 0 && messages.count === 1)) return;
  const index = indexOf(c, psn);
  messages.cursor = index;
  c.sent = messages.isAnswered(index) ? 0 : Math.max(0, diff24(psn, messages.psn(index)));
  c.inHand = -1;
}

/** Sends everything that is not acknowledged again, if retries are left; else the oldest message fails (9.7.6.1.1). */
export function retry(qp: QueuePair, c: Connection): void {
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

export function armTimer(qp: QueuePair, nowNs: number): void {
  if (qp.waitsFor === Waiting.ACK && qp.deadlineNs !== 0) return;
  const timeoutNs = ackTimeoutNs(qp.attributes.ackTimeout);
  qp.waitsFor = Waiting.ACK;
  qp.deadlineNs = nowNs + (timeoutNs === Number.POSITIVE_INFINITY ? NO_TIMEOUT_NS : timeoutNs);
  qp.adapter.addWaiting(qp);
}

/** Completes what needs no answer, fails what is due to fail, ends a drain, and sees to the timer. */
export function settle(qp: QueuePair, c: Connection, nowNs: number): void {
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
