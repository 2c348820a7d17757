// The send side of a queue pair: fetch a WQE, carry it out, complete it. IBA vol 1, 9.7.3-9.7.6, 9.9.2, 10.7;
// docs "infinihost" 5.2, 5.5. One WQE of a QP is in hand at a time, so completions are in order and fences hold by themselves.

import { Access, PathMigration } from "../spec/hca/contexts.ts";
import {
  ATOMIC_SEGMENT_BYTES,
  EventType,
  REMOTE_ADDRESS_BYTES,
  SendOpcode,
  Syndrome,
  WQE_NEXT_BYTES,
  WQE_UNIT_BYTES,
} from "../spec/hca/queues.ts";
import { ackTimeoutNs, QpState, RNR_TIMER_NS, Service } from "../spec/ib/numbers.ts";
import { completeSend, completeSendError } from "./completion.ts";
import { executeConnected } from "./connected.ts";
import { AdapterCounter } from "./counters.ts";
import { executeDatagram } from "./datagram.ts";
import { flushQueues } from "./flush.ts";
import { migrate } from "./path-migration.ts";
import { type QueuePair, Waiting } from "./queue-pair.ts";
import { executeManagement } from "./special.ts";
import { Outcome } from "./status.ts";

/** Work of one WQE that moves nothing, in the bytes that take as long; keeps turns of small and large messages alike. */
const WQE_COST_BYTES = 512;
/** What a QP may do before the next one has its turn. */
export const TURN_BYTES = 64 * 1024;
/** Infinite RNR retries (9.7.5.2.8). */
const RNR_FOREVER = 7;
/** How long to wait before asking again when the QP has no ACK timeout. */
const NO_TIMEOUT_NS = 100e6;

/** What an atomic returns. */
const ATOMIC_BYTES = 8;

const OPCODE_MASK = 0x1f;
const SIZE_MASK = 0x3f;

/**
 * Gives the QP a turn.
 * @returns work done, in bytes; the QP has been put back among the active ones if there is more
 */
export function runSendQueue(qp: QueuePair, nowNs: number): number {
  if (qp.state === QpState.ERR || qp.state === QpState.SQE) return flushQueues(qp);
  if (qp.state !== QpState.RTS && qp.state !== QpState.SQ_DRAINING) return 0;
  let work = 0;
  while (work < TURN_BYTES) {
    if (!qp.isTransferring) {
      if (qp.state === QpState.SQ_DRAINING) {
        finishDrain(qp);
        return work;
      }
      if (qp.sqHead === qp.sqPosted && !qp.refreshPosted()) return work;
    }
    const doneBefore = qp.isTransferring ? qp.done : 0;
    const outcome = execute(qp);
    work += WQE_COST_BYTES + qp.done - doneBefore;
    if (outcome === Outcome.DONE) continue;
    if (outcome === Outcome.MORE) break;
    if (outcome === Outcome.ERROR) {
      failSend(qp, qp.syndrome);
      return work;
    }
    wait(qp, outcome, nowNs);
    return work;
  }
  qp.adapter.activate(qp);
  return work;
}

/** Looks at a waiting QP: has what it waits for happened, or has its time passed? Returns work done. */
export function runWaiting(qp: QueuePair, nowNs: number): number {
  if (qp.state === QpState.ERR) return flushQueues(qp);
  if (qp.waitsFor === Waiting.NO) {
    qp.adapter.removeWaiting(qp);
    return 0;
  }
  if (qp.waitsFor === Waiting.RNR && qp.peer?.hasReceive() === true) {
    // The receiver is ready: real hardware would find out when the RNR timer ends; nobody gains by waiting for it.
    resume(qp);
    return 1;
  }
  if (nowNs < qp.deadlineNs) return 0;
  return retry(qp);
}

function resume(qp: QueuePair): void {
  qp.stopWaiting();
  qp.adapter.activate(qp);
}

