// Queue pairs as plain values. Nothing here changes a QP: its records are read, but what they say is left to the engine to judge.
// Docs "infinihost" 4.1, 5.2; IBA vol 1, 9.6.1, 10.3.

import { describeRecord } from "../../base/inspect.ts";
import { nameOf } from "../../base/names.ts";
import { AddressPath, ALTERNATE_PATH_AT, PathMigration, PRIMARY_PATH_AT, QpContext } from "../../spec/hca/contexts.ts";
import { SendOpcode } from "../../spec/hca/queues.ts";
import { QpState, Service } from "../../spec/ib/numbers.ts";
import type { Adapter } from "../../transport/adapter.ts";
import type { DoorbellRecord } from "../../transport/doorbell-record.ts";
import { type QueuePair, Waiting } from "../../transport/queue-pair.ts";
import { findPeer, peerProblem } from "./peer.ts";
import { describeReceives, describeSends } from "./rings.ts";
import type { QpDetails, QpView, RingView } from "./views.ts";

/** Infinite RNR retries (IBA vol 1, 9.7.5.2.8). */
const RNR_FOREVER = 7;

export function qpView(qp: QueuePair, nowNs: number): QpView {
  const { setup, attributes } = qp;
  const isWaiting = qp.waitsFor !== Waiting.NO;
  return {
    number: qp.number,
    special: qp.number === qp.port.smiQpn ? "SMI" : qp.number === qp.port.gsiQpn ? "GSI" : undefined,
    service: nameOf(Service, qp.service),
    state: nameOf(QpState, qp.state),
    port: qp.port.number,
    pd: qp.pd,
    uar: setup.uar,
    sendCq: setup.sendCq.number,
    receiveCq: setup.receiveCq.number,
    srq: setup.srq?.number,
    remote: qp.isDatagram || qp.state === QpState.INIT ? undefined : { qpn: attributes.remoteQpn, lid: attributes.rlid },
    send: ringView(setup.sqRecord, setup.logSqSize, qp.sqHead),
    receive: setup.srq === undefined ? ringView(setup.rqRecord, setup.logRqSize, qp.rqHead) : undefined,
    sendPsn: qp.oldestPsn,
    receivePsn: qp.expectedPsn,
    retriesLeft: qp.service === Service.RC ? limited(attributes.ackTimeout === 0, qp.retriesLeft) : undefined,
    rnrRetriesLeft: qp.service === Service.RC ? limited(attributes.rnrRetry === RNR_FOREVER, qp.rnrRetriesLeft) : undefined,
    waitsFor: nameOf(Waiting, qp.waitsFor),
    waitsNs: isWaiting ? Math.max(0, qp.deadlineNs - nowNs) : undefined,
    isActive: qp.isActive,
  };
}

const limited = (isForever: boolean, left: number): number | "no limit" => (isForever ? "no limit" : left);

const ringView = (record: DoorbellRecord, logSize: number, head: number): RingView => ({
  size: 2 ** logSize,
  head,
  posted: (record.counter(head) - head) & 0xffff,
});

/** @param nameOfHca names the HCA at the other end */
export function qpDetails(qp: QueuePair, nowNs: number, nameOfHca: (adapter: Adapter) => string): QpDetails {
  const peer = findPeer(qp);
  return {
    ...qpView(qp, nowNs),
    context: describeRecord(QpContext, qp.context, qp.contextAt),
    primaryPath: describeRecord(AddressPath, qp.context, qp.contextAt + PRIMARY_PATH_AT),
    alternatePath: describeRecord(AddressPath, qp.context, qp.contextAt + ALTERNATE_PATH_AT),
    live: {
      migration: nameOf(PathMigration, qp.migration),
      messages: qp.messageCount,
      isReceiving: qp.isReceiving,
      isTransferring: qp.isTransferring,
      receiveOffset: qp.receiveOffset >>> 0,
    },
    inHand: qp.isTransferring
      ? {
          opcode: nameOf(SendOpcode, qp.wqeOpcode),
          offset: qp.wqeOffset >>> 0,
          doneBytes: qp.done,
          totalBytes: qp.sendList.total,
        }
      : undefined,
    sends: describeSends(qp),
    receives: qp.setup.srq === undefined ? describeReceives(qp) : [],
    peer:
      peer === undefined
        ? undefined
        : {
            hca: nameOfHca(peer.adapter),
            number: peer.number,
            service: nameOf(Service, peer.service),
            state: nameOf(QpState, peer.state),
            receivePsn: peer.expectedPsn,
          },
    peerProblem: peerProblem(qp),
  };
}
