// The WQEs that come next in a QP's rings and in a shared receive queue. Docs "infinihost" 5.2, 5.4.

import type { Memory } from "../../base/bytes.ts";
import { Access } from "../../spec/hca/contexts.ts";
import { WqeNext } from "../../spec/hca/queues.ts";
import { QueueBuffer } from "../../transport/memory.ts";
import type { QueuePair } from "../../transport/queue-pair.ts";
import type { SharedReceiveQueue } from "../../transport/shared-receive-queue.ts";
import type { WqeView } from "./views.ts";
import { describeReceive, describeSend, unreadable, type Window, WQES_SHOWN } from "./work-requests.ts";

const LINK_MASK = ~0x3f;

/**
 * The rings through a window of our own, so that the engine's stays as it is. Each entry is looked up anew: a driver may start
 * its rings anywhere, so entries may straddle pages, and the page that a `QueueBuffer` remembers would not do.
 */
class RingWindow implements Window {
  memory: Memory;
  at = 0;
  readonly #qp: QueuePair;

  constructor(qp: QueuePair) {
    this.#qp = qp;
    this.memory = qp.adapter.noMemory;
  }

  locate(offset: number, length: number): boolean {
    const { adapter, setup, pd } = this.#qp;
    const { wqeLkey, wqeBaseHi } = setup;
    const buffer = new QueueBuffer(adapter.regions, adapter.noMemory, wqeLkey, pd, Access.LOCAL_READ, wqeBaseHi);
    if (!buffer.locate(offset, length)) return false;
    this.memory = buffer.memory;
    this.at = buffer.at;
    return true;
  }
}

/** The next sends, from the one in hand on. */
export function describeSends(qp: QueuePair): WqeView[] {
  const { adapter, setup, pd } = qp;
  const posted = (setup.sqRecord.counter(qp.sqHead) - qp.sqHead) & 0xffff;
  const count = Math.min(posted, 2 ** setup.logSqSize, WQES_SHOWN);
  const window = new RingWindow(qp);
  const owner = { regions: adapter.regions, none: adapter.noMemory, pd };
  return Array.from({ length: count }, (_, i) => {
    const index = (qp.sqHead + i) & 0xffff;
    const slot = { index, offset: qp.sendOffset(index), previousOffset: qp.sendOffset(index - 1) };
    return describeSend(window, { ...slot, strideBytes: 2 ** setup.logSqStride, service: qp.service }, owner);
  });
}

/** The next receives of a QP's own ring. */
export function describeReceives(qp: QueuePair): WqeView[] {
  const { adapter, setup, pd } = qp;
  const { rqBase, logRqSize, logRqStride, rqRecord } = setup;
  const posted = (rqRecord.counter(qp.rqHead) - qp.rqHead) & 0xffff;
  const count = Math.min(posted, 2 ** logRqSize, WQES_SHOWN);
  const window = new RingWindow(qp);
  // A receive WQE of a QP's own ring names memory of its own protection domain.
  const owner = { regions: adapter.regions, none: adapter.noMemory, pd };
  return Array.from({ length: count }, (_, i) => {
    const index = (qp.rqHead + i) & 0xffff;
    const offset = rqBase + ((index & (2 ** logRqSize - 1)) << logRqStride);
    return describeReceive(window, { index, offset, strideBytes: 2 ** logRqStride }, owner);
  });
}

/** The next receives of a shared receive queue, along the links that its driver has set. */
export function describeShared(srq: SharedReceiveQueue): WqeView[] {
  const { adapter, buffer, pd, logSize, logStride } = srq;
  const owner = { regions: adapter.regions, none: adapter.noMemory, pd };
  const strideBytes = 2 ** logStride;
  const count = Math.min(srq.available, 2 ** logSize, WQES_SHOWN);
  const receives: WqeView[] = [];
  let offset = srq.nextOffset;
  for (let i = 0; i < count; i++) {
    const index = (srq.consumed + i) & 0xffff;
    if (offset % strideBytes !== 0 || offset >>> 0 >= strideBytes * 2 ** logSize) {
      receives.push({ ...unreadable(index, offset >>> 0), problem: "the link names no slot of this queue" });
      break;
    }
    receives.push(describeReceive(buffer, { index, offset, strideBytes }, owner));
    if (!buffer.locate(offset, strideBytes)) break;
    offset = buffer.memory.view.getInt32(buffer.at + WqeNext.nextAddress.offset) & LINK_MASK;
  }
  return receives;
}
