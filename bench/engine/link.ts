// Two guests of this process joined by RC queue pairs, with everything the measuring loops need looked up in advance.

import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import type { ReceiveQueue } from "../../src/driver/receive-queue.ts";
import type { SendQueue } from "../../src/driver/send-queue.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import type { Guest } from "./guest.ts";
import { newPages, PageRegion } from "./page-region.ts";

const SEND_WQES = 1024;
const RECEIVE_WQES = 1024;
/** One less than a power of two: the driver keeps one entry free. */
const CQES = 4095;
export const CQ_LOG_SIZE = 12;

/** One end of a link. */
export interface End {
  readonly guest: Guest;
  readonly qp: DriverQueuePair;
  readonly cq: DriverCompletionQueue;
  readonly sends: SendQueue;
  readonly receives: ReceiveQueue;
  /** A few pages for small messages. */
  readonly region: PageRegion;
  readonly words: Int32Array;
  /** Index in `words` of the region's first word. */
  readonly word: number;
}

export interface Link {
  readonly near: End;
  readonly far: End;
}

/** Makes a queue pair on each guest and connects the two. */
export function joinGuests(left: Guest, right: Guest): Link {
  const near = newEnd(left);
  const far = newEnd(right);
  near.qp.init();
  far.qp.init();
  near.qp.readyToReceive({ remoteQpn: far.qp.number, dlid: right.lid });
  far.qp.readyToReceive({ remoteQpn: near.qp.number, dlid: left.lid });
  near.qp.readyToSend({ remoteQpn: far.qp.number, dlid: right.lid });
  far.qp.readyToSend({ remoteQpn: near.qp.number, dlid: left.lid });
  return { near, far };
}

function newEnd(guest: Guest): End {
  const { device } = guest;
  const pd = device.allocatePd();
  const cq = new DriverCompletionQueue(device, CQES, pd);
  const queues = { sendCq: cq, receiveCq: cq, sendWqes: SEND_WQES, receiveWqes: RECEIVE_WQES, sges: 1 };
  const qp = new DriverQueuePair(device, { service: Service.RC, pd, ...queues });
  const region = new PageRegion(device, pd, newPages(device, 4096));
  const { receives } = qp;
  if (receives === undefined) throw new Error("invariant: the QP has receives of its own");
  const { words } = device.access.memory;
  return { guest, qp, cq, sends: qp.sends, receives, region, words, word: region.placeOf(0) >> 2 };
}
