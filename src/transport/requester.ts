// The send side of a queue pair: fetch a WQE, carry it out, complete it. IBA vol 1, 9.7.3-9.7.6, 9.9.2, 10.7;
// docs "infinihost" 5.2, 5.5. One WQE of a QP is in hand at a time, so completions are in order and fences hold by themselves.

import { PathMigration } from "../spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../spec/hca/queues.ts";
import { ackTimeoutNs, QpState, RNR_TIMER_NS, Service } from "../spec/ib/numbers.ts";
import { completeSend } from "./completion.ts";
import { executeConnected } from "./connected.ts";
import { AdapterCounter } from "./counters.ts";
import { executeDatagram } from "./datagram.ts";
import { flushQueues } from "./flush.ts";
import { leavePackets, runPackets } from "./packets/requester.ts";
import { runPacketTimer } from "./packets/retries.ts";
import { connectionOf } from "./packets/route.ts";
import { migrate } from "./path-migration.ts";
import { runPlainRequests } from "./plain-request.ts";
import { type QueuePair, Waiting } from "./queue-pair.ts";
import { failSend, fetch, finishDrain, NO_TIMEOUT_NS, RNR_FOREVER } from "./send-queue.ts";
import { executeManagement } from "./special.ts";
import { Outcome, WQE_COST_BYTES } from "./status.ts";

/**
 * Gives the QP a turn.
 * @param limit about how much work to do, in bytes
 * @returns work done, in bytes; the QP has been put back among the active ones if there is more
 */
export function runSendQueue(qp: QueuePair, nowNs: number, limit: number): number {
  if (qp.state === QpState.ERR || qp.state === QpState.SQE) return flushQueues(qp);
  if (qp.state !== QpState.RTS && qp.state !== QpState.SQ_DRAINING) return 0;
  if (qp.connection?.isRequesting === true && !leavePackets(qp)) return runPackets(qp, nowNs);
  let work = 0;
  while (work < limit) {
    if (!qp.isTransferring) {
      if (qp.state === QpState.SQ_DRAINING) {
        finishDrain(qp);
        return work;
      }
      if (qp.sqHead === qp.sqPosted && !qp.refreshPosted()) return work;
      const done = runPlainRequests(qp, limit - work);
      work += done;
      if (done > 0) continue;
    }
    qp.words?.forgetPart();
    const doneBefore = qp.isTransferring ? qp.done : 0;
    const outcome = execute(qp);
    work += WQE_COST_BYTES + qp.done - doneBefore;
    if (outcome === Outcome.DONE || outcome === Outcome.MORE) continue;
    if (outcome === Outcome.HELD_BACK) return work;
    if (outcome === Outcome.PACKETS) return work + startPackets(qp, nowNs);
    if (outcome === Outcome.ERROR) {
      failSend(qp, qp.syndrome);
      return work;
    }
    wait(qp, outcome, nowNs);
    return work;
  }
  // Who is hot is looked at before the next turns anyway (plain/compiled-requests.ts).
  if (!qp.isHot || qp.isTransferring) qp.adapter.activate(qp);
  return work;
}

/** From the WQE in hand on, the QP's messages go out as packets. */
function startPackets(qp: QueuePair, nowNs: number): number {
  const connection = connectionOf(qp);
  connection.startRequesting(qp.sqHead, qp.nextPsn);
  return runPackets(qp, nowNs);
}

/** Looks at a waiting QP: has what it waits for happened, or has its time passed? Returns work done. */
export function runWaiting(qp: QueuePair, nowNs: number): number {
  if (qp.state === QpState.ERR) return flushQueues(qp);
  if (qp.connection?.isRequesting === true && qp.waitsFor !== Waiting.NO) return runPacketTimer(qp, nowNs);
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

/** Carries out the WQE in hand, or the next one. */
function execute(qp: QueuePair): number {
  if (!qp.isTransferring) {
    qp.done = 0;
    qp.syndrome = fetch(qp, qp.sqHead);
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
