// The usual way of a queue pair from RESET to RTS, for programs that exchange their numbers by themselves. IBA vol 1, 10.3.1.

import { ALL_ACCESS } from "./access-flag.ts";
import type { GlobalRoute } from "./address-handle.ts";
import type { PathMtu } from "./qp-attributes.ts";
import type { QueuePair } from "./queue-pair.ts";

/** What the other end has told, and what is to differ from the usual. */
export interface ConnectAttributes {
  /** The other end: LID of its port, number of its QP, first PSN that it sends (0 if left out). */
  readonly lid: number;
  readonly qpNum: number;
  readonly psn?: number;
  /** First PSN that this end sends; 0 if left out. */
  readonly sqPsn?: number;
  readonly pathMtu?: PathMtu;
  readonly sl?: number;
  readonly grh?: GlobalRoute;
  /** What the other end may do here, bits of `AccessFlag`; everything if left out. */
  readonly qpAccessFlags?: number;
  /** Reads and atomics outstanding, both ways; 4 if left out. */
  readonly maxRdAtomic?: number;
  readonly timeout?: number;
  readonly retryCnt?: number;
  readonly rnrRetry?: number;
  readonly minRnrTimer?: number;
}

/**
 * Connects an RC or UC queue pair in state RESET: INIT, RTR, RTS.
 * @throws VerbsError EINVAL if it is in another state
 */
export function connectQp(qp: QueuePair, remote: ConnectAttributes): void {
  const { lid, qpNum, psn = 0, sqPsn = 0, pathMtu = 2048, sl = 0, grh, qpAccessFlags = ALL_ACCESS, maxRdAtomic = 4 } = remote;
  const { timeout = 14, retryCnt = 7, rnrRetry = 7, minRnrTimer = 12 } = remote;
  const isRc = qp.qpType === "RC";
  const ahAttr = { dlid: lid, sl, ...(grh === undefined ? {} : { grh }) };
  qp.modify({ qpState: "INIT", pkeyIndex: 0, portNum: 1, qpAccessFlags });
  const responder = isRc ? { maxDestRdAtomic: maxRdAtomic, minRnrTimer } : {};
  qp.modify({ qpState: "RTR", ahAttr, pathMtu, destQpNum: qpNum, rqPsn: psn, ...responder });
  qp.modify({ qpState: "RTS", sqPsn, ...(isRc ? { timeout, retryCnt, rnrRetry, maxRdAtomic } : {}) });
}

/** Makes a UD queue pair in state RESET ready: packets to it must carry `qkey`. */
export function activateUd(qp: QueuePair, qkey: number): void {
  qp.modify({ qpState: "INIT", pkeyIndex: 0, portNum: 1, qkey });
  qp.modify({ qpState: "RTR" });
  qp.modify({ qpState: "RTS", sqPsn: 0 });
}
