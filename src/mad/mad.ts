// A MAD in memory, and how a request becomes its response.

import { Lid } from "../spec/ib/numbers.ts";
import { MadHeader, SMP_INITIAL_PATH_AT, SMP_MAX_HOPS, Smp } from "../spec/mad/headers.ts";
import {
  MAD_BASE_VERSION,
  MAD_BYTES,
  METHOD_RESPONSE_BIT,
  Method,
  MgmtClass,
  SA_CLASS_VERSION,
  SM_CLASS_VERSION,
} from "../spec/mad/numbers.ts";

/** A zeroed MAD. */
export const newMad = (): DataView => new DataView(new ArrayBuffer(MAD_BYTES));

/** A request of `mgmtClass`, its common header filled in. */
export function newRequest(mgmtClass: number, method: number, attributeId: number, modifier = 0): DataView {
  const mad = newMad();
  writeRequest(mad, mgmtClass, method, attributeId, modifier);
  return mad;
}

function writeRequest(mad: DataView, mgmtClass: number, method: number, attributeId: number, modifier: number): void {
  MadHeader.baseVersion.set(mad, 0, MAD_BASE_VERSION);
  MadHeader.mgmtClass.set(mad, 0, mgmtClass);
  MadHeader.classVersion.set(mad, 0, mgmtClass === MgmtClass.SUBN_ADM ? SA_CLASS_VERSION : SM_CLASS_VERSION);
  MadHeader.method.set(mad, 0, method);
  MadHeader.attributeId.set(mad, 0, attributeId);
  MadHeader.attributeModifier.set(mad, 0, modifier);
}

/** A directed-route SMP request that leaves by port path[0], at the next node by path[1], …; no path: for this node. */
export function newDirectedSmp(path: readonly number[], method: number, attributeId: number, modifier = 0): DataView {
  const mad = newMad();
  writeDirectedSmp(mad, path, method, attributeId, modifier);
  return mad;
}

/** The same in `mad`, 256 zero bytes. */
export function writeDirectedSmp(
  mad: DataView,
  path: readonly number[],
  method: number,
  attributeId: number,
  modifier: number,
): void {
  writeRequest(mad, MgmtClass.SUBN_DIRECTED_ROUTE, method, attributeId, modifier);
  Smp.hopCount.set(mad, 0, path.length);
  Smp.drSlid.set(mad, 0, Lid.PERMISSIVE);
  Smp.drDlid.set(mad, 0, Lid.PERMISSIVE);
  const hops = Math.min(path.length, SMP_MAX_HOPS);
  for (let hop = 0; hop < hops; hop++) mad.setUint8(SMP_INITIAL_PATH_AT + 1 + hop, path[hop] ?? 0);
}

/** The bytes a view shows. */
export const bytesOf = (view: DataView): Uint8Array => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

/** A private copy of 256 bytes of `source` from `at`. */
export function copyMad(source: Uint8Array, at = 0): DataView {
  const mad = newMad();
  bytesOf(mad).set(source.subarray(at, at + MAD_BYTES));
  return mad;
}

/** What an agent did with a MAD. */
export const Verdict = {
  /** The buffer holds the response. */
  REPLY: 0,
  /** Taken in; there is no response. */
  CONSUMED: 1,
  /** Not acceptable: no response, and the sender is not told. */
  DROP: 2,
} as const;

export const isSmpClass = (mgmtClass: number): boolean =>
  mgmtClass === MgmtClass.SUBN_LID_ROUTED || mgmtClass === MgmtClass.SUBN_DIRECTED_ROUTE;

export const isResponse = (mad: DataView, at = 0): boolean =>
  (MadHeader.method.get(mad, at) & METHOD_RESPONSE_BIT) !== 0 || MadHeader.method.get(mad, at) === Method.TRAP_REPRESS;

/**
 * Turns the request in `mad` into its response: GetResp for Get and Set, status set. The D bit of a directed route stays as
 * it is: whoever sends the response sets it (infinihost 6.3).
 */
export function makeResponse(mad: DataView, status: number): void {
  const method = MadHeader.method.get(mad, 0);
  MadHeader.method.set(mad, 0, method === Method.SET ? Method.GET_RESP : method | METHOD_RESPONSE_BIT);
  if (isSmpClass(MadHeader.mgmtClass.get(mad, 0))) Smp.status.set(mad, 0, status);
  else MadHeader.status.set(mad, 0, status);
}
