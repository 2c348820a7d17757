// Notices of the subnet manager itself: GIDs and multicast groups come and go. IBA vol 1, 14.2.5.1, traps 64 to 67.

import { bytesOf } from "../../mad/mad.ts";
import { NoticeType } from "../../spec/mad/numbers.ts";
import { NOTICE_DETAILS_AT, Notice } from "../../spec/mad/sm-attributes.ts";
import { newRecord } from "./query.ts";

/** Producer type of class managers (13.4.8.2). */
const CLASS_MANAGER = 4;
/** The GID lies 6 bytes into the details. */
const GID_AT = 6;

/** Who issues a notice. */
export interface Issuer {
  readonly lid: number;
  readonly guid: bigint;
}

/** Notice `trap` about `gid`, issued by the manager. */
export function gidNotice(trap: number, gid: Uint8Array, issuer: Issuer, prefix: bigint): DataView {
  const notice = newRecord(Notice.byteLength);
  Notice.isGeneric.set(notice, 0, 1);
  Notice.type.set(notice, 0, NoticeType.SUBNET_MANAGEMENT);
  Notice.producerType.set(notice, 0, CLASS_MANAGER);
  Notice.trapNumber.set(notice, 0, trap);
  Notice.issuerLid.set(notice, 0, issuer.lid);
  bytesOf(notice).set(gid, NOTICE_DETAILS_AT + GID_AT);
  putIssuerGid(notice, issuer.guid, prefix);
  return notice;
}

/** A trap of another node, 64 bytes, as it is forwarded: with the GID of its issuer. */
export function forwardedNotice(trap: Uint8Array, guid: bigint, prefix: bigint): DataView {
  const notice = newRecord(Notice.byteLength);
  bytesOf(notice).set(trap.subarray(0, Notice.issuerGid.offset));
  putIssuerGid(notice, guid, prefix);
  return notice;
}

/** GID of a port. */
export function gidOf(prefix: bigint, guid: bigint): Uint8Array {
  const gid = newRecord(16);
  gid.setBigUint64(0, prefix);
  gid.setBigUint64(8, guid);
  return bytesOf(gid);
}

function putIssuerGid(notice: DataView, guid: bigint, prefix: bigint): void {
  Notice.issuerGid.set(notice, 0, gidOf(prefix, guid));
}