function retry(qp: QueuePair): number {
  const isRnr = qp.waitsFor === Waiting.RNR;
  const isForever = isRnr ? qp.attributes.rnrRetry === RNR_FOREVER : qp.attributes.ackTimeout === 0;
  const left = isRnr ? qp.rnrRetriesLeft : qp.retriesLeft;
  if (!isForever && left === 0) {
    qp.stopWaiting();
    if (!isRnr && qp.migration === PathMigration.ARMED) {
      migrate(qp);
      qp.adapter.activate(qp);
      return 1;
    }
    failSend(qp, isRnr ? Syndrome.RNR_RETRY : Syndrome.TRANSPORT_RETRY);
    return 1;
  }
  if (!isForever && isRnr) qp.rnrRetriesLeft--;
  else if (!isForever) qp.retriesLeft--;
  resume(qp);
  return 1;
}

function wait(qp: QueuePair, outcome: number, nowNs: number): void {
  if (outcome === Outcome.RNR) {
    qp.adapter.counters[AdapterCounter.rnrWaits]! += 1;
    qp.waitsFor = Waiting.RNR;
    qp.deadlineNs = nowNs + RNR_TIMER_NS[qp.peer?.attributes.minRnrTimer ?? 0]!;
  } else {
    qp.adapter.counters[AdapterCounter.noAnswerWaits]! += 1;
    qp.waitsFor = Waiting.NO_ANSWER;
    const timeoutNs = ackTimeoutNs(qp.attributes.ackTimeout);
    qp.deadlineNs = nowNs + (timeoutNs === Number.POSITIVE_INFINITY ? NO_TIMEOUT_NS : timeoutNs);
  }
  qp.adapter.addWaiting(qp);
}

function finishDrain(qp: QueuePair): void {
  qp.state = QpState.SQD;
  if (qp.wantsDrainedEvent) qp.adapter.events.qpEvent(EventType.SQ_DRAINED, qp.number);
  qp.wantsDrainedEvent = false;
}

/** Carries out the WQE in hand, or the next one. */
function execute(qp: QueuePair): number {
  if (!qp.isTransferring) {
    qp.done = 0;
    qp.syndrome = fetch(qp);
    if (qp.syndrome !== 0) return Outcome.ERROR;
  }
  if (qp.wqeOpcode === SendOpcode.NOP) {
    completeSend(qp, 0);
    return Outcome.DONE;
  }
  switch (qp.service) {
    case Service.RC:
    case Service.UC:
      return executeConnected(qp);
    case Service.UD:
      return executeDatagram(qp);
    case Service.MLX:
      return executeManagement(qp);
    default:
      qp.syndrome = Syndrome.LOCAL_QP_OPERATION;
      return Outcome.ERROR;
  }
}

/**
 * Reads the next WQE: opcode and size from the slot before it (5.2.2), control and segments from its own. Every value is read
 * once. Returns 0 or a syndrome.
 */
function fetch(qp: QueuePair): number {
  const { wqes } = qp;
  qp.prepareSendList();
  qp.wqeOffset = qp.sendOffset(qp.sqHead);
  if (!wqes.locate(qp.sendOffset(qp.sqHead - 1), WQE_NEXT_BYTES)) return Syndrome.LOCAL_PROTECTION;
  qp.wqeOpcode = wqes.memory.view.getInt32(wqes.at, false) & OPCODE_MASK;
  const bytes = (wqes.memory.view.getInt32(wqes.at + 4, false) & SIZE_MASK) * WQE_UNIT_BYTES;
  if (bytes < WQE_NEXT_BYTES || bytes > 1 << qp.setup.logSqStride) return Syndrome.LOCAL_QP_OPERATION;
  qp.wqeBytes = bytes;
  if (!wqes.locate(qp.wqeOffset, bytes)) return Syndrome.LOCAL_PROTECTION;
  const { memory, at } = wqes;
  qp.wqeControl = memory.view.getInt32(at + 8, false);
  qp.wqeImmediate = memory.view.getInt32(at + 12, false);
  if (qp.isDatagram || qp.wqeOpcode === SendOpcode.NOP) return 0;
  return fetchConnected(qp, at + WQE_NEXT_BYTES, at + bytes);
}

