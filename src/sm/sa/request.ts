// A request to the subnet administration as its services see it: the MAD, which components of the record are given, who asks.

import { SA_DATA_AT, SaHeader } from "../../spec/mad/headers.ts";
import type { SubnetPort } from "../subnet.ts";
import { hasComponent } from "./query.ts";

/** Who asks; what an answer may show depends on it. */
export interface Asker {
  /** The request carries the SM_Key: it may see and change what belongs to others (15.4.1.2). */
  readonly isTrusted: boolean;
  /** The port the request came from. */
  readonly port: SubnetPort;
}

export interface SaRequest extends Asker {
  /** The MAD; what is written into it from `at` is the response. */
  readonly view: DataView;
  /** Where the record begins. */
  readonly at: number;
  readonly maskHi: number;
  readonly maskLo: number;
  readonly slid: number;
  readonly srcQp: number;
  readonly nowNs: number;
}

/** A status, and the record for the response when it is OK. */
export type SaAnswer = {
  readonly status: number;
  readonly record?: DataView;
  /** Lower half of the response's component mask, where it says for which components the request was granted. */
  readonly maskLo?: number;
};

/** What may be done with an attribute besides asking for it. */
export interface SaService {
  set(request: SaRequest): SaAnswer;
  delete?(request: SaRequest): SaAnswer;
}

/** Whether component `bit` of the record is given. */
export const has = (request: SaRequest, bit: number): boolean => hasComponent(request.maskHi, request.maskLo, bit);

/** Reads the header of the MAD in `view`. */
export function readRequest(view: DataView, asker: Asker, slid: number, srcQp: number, nowNs: number): SaRequest {
  const { hi, lo } = SaHeader.componentMask;
  const { isTrusted, port } = asker;
  return { view, at: SA_DATA_AT, maskHi: hi.get(view, 0), maskLo: lo.get(view, 0), isTrusted, port, slid, srcQp, nowNs };
}
