// The only writers of work completions, so that "exactly one CQE per WQE" has one place. Docs "infinihost" 5.5.1, 5.6.

import { Syndrome } from "../spec/hca/queues.ts";
import { PortCounter, RCV_DATA_SL } from "../spec/ib/port-counters.ts";
import { AdapterCounter } from "./counters.ts";
import type { AdapterPort } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";

/** Bit 3 of a send WQE's control dword: generate a CQE. */
const SIGNALED = 1 << 3;
/** Bit 1: the receiver's completion is solicited. */
export const SOLICITED = 1 << 1;

/** Which counter an error completion goes to, by syndrome; -1: none of its own ("flushed" is counted where it happens). */
const errorCounters = new Int8Array(256).fill(-1);
errorCounters[Syndrome.LOCAL_LENGTH] = AdapterCounter.localLengthErrors;
errorCounters[Syndrome.LOCAL_QP_OPERATION] = AdapterCounter.localQpOperationErrors;
errorCounters[Syndrome.LOCAL_PROTECTION] = AdapterCounter.localProtectionErrors;
errorCounters[Syndrome.MW_BIND] = AdapterCounter.bindErrors;
errorCounters[Syndrome.LOCAL_ACCESS] = AdapterCounter.localAccessErrors;
errorCounters[Syndrome.REMOTE_INVALID_REQUEST] = AdapterCounter.remoteInvalidRequestErrors;
errorCounters[Syndrome.REMOTE_ACCESS] = AdapterCounter.remoteAccessErrors;
errorCounters[Syndrome.REMOTE_OPERATION] = AdapterCounter.remoteOperationErrors;
errorCounters[Syndrome.TRANSPORT_RETRY] = AdapterCounter.transportRetryErrors;
errorCounters[Syndrome.RNR_RETRY] = AdapterCounter.rnrRetryErrors;

function countError(qp: QueuePair, syndrome: number): void {
  const { counters } = qp.adapter;
  counters[AdapterCounter.completions]! += 1;
  const slot = errorCounters[syndrome & 0xff]!;
  if (slot >= 0) counters[slot]! += 1;
}

/** Completes the send WQE in hand and moves on to the next. `byteCount` counts for reads and atomics only. */
export function completeSend(qp: QueuePair, byteCount: number): void {
  completeSendOf(qp, qp.wqeOffset, qp.wqeOpcode, qp.wqeControl, byteCount);
}

/** Completes the oldest send WQE, of which the caller has kept what is needed. */
export function completeSendOf(qp: QueuePair, offset: number, opcode: number, control: number, byteCount: number): void {
  if (qp.setup.signalAll || (control & SIGNALED) !== 0) {
    qp.setup.sendCq.writeGood(qp.number, 0, 0, 0, byteCount, offset, opcode, true, false);
    qp.adapter.counters[AdapterCounter.completions]! += 1;
  }
  retireSend(qp);
}

/** Completes the send WQE in hand in error, signaled or not. */
export function completeSendError(qp: QueuePair, syndrome: number): void {
  qp.setup.sendCq.writeError(qp.number, syndrome, 0, qp.wqeOffset, true);
  countError(qp, syndrome);
  retireSend(qp);
}

function retireSend(qp: QueuePair): void {
  qp.isTransferring = false;
  qp.sqHead = (qp.sqHead + 1) & 0xffff;
}

/**
 * Completes the receive WQE in hand.
 * @param flags SL, GRH, path bits and source LID as the CQE has them (datagrams; 0 otherwise)
 * @param opcode BTH opcode of the last packet
 */
export function completeReceive(
  qp: QueuePair,
  remoteQpn: number,
  flags: number,
  immediate: number,
  byteCount: number,
  opcode: number,
  isSolicited: boolean,
): void {
  qp.isReceiving = false;
  qp.setup.receiveCq.writeGood(qp.number, remoteQpn, flags, immediate, byteCount, qp.receiveOffset, opcode, false, isSolicited);
  const counters = qp.adapter.counters;
  counters[AdapterCounter.completions]! += 1;
  counters[AdapterCounter.receives]! += 1;
}

/** Completes the receive WQE in hand in error. */
export function completeReceiveError(qp: QueuePair, syndrome: number): void {
  qp.isReceiving = false;
  qp.setup.receiveCq.writeError(qp.number, syndrome, 0, qp.receiveOffset, false);
  countError(qp, syndrome);
}

/** Headers of one packet in 4-byte words: LRH, BTH and ICRC. Extension headers are left out of the estimate. */
const HEADER_WORDS = 6;

/** Counts a message to `dlid` of `bytes` in `packets` packets of service level `sl` at the sending and the receiving port, and between them (PMA, 16.1.3.5). */
export function countTraffic(from: AdapterPort, to: AdapterPort, dlid: number, bytes: number, packets: number, sl: number): void {
  const words = ((bytes + 3) >>> 2) + packets * HEADER_WORDS;
  const sent = from.wire.counters;
  sent[PortCounter.xmitData]! += words;
  sent[PortCounter.xmitPackets]! += packets;
  sent[PortCounter.unicastXmitPackets]! += packets;
  from.wire.slData[sl]! += words;
  const received = to.wire.counters;
  received[PortCounter.rcvData]! += words;
  received[PortCounter.rcvPackets]! += packets;
  received[PortCounter.unicastRcvPackets]! += packets;
  to.wire.slData[RCV_DATA_SL + sl]! += words;
  from.wire.countPath(dlid, sl, words, packets);
}
