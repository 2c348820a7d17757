// Flushing: every WQE still on a queue in error completes with "flushed", one CQE each (docs "infinihost" 5.5.1, P-9, P-10).

import { Syndrome } from "../spec/hca/queues.ts";
import { QpState } from "../spec/ib/numbers.ts";
import { completeReceiveError, completeSendError } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import type { QueuePair } from "./queue-pair.ts";

/** CQEs written in one turn. */
const FLUSH_PER_TURN = 64;
/** Work of a flush in the bytes that take as long. */
const FLUSH_COST_BYTES = 256;

/** Flushes what is posted on a QP in ERR (both queues) or SQE (send queue). Returns work done. */
export function flushQueues(qp: QueuePair): number {
  let flushed = flushSends(qp, FLUSH_PER_TURN);
  if (qp.state === QpState.ERR) flushed += flushReceives(qp, FLUSH_PER_TURN);
  if (flushed >= FLUSH_PER_TURN) qp.adapter.activate(qp);
  qp.adapter.counters[AdapterCounter.flushed]! += flushed;
  return flushed * FLUSH_COST_BYTES;
}

function flushSends(qp: QueuePair, limit: number): number {
  const posted = qp.setup.sqRecord.counter(qp.sqPosted);
  const ring = 1 << qp.setup.logSqSize;
  if (((posted - qp.sqHead) & 0xffff) <= ring) qp.sqPosted = posted;
  else qp.adapter.counters[AdapterCounter.badIndices]! += 1;
  let count = 0;
  while (count < limit && qp.sqHead !== qp.sqPosted) {
    qp.wqeOffset = qp.sendOffset(qp.sqHead);
    completeSendError(qp, Syndrome.WR_FLUSHED);
    count++;
  }
  return count;
}

function flushReceives(qp: QueuePair, limit: number): number {
  let count = 0;
  if (qp.isReceiving) {
    // A message was arriving into this WQE when the QP failed.
    completeReceiveError(qp, Syndrome.WR_FLUSHED);
    count++;
  }
  const { srq, rqRecord, rqBase, logRqSize, logRqStride } = qp.setup;
  if (srq !== undefined) return count;
  const ring = 1 << logRqSize;
  const available = (rqRecord.counter(qp.rqHead) - qp.rqHead) & 0xffff;
  const toFlush = available <= ring ? available : 0;
  for (let i = 0; i < toFlush && count < limit; i++) {
    qp.receiveOffset = rqBase + ((qp.rqHead & (ring - 1)) << logRqStride);
    qp.rqHead = (qp.rqHead + 1) & 0xffff;
    completeReceiveError(qp, Syndrome.WR_FLUSHED);
    count++;
  }
  return count;
}
