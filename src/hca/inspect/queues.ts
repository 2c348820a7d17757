// Completion queues and shared receive queues as plain values. Docs "infinihost" 4.2, 4.3, 5.6.

import { hex, nameOf } from "../../base/names.ts";
import { CQE_BYTES, CQE_SHIFT, Cqe, CqeError, CqeErrorOpcode, SendOpcode, Syndrome } from "../../spec/hca/queues.ts";
import { CqArm } from "../../spec/hca/registers.ts";
import { OpcodeTransport, Operation } from "../../spec/ib/bth-opcode.ts";
import type { Adapter } from "../../transport/adapter.ts";
import type { CompletionQueue } from "../../transport/completion-queue.ts";
import type { QueuePair } from "../../transport/queue-pair.ts";
import type { SharedReceiveQueue } from "../../transport/shared-receive-queue.ts";
import { describeShared } from "./rings.ts";
import type { CqDetails, CqeView, CqView, SrqDetails, SrqView } from "./views.ts";
import { NOT_MAPPED } from "./work-requests.ts";

const CQES_SHOWN = 8;
/** QPs named as users of a queue. */
const USERS_SHOWN = 64;
/** Places of the QP table that are searched for them: all that a driver has by default. */
const USER_SLOTS = 1 << 16;

export function cqView(cq: CompletionQueue): CqView {
  return {
    number: cq.number,
    size: 2 ** cq.logSize,
    producer: cq.producer >>> 0,
    consumer: cq.consumer >>> 0,
    armed: nameOf(CqArm, cq.armed),
    eq: cq.eqn,
    uar: cq.uar,
    pd: cq.pd,
    isBroken: cq.isBroken,
    users: cq.userCount,
  };
}

export function cqDetails(cq: CompletionQueue): CqDetails {
  const size = 2 ** cq.logSize;
  const count = Math.min(cq.producer >>> 0, size, CQES_SHOWN);
  // Once for all: the driver moves its index meanwhile.
  const view = cqView(cq);
  const entries: CqeView[] = [];
  for (let i = count; i > 0; i--) {
    const index = (cq.producer - i) | 0;
    if (!cq.buffer.locate((index & (size - 1)) << CQE_SHIFT, CQE_BYTES)) break;
    entries.push(cqeView(cq.buffer.memory.view, cq.buffer.at, index >>> 0, ((index - view.consumer) | 0) < 0));
  }
  return {
    ...view,
    qps: usersOf(cq.adapter, cq.userCount, ({ setup }) => setup.sendCq === cq || setup.receiveCq === cq),
    entries,
    problem: entries.length < count ? NOT_MAPPED : undefined,
  };
}

function cqeView(view: DataView, at: number, index: number, isTaken: boolean): CqeView {
  const opcode = Cqe.opcode.get(view, at);
  const isError = opcode === CqeErrorOpcode.SEND || opcode === CqeErrorOpcode.RECEIVE;
  const isSend = isError ? opcode === CqeErrorOpcode.SEND : Cqe.isSend.get(view, at) === 1;
  return {
    index,
    isTaken,
    qpn: Cqe.qpn.get(view, at),
    isSend,
    opcode: isError ? "ERROR" : isSend ? nameOf(SendOpcode, opcode) : receivedName(opcode),
    syndrome: isError ? nameOf(Syndrome, CqeError.syndrome.get(view, at)) : undefined,
    byteCount: isError ? 0 : Cqe.byteCount.get(view, at),
    immediate: hex(Cqe.immediate.get(view, at)),
    wqe: hex(Cqe.wqe.get(view, at)),
    remoteQpn: Cqe.remoteQpn.get(view, at),
    remoteLid: Cqe.rlid.get(view, at),
  };
}

/** A BTH opcode: service and operation. */
const receivedName = (opcode: number): string => `${nameOf(OpcodeTransport, opcode >>> 5)} ${nameOf(Operation, opcode & 0x1f)}`;

export function srqView(srq: SharedReceiveQueue): SrqView {
  return {
    number: srq.number,
    size: 2 ** srq.logSize,
    posted: srq.available,
    taken: srq.consumed,
    limit: srq.limit,
    pd: srq.pd,
    uar: srq.uar,
    isBroken: srq.isBroken,
    users: srq.userCount,
  };
}

export function srqDetails(srq: SharedReceiveQueue): SrqDetails {
  return {
    ...srqView(srq),
    qps: usersOf(srq.adapter, srq.userCount, ({ setup }) => setup.srq === srq),
    lkey: hex(srq.lkey, 8),
    receives: describeShared(srq),
  };
}

/** Numbers of the first QPs that use a queue, among the first places of their table. */
function usersOf({ qps }: Adapter, count: number, uses: (qp: QueuePair) => boolean): number[] {
  const numbers: number[] = [];
  const most = Math.min(count, USERS_SHOWN);
  const end = Math.min(qps.size, USER_SLOTS);
  for (let slot = 0; slot < end && numbers.length < most; slot++) {
    const qp = qps.inSlotOf(slot);
    if (qp !== undefined && uses(qp)) numbers.push(qp.number);
  }
  return numbers;
}
