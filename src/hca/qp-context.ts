// The context of a queue pair as its driver sees it: kept for merging, given back with the live values. Docs "infinihost" 4.1.

import { QpContext } from "../spec/hca/contexts.ts";
import type { QueuePair } from "../transport/queue-pair.ts";

/** Makes the 256 bytes at `at` the QP's context. */
export function setContext(qp: QueuePair, view: DataView, at: number): void {
  for (let i = 0; i < QpContext.byteLength; i += 4) qp.context.setInt32(qp.contextAt + i, view.getInt32(at + i));
}

/** Lets the transport see what a transition may have changed. */
export function decodeContext(qp: QueuePair): void {
  qp.attributes.decode(qp.context, qp.contextAt);
}

/** Writes the context with the live values to `out` at `at` (QUERY_QP). */
export function writeContext(qp: QueuePair, out: DataView, at: number): void {
  for (let i = 0; i < QpContext.byteLength; i += 4) out.setInt32(at + i, qp.context.getInt32(qp.contextAt + i));
  QpContext.state.set(out, at, qp.state);
  QpContext.pathMigration.set(out, at, qp.migration);
  QpContext.nextSendPsn.set(out, at, qp.nextPsn);
  QpContext.lastAckedPsn.set(out, at, qp.oldestPsn);
  QpContext.nextReceivePsn.set(out, at, qp.expectedPsn);
  QpContext.responderMsn.set(out, at, qp.messageCount);
  QpContext.retriesLeft.set(out, at, qp.retriesLeft);
  QpContext.rnrRetriesLeft.set(out, at, qp.rnrRetriesLeft);
  QpContext.rqWqeCounter.set(out, at, qp.rqHead);
  QpContext.sqWqeCounter.set(out, at, qp.sqHead);
}
