// The other end of a connection, found without touching it, and why it would not take requests. The order of the checks is that
// of the transport (transport/connected.ts); IBA vol 1, 9.6.1.

import { hex, nameOf } from "../../base/names.ts";
import { isBefore24 } from "../../base/seq24.ts";
import { QpState, Service } from "../../spec/ib/numbers.ts";
import { pkeysMatch } from "../../transport/port.ts";
import type { QueuePair } from "../../transport/queue-pair.ts";

const isConnected = (qp: QueuePair): boolean => !qp.isDatagram && qp.state !== QpState.INIT;

/** The QP that the context names as the other end, whatever its state. */
export function findPeer(qp: QueuePair): QueuePair | undefined {
  if (!isConnected(qp)) return undefined;
  return qp.port.peer(qp.attributes.rlid)?.adapter.qps.find(qp.attributes.remoteQpn);
}

/** One sentence, or undefined if requests would be accepted (or the QP has no other end). */
export function peerProblem(qp: QueuePair): string | undefined {
  if (!isConnected(qp)) return undefined;
  const { rlid, remoteQpn } = qp.attributes;
  if (!qp.port.isActive) return `port ${qp.port.number} is not ACTIVE`;
  const port = qp.port.peer(rlid);
  // Another engine serves it: nothing of it can be seen from here.
  if (port === undefined && qp.adapter.network.laneAt(qp.port.wire.resolve(rlid)) !== undefined) return undefined;
  if (port === undefined) return `no HCA answers at LID ${rlid}`;
  if (!port.isActive) return `the port at LID ${rlid} is not ACTIVE`;
  const peer = port.adapter.qps.find(remoteQpn);
  if (peer === undefined) return `there is no QP ${hex(remoteQpn)} at LID ${rlid}`;
  return mismatch(qp, peer);
}

function mismatch(qp: QueuePair, peer: QueuePair): string | undefined {
  const { attributes, port } = qp;
  if (peer.service !== qp.service) return `the peer's service is ${nameOf(Service, peer.service)}`;
  if (!peer.canReceive) return `the peer is in ${nameOf(QpState, peer.state)} and takes no packets`;
  const isReliable = qp.service === Service.RC;
  if (isReliable && peer.attributes.remoteQpn !== qp.number)
    return `the peer is connected to QP ${hex(peer.attributes.remoteQpn)}`;
  if (attributes.mtuCode > port.wire.mtuCode) return "the path MTU is larger than the link's";
  const lid = port.wire.lid | attributes.pathBits;
  if (peer.attributes.rlid !== lid) return `the peer expects LID ${peer.attributes.rlid}, not ${lid}`;
  const ours = port.pkey(attributes.pkeyIndex);
  const theirs = peer.port.pkey(peer.attributes.pkeyIndex);
  if (!pkeysMatch(ours, theirs)) return `P_Key ${hex(ours, 4)} does not match the peer's ${hex(theirs, 4)}`;
  // By packets the peer may be ahead of what has been acknowledged.
  const isAhead = isBefore24(qp.oldestPsn, peer.expectedPsn) && !isBefore24(qp.nextPsn, peer.expectedPsn);
  if (!isReliable || peer.expectedPsn === qp.oldestPsn || isAhead) return undefined;
  return `the peer expects PSN ${peer.expectedPsn}, not ${qp.oldestPsn}`;
}
