// Requests that a responder cannot carry out: what becomes of it, and what the requester hears. IBA vol 1, 9.7.5.2 (NAKs), 9.9.3 (classes).

import { add24 } from "../../base/seq24.ts";
import { EventType, Syndrome } from "../../spec/hca/queues.ts";
import { NakCode, Service } from "../../spec/ib/numbers.ts";
import { completeReceiveError } from "../completion.ts";
import { AdapterCounter } from "../counters.ts";
import type { QueuePair } from "../queue-pair.ts";
import { Arriving, type Connection } from "./connection.ts";
import { packet } from "./packet.ts";
import { nakOf, owe } from "./replies.ts";

/** Responder class B or C for RC; a UC responder drops the message (9.9.3.1). */
export function invalidRequest(qp: QueuePair, c: Connection): void {
  if (qp.service === Service.UC) {
    dropUnreliable(qp, c);
    return;
  }
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  owe(qp, c, nakOf(NakCode.INVALID_REQUEST), packet.psn);
  qp.fail(EventType.WQ_INVALID_REQUEST);
}

export function dropUnreliable(qp: QueuePair, c: Connection): void {
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  qp.expectedPsn = add24(packet.psn, 1);
  if (qp.isReceiving) qp.returnReceive();
}

export function remoteAccessError(qp: QueuePair, c: Connection, isImmediate: boolean): void {
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
export function failReceive(qp: QueuePair, c: Connection, syndrome: number, code: number): void {
  qp.adapter.counters[AdapterCounter.responderErrors]! += 1;
  c.arriving = Arriving.NOTHING;
  completeReceiveError(qp, syndrome);
  if (qp.service === Service.RC) owe(qp, c, nakOf(code), packet.psn);
  qp.enterError();
}

/** The message is longer than its receive WQE: class C for RC, D1 for UC (9.9.3.1). */
export function tooLong(qp: QueuePair, c: Connection): void {
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
