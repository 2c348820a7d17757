// Messages of the connection manager as MADs. IBA vol 1, 12.6, 16.7.

import { type LayoutInfo, writeAll } from "../../base/layout.ts";
import { CM_CLASS_VERSION, CM_DATA_AT, CmAttribute, CmDrep, CmMra, CmRej, CmRep, CmReq } from "../../spec/mad/cm.ts";
import { MadHeader } from "../../spec/mad/headers.ts";
import { MAD_BASE_VERSION, MAD_BYTES, Method, MgmtClass } from "../../spec/mad/numbers.ts";
import { VerbsError } from "../error.ts";

export const AT = CM_DATA_AT;

/** Transaction id: REP, MRA, REJ and RTU have that of the REQ, DREP that of the DREQ. */
export interface Tid {
  readonly hi: number;
  readonly lo: number;
}

export const tidOf = (mad: DataView): Tid => ({ hi: MadHeader.tid.hi.get(mad, 0), lo: MadHeader.tid.lo.get(mad, 0) });

type Values = Readonly<Record<string, number | bigint | Uint8Array>>;

/** @param values fields of the layout; what is left out is 0 */
export function newMessage(attribute: number, of: { readonly info: LayoutInfo }, tid: Tid, values: Values): DataView {
  const mad = new DataView(new ArrayBuffer(MAD_BYTES));
  MadHeader.baseVersion.set(mad, 0, MAD_BASE_VERSION);
  MadHeader.mgmtClass.set(mad, 0, MgmtClass.COM_MGT);
  MadHeader.classVersion.set(mad, 0, CM_CLASS_VERSION);
  MadHeader.method.set(mad, 0, Method.SEND);
  MadHeader.tid.hi.set(mad, 0, tid.hi);
  MadHeader.tid.lo.set(mad, 0, tid.lo);
  MadHeader.attributeId.set(mad, 0, attribute);
  writeAll(of, mad, AT, values);
  return mad;
}

/** Where a rejection goes and what it says. */
export interface Rejection {
  readonly localCommId: number;
  readonly remoteCommId: number;
  /** A value of `CmMessage`. */
  readonly message: number;
  /** A value of `RejectReason`. */
  readonly reason: number;
  readonly info?: Uint8Array;
  readonly privateData?: Uint8Array;
}

export function newReject(tid: Tid, rejection: Rejection): DataView {
  const { info = new Uint8Array(), privateData = new Uint8Array(), ...fields } = rejection;
  return newMessage(CmAttribute.REJ, CmRej, tid, { ...fields, info, infoLength: info.length, privateData });
}

export function newMra(tid: Tid, localCommId: number, remoteCommId: number, message: number, serviceTimeout: number): DataView {
  return newMessage(CmAttribute.MRA, CmMra, tid, { localCommId, remoteCommId, message, serviceTimeout });
}

export const newDrep = (tid: Tid, localCommId: number, remoteCommId: number): DataView =>
  newMessage(CmAttribute.DREP, CmDrep, tid, { localCommId, remoteCommId });

/** @throws VerbsError EINVAL if it is too long for the message */
export function checkPrivateData(what: string, data: Uint8Array, bytes: number): void {
  if (data.length > bytes) throw new VerbsError("EINVAL", `${what}: ${data.length} bytes of private data; at most ${bytes} fit`);
}

/** The private data of a message: always all of it, since its length is not said. */
export const privateDataOf = (
  mad: DataView,
  of: { readonly privateData: { get(view: DataView, at: number): Uint8Array } },
): Buffer => Buffer.from(of.privateData.get(mad, AT));

/** What a REQ says that we need. */
export interface RequestInfo {
  readonly tid: Tid;
  readonly localCommId: number;
  readonly serviceId: bigint;
  readonly qpn: number;
  readonly psn: number;
  readonly transportType: number;
  readonly responderResources: number;
  readonly initiatorDepth: number;
  readonly retryCount: number;
  readonly rnrRetryCount: number;
  readonly pathMtu: number;
  readonly pkey: number;
  readonly lid: number;
  readonly gid: Uint8Array;
  readonly ownGid: Uint8Array;
  readonly sl: number;
  readonly ackTimeout: number;
  readonly isSubnetLocal: boolean;
  readonly flowLabel: number;
  readonly trafficClass: number;
  readonly hopLimit: number;
  readonly privateData: Buffer;
}

export function decodeRequest(mad: DataView): RequestInfo {
  const r = CmReq;
  return {
    tid: tidOf(mad),
    localCommId: r.localCommId.get(mad, AT),
    serviceId: r.serviceId.getBig(mad, AT),
    qpn: r.localQpn.get(mad, AT),
    psn: r.startingPsn.get(mad, AT),
    transportType: r.transportType.get(mad, AT),
    responderResources: r.responderResources.get(mad, AT),
    initiatorDepth: r.initiatorDepth.get(mad, AT),
    retryCount: r.retryCount.get(mad, AT),
    rnrRetryCount: r.rnrRetryCount.get(mad, AT),
    pathMtu: r.pathMtu.get(mad, AT),
    pkey: r.pkey.get(mad, AT),
    lid: r.localLid.get(mad, AT),
    gid: r.localGid.get(mad, AT).slice(),
    ownGid: r.remoteGid.get(mad, AT).slice(),
    sl: r.sl.get(mad, AT),
    ackTimeout: r.ackTimeout.get(mad, AT),
    isSubnetLocal: r.subnetLocal.get(mad, AT) === 1,
    flowLabel: r.flowLabel.get(mad, AT),
    trafficClass: r.trafficClass.get(mad, AT),
    hopLimit: r.hopLimit.get(mad, AT),
    privateData: privateDataOf(mad, CmReq),
  };
}

/** What a REP says that we need. */
export interface ReplyInfo {
  readonly qpn: number;
  readonly psn: number;
  readonly responderResources: number;
  readonly initiatorDepth: number;
  readonly rnrRetryCount: number;
  readonly privateData: Buffer;
}

export function decodeReply(mad: DataView): ReplyInfo {
  const r = CmRep;
  return {
    qpn: r.localQpn.get(mad, AT),
    psn: r.startingPsn.get(mad, AT),
    responderResources: r.responderResources.get(mad, AT),
    initiatorDepth: r.initiatorDepth.get(mad, AT),
    rnrRetryCount: r.rnrRetryCount.get(mad, AT),
    privateData: privateDataOf(mad, CmRep),
  };
}
