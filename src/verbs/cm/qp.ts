// Queue pairs of connections: created, and brought to RTS with what both sides have agreed on. IBA vol 1, 12.9.3, 12.10.

import { DEFAULT_PKEY, mtuBytes } from "../../spec/ib/numbers.ts";
import { ALL_ACCESS } from "../access-flag.ts";
import type { AddressHandleAttributes } from "../address-handle.ts";
import { VerbsError } from "../error.ts";
import type { ProtectionDomain } from "../protection-domain.ts";
import type { PathMtu } from "../qp-attributes.ts";
import type { QpInitAttributes, QueuePair } from "../queue-pair.ts";

/** What `connect`, `listen` and `accept` need to make a queue pair themselves. */
export interface ConnectionQpOptions extends Omit<QpInitAttributes, "qpType"> {
  readonly pd: ProtectionDomain;
  /** RC if left out. */
  readonly qpType?: "RC" | "UC";
}

/** Terms of a connection (rdma_conn_param). */
export interface ConnectionParameters {
  /** For the peer: 56 bytes at most in a request to an IP port (else 92), 196 in its answer. */
  readonly privateData?: Uint8Array;
  /** Reads and atomics of the peer that we serve at a time; 4 if left out, and what the peer asks for at most. */
  readonly responderResources?: number;
  /** Reads and atomics of ours under way at a time; 4 if left out, and what the peer serves at most. */
  readonly initiatorDepth?: number;
  /** Times a packet without an answer is sent again, 0 to 7; 7 if left out. */
  readonly retryCount?: number;
  /** Times the peer tries again when we have no receive posted, 0 to 7; 7, for ever, if left out. */
  readonly rnrRetryCount?: number;
}

export const READS = 4;
/** 0.64 ms (table 45). */
const MIN_RNR_TIMER = 12;
const PORT = 1;

/** Like rdma_create_qp: a queue pair that receives can be posted to, for `connect` or `accept`. */
export function createConnectionQp({ pd, qpType = "RC", ...init }: ConnectionQpOptions): QueuePair {
  const qp = pd.createQp({ ...init, qpType });
  try {
    initialize(qp, DEFAULT_PKEY);
    return qp;
  } catch (error) {
    qp.destroy();
    throw error;
  }
}

function initialize(qp: QueuePair, pkey: number): void {
  qp.modify({ qpState: "INIT", pkeyIndex: pkeyIndexOf(qp, pkey), portNum: PORT, qpAccessFlags: ALL_ACCESS });
}

/** @throws VerbsError EINVAL if the port is not in the partition */
function pkeyIndexOf(qp: QueuePair, pkey: number): number {
  if (pkey === DEFAULT_PKEY) return 0;
  const { context } = qp.pd;
  const { pkeyTblLen } = context.queryPort(PORT);
  for (let index = 0; index < pkeyTblLen; index++) if (context.queryPkey(PORT, index) === pkey) return index;
  throw new VerbsError("EINVAL", `${qp.label}: the port has no P_Key 0x${pkey.toString(16)}`);
}

/** @throws VerbsError EINVAL if it cannot be connected */
export function assertConnectable(qp: QueuePair): void {
  if (qp.qpType === "UD") throw new VerbsError("EINVAL", `${qp.label}: UD QPs are not connected`);
  if (qp.state !== "RESET" && qp.state !== "INIT") {
    throw new VerbsError("EINVAL", `${qp.label} is in ${qp.state}: only a QP in RESET or INIT can be connected`);
  }
}

/** What both sides have agreed on. */
export interface Terms {
  readonly address: AddressHandleAttributes;
  readonly pkey: number;
  /** Code of the MTU. */
  readonly mtu: number;
  readonly destQpNum: number;
  readonly rqPsn: number;
  readonly sqPsn: number;
  readonly responderResources: number;
  readonly initiatorDepth: number;
  /** Code of the ACK timeout. */
  readonly timeout: number;
  readonly retryCount: number;
  readonly rnrRetryCount: number;
}

/** RESET or INIT → RTS. */
export function bringToRts(qp: QueuePair, terms: Terms): void {
  const isRc = qp.qpType === "RC";
  if (qp.state === "RESET") initialize(qp, terms.pkey);
  const { address, destQpNum, rqPsn, sqPsn, responderResources, initiatorDepth, timeout, retryCount, rnrRetryCount } = terms;
  const path = { ahAttr: address, pathMtu: mtuBytes(terms.mtu) as PathMtu, destQpNum, rqPsn };
  const responder = { maxDestRdAtomic: responderResources, minRnrTimer: MIN_RNR_TIMER };
  const requester = { timeout, retryCnt: retryCount, rnrRetry: rnrRetryCount, maxRdAtomic: initiatorDepth };
  qp.modify({ qpState: "RTR", ...path, ...(isRc ? responder : {}) });
  qp.modify({ qpState: "RTS", sqPsn, ...(isRc ? requester : {}) });
}
