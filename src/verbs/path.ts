// Paths to other ports, as the subnet administration knows them. IBA vol 1, 15.2.5.16.

import { DEFAULT_PKEY, mtuBytes } from "../spec/ib/numbers.ts";
import { PathComponent as C } from "../spec/mad/components.ts";
import { Method, SaAttribute } from "../spec/mad/numbers.ts";
import { PathRecord } from "../spec/mad/sa-records.ts";
import type { AddressHandleAttributes } from "./address-handle.ts";
import { VerbsError } from "./error.ts";
import { gidText } from "./gid.ts";
import type { PathMtu } from "./qp-attributes.ts";
import type { SaClient } from "./sa.ts";

/** Whom a path leads to: a GID (16 bytes) or a LID. */
export type PathTarget = { readonly dgid: Uint8Array; readonly dlid?: never } | { readonly dlid: number; readonly dgid?: never };

export interface PathOptions {
  /** Source GID, 16 bytes; that of the port if left out. */
  readonly sgid?: Uint8Array;
  readonly pkey?: number;
  /** For administrations that tell services apart. */
  readonly serviceId?: bigint | undefined;
}

/** A path between two ports. */
export interface Path {
  readonly dgid: Uint8Array;
  readonly sgid: Uint8Array;
  readonly dlid: number;
  readonly slid: number;
  readonly pkey: number;
  readonly sl: number;
  /** Bytes. */
  readonly mtu: PathMtu;
  /** Code of the rate (table 206: 2 is 2.5 Gb/s, 3 is 10, 6 is 20). */
  readonly rate: number;
  /** Code of the time a packet may live: 4.096 µs × 2^code. */
  readonly packetLifeTime: number;
  readonly flowLabel: number;
  readonly hopLimit: number;
  readonly trafficClass: number;
}

const GID_BYTES = 16;

/** @throws VerbsError EHOSTUNREACH if there is no path, EINVAL for what is no GID or LID */
export async function findPath(sa: SaClient, sgid: Uint8Array, target: PathTarget, options: PathOptions): Promise<Path> {
  const { dgid, dlid } = target;
  const { pkey = DEFAULT_PKEY, serviceId } = options;
  if (dgid !== undefined && dgid.length !== GID_BYTES) {
    throw new VerbsError("EINVAL", `queryPath: a GID has ${GID_BYTES} bytes, not ${dgid.length}`);
  }
  if (dlid !== undefined && !(Number.isInteger(dlid) && dlid > 0 && dlid <= 0xffff)) {
    throw new VerbsError("EINVAL", `queryPath: dlid ${dlid} is no LID (1 to 65535)`);
  }
  const record = new DataView(new ArrayBuffer(PathRecord.byteLength));
  PathRecord.sgid.set(record, 0, options.sgid ?? sgid);
  if (dgid !== undefined) PathRecord.dgid.set(record, 0, dgid);
  if (dlid !== undefined) PathRecord.dlid.set(record, 0, dlid);
  if (serviceId !== undefined) PathRecord.serviceId.setBig(record, 0, serviceId);
  PathRecord.pkey.set(record, 0, pkey);
  PathRecord.reversible.set(record, 0, 1);
  PathRecord.numbPath.set(record, 0, 1);
  const reply = await sa.request({
    what: `path to ${dgid === undefined ? `LID ${dlid}` : `GID ${gidText(dgid)}`}`,
    method: Method.GET,
    attribute: SaAttribute.PATH_RECORD,
    components: [
      ...[dgid === undefined ? C.DLID : C.DGID, C.SGID, C.P_KEY, C.REVERSIBLE, C.NUMB_PATH],
      ...(serviceId === undefined ? [] : [C.SERVICE_ID_HI, C.SERVICE_ID_LO]),
    ],
    record,
  });
  return decodePath(reply);
}

function decodePath(record: DataView): Path {
  return {
    dgid: PathRecord.dgid.get(record, 0).slice(),
    sgid: PathRecord.sgid.get(record, 0).slice(),
    dlid: PathRecord.dlid.get(record, 0),
    slid: PathRecord.slid.get(record, 0),
    pkey: PathRecord.pkey.get(record, 0),
    sl: PathRecord.sl.get(record, 0),
    mtu: mtuBytes(PathRecord.mtu.get(record, 0)) as PathMtu,
    rate: PathRecord.rate.get(record, 0),
    packetLifeTime: PathRecord.lifeTime.get(record, 0),
    flowLabel: PathRecord.flowLabel.get(record, 0),
    hopLimit: PathRecord.hopLimit.get(record, 0),
    trafficClass: PathRecord.trafficClass.get(record, 0),
  };
}

/** Address attributes of a path; with a GRH only if it leaves the subnet. */
export function addressOf(path: Path): AddressHandleAttributes {
  const { dlid, sl, dgid, hopLimit, trafficClass, flowLabel } = path;
  return hopLimit <= 1 ? { dlid, sl } : { dlid, sl, grh: { dgid, hopLimit, trafficClass, flowLabel } };
}
