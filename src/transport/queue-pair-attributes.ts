// The attributes of a queue pair that transitions change, decoded once from its context and read in the hot path.
// Docs "infinihost" 4.1, 4.1.1.

import { AddressPath, INTER_PACKET_DELAYS, PRIMARY_PATH_AT, QpContext } from "../spec/hca/contexts.ts";

/** Longest message (IBA vol 1, 9.7.7: 2^31 bytes); one less keeps lengths in the int range. */
export const MESSAGE_BYTES_MAX = 0x7fffffff;

export class QueuePairAttributes {
  pkeyIndex = 0;
  qkey = 0;
  mtuCode = 0;
  /** Longest message as requester. */
  maxMessageBytes = MESSAGE_BYTES_MAX;
  remoteQpn = 0;
  rlid = 0;
  pathBits = 0;
  sl = 0;
  /** For lanes that space packets (IBA vol 1, 9.11). */
  interPacketDelay = 0;
  hasGrh = false;
  sgidIndex = 0;
  ackTimeout = 0;
  retryCount = 0;
  rnrRetry = 0;
  minRnrTimer = 0;
  /** As requester: reads, writes and atomics may be posted. */
  sendsReads = false;
  sendsWrites = false;
  sendsAtomics = false;
  /** As responder. */
  allowsRemoteRead = false;
  allowsRemoteWrite = false;
  allowsRemoteAtomic = false;

  /** Takes over what the QP context at `at` says. */
  decode(context: DataView, at: number): void {
    this.#decodePath(context, at + PRIMARY_PATH_AT);
    this.qkey = QpContext.qkey.get(context, at) | 0;
    this.mtuCode = QpContext.mtu.get(context, at);
    const logMaxMessage = QpContext.logMaxMessage.get(context, at);
    this.maxMessageBytes = logMaxMessage >= 31 ? MESSAGE_BYTES_MAX : 2 ** logMaxMessage;
    this.remoteQpn = QpContext.remoteQpn.get(context, at);
    this.retryCount = QpContext.retryCount.get(context, at);
    this.minRnrTimer = QpContext.minRnrTimer.get(context, at);
    this.sendsReads = QpContext.sendReads.get(context, at) === 1;
    this.sendsWrites = QpContext.sendWrites.get(context, at) === 1;
    this.sendsAtomics = QpContext.sendAtomics.get(context, at) === 1;
    this.allowsRemoteRead = QpContext.remoteRead.get(context, at) === 1;
    this.allowsRemoteWrite = QpContext.remoteWrite.get(context, at) === 1;
    this.allowsRemoteAtomic = QpContext.remoteAtomic.get(context, at) === 1;
  }

  #decodePath(context: DataView, at: number): void {
    this.pkeyIndex = AddressPath.pkeyIndex.get(context, at);
    this.rlid = AddressPath.rlid.get(context, at);
    this.pathBits = AddressPath.pathBits.get(context, at);
    this.sl = AddressPath.sl.get(context, at);
    this.interPacketDelay = INTER_PACKET_DELAYS[AddressPath.staticRate.get(context, at)]!;
    this.hasGrh = AddressPath.grh.get(context, at) === 1;
    this.sgidIndex = AddressPath.sgidIndex.get(context, at);
    this.rnrRetry = AddressPath.rnrRetry.get(context, at);
    this.ackTimeout = AddressPath.ackTimeout.get(context, at);
  }
}
