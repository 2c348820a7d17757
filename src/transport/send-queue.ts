// The send queue as every requester sees it, whichever way its messages go: read a WQE, fail it, end a drain. IBA vol 1, 9.9.2, 10.7, 11.4.1.1;
// docs "infinihost" 5.2, 5.5.

import { Access } from "../spec/hca/contexts.ts";
import {
  ATOMIC_SEGMENT_BYTES,
  EventType,
  REMOTE_ADDRESS_BYTES,
  SendOpcode,
  Syndrome,
  WQE_NEXT_BYTES,
  WQE_OPCODE_MASK,
  WQE_SIZE_MASK,
  WQE_UNIT_BYTES,
} from "../spec/hca/queues.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";
import { completeSendError } from "./completion.ts";
import { AdapterCounter } from "./counters.ts";
import type { QueuePair } from "./queue-pair.ts";

/** What a QP may do before the next one of its HCA has its turn. */
export const TURN_BYTES = 64 * 1024;
/** Infinite RNR retries (9.7.5.2.8). */
export const RNR_FOREVER = 7;
/** How long to wait before asking again when the QP has no ACK timeout. */
export const NO_TIMEOUT_NS = 100e6;
/** What an atomic returns. */
const ATOMIC_BYTES = 8;

/**
 * Reads send WQE number `counter`: opcode and size from the slot before it (5.2.2), control and segments from its own. Every value is read
 * once. Returns 0 or a syndrome.
 */
export function fetch(qp: QueuePair, counter: number): number {
  const { wqes } = qp;
  qp.prepareSendList();
  qp.wqeOffset = qp.sendOffset(counter);
  if (!wqes.locate(qp.sendOffset(counter - 1), WQE_NEXT_BYTES)) return Syndrome.LOCAL_PROTECTION;
  qp.wqeOpcode = wqes.memory.view.getInt32(wqes.at, false) & WQE_OPCODE_MASK;
  const bytes = (wqes.memory.view.getInt32(wqes.at + 4, false) & WQE_SIZE_MASK) * WQE_UNIT_BYTES;
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

export function finishDrain(qp: QueuePair): void {
  qp.state = QpState.SQD;
  if (qp.wantsDrainedEvent) qp.adapter.events.qpEvent(EventType.SQ_DRAINED, qp.number);
  qp.wantsDrainedEvent = false;
}

/** The WQE in hand failed: it completes with its syndrome and the queue stops (9.9.2.4). */
export function failSend(qp: QueuePair, syndrome: number): void {
  qp.adapter.counters[AdapterCounter.requesterErrors]! += 1;
  completeSendError(qp, syndrome);
  if (qp.service === Service.RC) qp.enterError();
  else qp.enterSendQueueError();
}