/** Segments of an RC or UC request: remote address, atomic operands, data. */
function fetchConnected(qp: QueuePair, at: number, end: number): number {
  const { memory } = qp.wqes;
  const isSend = qp.wqeOpcode === SendOpcode.SEND || qp.wqeOpcode === SendOpcode.SEND_IMM;
  if (!isSend && !mayRequest(qp)) return qp.wqeOpcode === SendOpcode.BIND_MW ? Syndrome.MW_BIND : Syndrome.LOCAL_QP_OPERATION;
  let data = at;
  if (!isSend) {
    if (data + REMOTE_ADDRESS_BYTES > end) return Syndrome.LOCAL_QP_OPERATION;
    qp.remoteHi = memory.view.getInt32(data, false);
    qp.remoteLo = memory.view.getInt32(data + 4, false);
    qp.rkey = memory.view.getInt32(data + 8, false);
    data += REMOTE_ADDRESS_BYTES;
  }
  if (qp.wqeOpcode === SendOpcode.ATOMIC_CS || qp.wqeOpcode === SendOpcode.ATOMIC_FA) {
    if (data + ATOMIC_SEGMENT_BYTES > end) return Syndrome.LOCAL_QP_OPERATION;
    qp.atomicSwapHi = memory.view.getInt32(data, false);
    qp.atomicSwapLo = memory.view.getInt32(data + 4, false);
    qp.atomicCompareHi = memory.view.getInt32(data + 8, false);
    qp.atomicCompareLo = memory.view.getInt32(data + 12, false);
    data += ATOMIC_SEGMENT_BYTES;
  }
  const status = qp.sendList.decodeSend(memory, data, end);
  if (status !== 0) return status;
  if (qp.sendList.total > qp.attributes.maxMessageBytes) return Syndrome.LOCAL_LENGTH;
  const isScatter = qp.wqeOpcode >= SendOpcode.RDMA_READ;
  if (qp.sendList.isInline) return isScatter ? Syndrome.LOCAL_QP_OPERATION : 0;
  const access = isScatter ? Access.LOCAL_WRITE : Access.LOCAL_READ;
  if (!qp.sendList.isAllowed(qp.adapter.regions, qp.pd, access)) return Syndrome.LOCAL_PROTECTION;
  // Known before anything is sent, whoever is at the other end.
  const hasResult = qp.wqeOpcode > SendOpcode.RDMA_READ;
  return hasResult && qp.sendList.total !== ATOMIC_BYTES ? Syndrome.LOCAL_LENGTH : 0;
}

/** True if the QP may post its WQE in hand, which is no send (11.4.1.1; the context's SRE, SWE and SAE bits). */
function mayRequest(qp: QueuePair): boolean {
  const { attributes, wqeOpcode } = qp;
  switch (wqeOpcode) {
    case SendOpcode.RDMA_WRITE:
    case SendOpcode.RDMA_WRITE_IMM:
      return attributes.sendsWrites;
    case SendOpcode.RDMA_READ:
      return qp.service === Service.RC && attributes.sendsReads;
    case SendOpcode.ATOMIC_CS:
    case SendOpcode.ATOMIC_FA:
      return qp.service === Service.RC && attributes.sendsAtomics;
    default:
      // There are no memory windows, so nothing can be bound; other numbers mean nothing.
      return false;
  }
}

/** The WQE in hand failed: it completes with its syndrome and the queue stops (9.9.2.4). */
function failSend(qp: QueuePair, syndrome: number): void {
  qp.adapter.counters[AdapterCounter.requesterErrors]! += 1;
  completeSendError(qp, syndrome);
  if (qp.service === Service.RC) qp.enterError();
  else qp.enterSendQueueError();
}
