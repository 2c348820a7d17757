// The raw context of each QP, kept for merging and for QUERY_QP, and its decoding into what the transport reads.
// Docs "infinihost" 4.1.

import { newMemory } from "../base/bytes.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext } from "../spec/hca/contexts.ts";
import type { QueuePair } from "../transport/queue-pair.ts";

const contexts = new WeakMap<QueuePair, DataView>();

/** Remembers a copy of the 256 bytes at `at` as the QP's context. */
export function setContext(qp: QueuePair, view: DataView, at: number): DataView {
  const context = newMemory(QpContext.byteLength).view;
  for (let i = 0; i < QpContext.byteLength; i += 4) context.setInt32(i, view.getInt32(at + i));
  contexts.set(qp, context);
  return context;
}

/** The QP's context as merged so far. */
export function getContext(qp: QueuePair): DataView {
  const context = contexts.get(qp);
  if (context === undefined) throw new Error(`invariant: QP ${qp.number} has no context`);
  return context;
}

/** Decodes what transitions may have changed. */
export function decodeAttributes(qp: QueuePair): void {
  const view = getContext(qp);
  const a = qp.attributes;
  a.pkeyIndex = AddressPath.pkeyIndex.get(view, PRIMARY_PATH_AT);
  a.rlid = AddressPath.rlid.get(view, PRIMARY_PATH_AT);
  a.pathBits = AddressPath.pathBits.get(view, PRIMARY_PATH_AT);
  a.sl = AddressPath.sl.get(view, PRIMARY_PATH_AT);
  a.rnrRetry = AddressPath.rnrRetry.get(view, PRIMARY_PATH_AT);
  a.ackTimeout = AddressPath.ackTimeout.get(view, PRIMARY_PATH_AT);
  a.qkey = QpContext.qkey.get(view, 0) | 0;
  a.mtuCode = QpContext.mtu.get(view, 0);
  a.remoteQpn = QpContext.remoteQpn.get(view, 0);
  a.retryCount = QpContext.retryCount.get(view, 0);
  a.minRnrTimer = QpContext.minRnrTimer.get(view, 0);
  a.allowsRemoteRead = QpContext.remoteRead.get(view, 0) === 1;
  a.allowsRemoteWrite = QpContext.remoteWrite.get(view, 0) === 1;
  a.allowsRemoteAtomic = QpContext.remoteAtomic.get(view, 0) === 1;
}

/** Writes the context with the live values to `out` at `at` (QUERY_QP). */
export function writeContext(qp: QueuePair, out: DataView, at: number): void {
  const context = getContext(qp);
  for (let i = 0; i < QpContext.byteLength; i += 4) out.setInt32(at + i, context.getInt32(i));
  QpContext.state.set(out, at, qp.state);
  QpContext.nextSendPsn.set(out, at, qp.nextPsn);
  QpContext.lastAckedPsn.set(out, at, qp.nextPsn);
  QpContext.nextReceivePsn.set(out, at, qp.expectedPsn);
  QpContext.responderMsn.set(out, at, qp.messageCount);
  QpContext.retriesLeft.set(out, at, qp.retriesLeft);
  QpContext.rnrRetriesLeft.set(out, at, qp.rnrRetriesLeft);
  QpContext.rqWqeCounter.set(out, at, qp.rqHead);
  QpContext.sqWqeCounter.set(out, at, qp.sqHead);
}
