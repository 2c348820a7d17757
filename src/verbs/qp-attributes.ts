// Attributes of queue pairs with libibverbs' names (ibv_qp_attr).

import { type QpAttributes as DriverAttributes, decodeQpContext, type PathAttributes } from "../driver/qp-attributes.ts";
import { PathMigration } from "../spec/hca/contexts.ts";
import { mtuBytes } from "../spec/ib/numbers.ts";
import { accessFlags, deviceAccess } from "./access-flag.ts";
import type { AddressHandleAttributes } from "./address-handle.ts";
import { VerbsError } from "./error.ts";
import type { QpAttributeName, QpStateName } from "./qp-state-table.ts";

/** Bytes of the path's MTU. */
export type PathMtu = 256 | 512 | 1024 | 2048 | 4096;
export type PathMigState = "MIGRATED" | "REARM" | "ARMED";

/** An alternate path. */
export interface AlternatePath extends AddressHandleAttributes {
  readonly portNum: number;
  readonly pkeyIndex: number;
  readonly timeout: number;
}

/** All that `query` returns; what `modify` may set. */
export interface QpAttributes {
  readonly qpState?: QpStateName;
  /** MTU of the path, in bytes. */
  readonly pathMtu?: PathMtu;
  readonly pathMigState?: PathMigState;
  /** Datagrams: packets must carry this key. */
  readonly qkey?: number;
  /** First PSN expected and sent, 24 bits. */
  readonly rqPsn?: number;
  readonly sqPsn?: number;
  readonly destQpNum?: number;
  /** What the other side may do: bits of `AccessFlag`. */
  readonly qpAccessFlags?: number;
  readonly ahAttr?: AddressHandleAttributes;
  readonly alternatePath?: AlternatePath;
  readonly pkeyIndex?: number;
  readonly portNum?: number;
  /** Reads and atomics outstanding, as requester and as responder. */
  readonly maxRdAtomic?: number;
  readonly maxDestRdAtomic?: number;
  /** Codes of times: RNR timer (table 45), ACK timeout (4.096 µs × 2^code; 0 is for ever). */
  readonly minRnrTimer?: number;
  readonly timeout?: number;
  readonly retryCnt?: number;
  /** 7 is for ever. */
  readonly rnrRetry?: number;
}

export interface QpModify extends QpAttributes {
  /** The state it is in, if the device has moved it on (SQE). */
  readonly curQpState?: QpStateName;
  /** On the way to SQD: raise SQ_DRAINED. */
  readonly enSqdAsyncNotify?: boolean;
}

const migrations: Readonly<Record<PathMigState, number>> = {
  MIGRATED: PathMigration.MIGRATED,
  REARM: PathMigration.REARM,
  ARMED: PathMigration.ARMED,
};
const migrationNames: Readonly<Record<number, PathMigState>> = {
  [PathMigration.MIGRATED]: "MIGRATED",
  [PathMigration.REARM]: "REARM",
  [PathMigration.ARMED]: "ARMED",
};

interface Range {
  readonly name: QpAttributeName & keyof DriverAttributes;
  readonly max: number;
}
/** Numbers that the device takes as they are, and the largest of each. */
const numbers: readonly Range[] = [
  { name: "qkey", max: 0xffffffff },
  { name: "rqPsn", max: 0xffffff },
  { name: "sqPsn", max: 0xffffff },
  { name: "destQpNum", max: 0xffffff },
  { name: "pkeyIndex", max: 127 },
  { name: "portNum", max: 2 },
  { name: "maxRdAtomic", max: 128 },
  { name: "maxDestRdAtomic", max: 128 },
  { name: "minRnrTimer", max: 31 },
  { name: "timeout", max: 31 },
  { name: "retryCnt", max: 7 },
  { name: "rnrRetry", max: 7 },
];

/**
 * For the driver, with the names of those that are there.
 * @throws VerbsError EINVAL for a value out of its range
 */
export function encodeQpAttributes(given: QpModify): { names: QpAttributeName[]; values: DriverAttributes } {
  const values: DriverAttributes = {};
  const names: QpAttributeName[] = [];
  for (const { name, max } of numbers) {
    const value = given[name as keyof QpModify] as number | undefined;
    if (value === undefined) continue;
    if (!(Number.isInteger(value) && value >= 0 && value <= max)) throw outOfRange(name, value, `0 to ${max}`);
    (values as Record<string, number>)[name] = value;
    names.push(name);
  }
  const { pathMtu, pathMigState, qpAccessFlags, ahAttr, alternatePath, enSqdAsyncNotify } = given;
  if (pathMtu !== undefined) {
    const code = [1, 2, 3, 4, 5].find((n) => mtuBytes(n) === pathMtu);
    if (code === undefined) throw outOfRange("pathMtu", pathMtu, "256, 512, 1024, 2048 or 4096");
    values.pathMtu = code;
    names.push("pathMtu");
  }
  if (pathMigState !== undefined) {
    values.pathMigration = migrations[pathMigState];
    names.push("pathMigState");
  }
  if (qpAccessFlags !== undefined) {
    values.remoteAccess = deviceAccess(qpAccessFlags);
    names.push("qpAccessFlags");
  }
  if (ahAttr !== undefined) {
    values.path = pathOf(ahAttr);
    names.push("ahAttr");
  }
  if (alternatePath !== undefined) {
    const { portNum, pkeyIndex, timeout } = alternatePath;
    values.alternatePath = { ...pathOf(alternatePath), portNum, pkeyIndex, timeout };
    names.push("alternatePath");
  }
  if (enSqdAsyncNotify !== undefined) names.push("enSqdAsyncNotify");
  return { names, values };
}

const outOfRange = (name: string, value: unknown, range: string): VerbsError =>
  new VerbsError("EINVAL", `${name} ${value}: must be ${range}`);

function pathOf({ dlid, sl, srcPathBits, staticRate, grh }: AddressHandleAttributes): PathAttributes {
  return {
    dlid,
    ...(sl === undefined ? {} : { sl }),
    ...(srcPathBits === undefined ? {} : { srcPathBits }),
    ...(staticRate === undefined ? {} : { staticRate }),
    ...(grh === undefined ? {} : { grh }),
  };
}

/** A context as `query` returns it. */
export function describeQp(view: DataView): QpAttributes {
  const { pathMigration, remoteAccess, path, pathMtu, state: _, alternatePath, ...same } = decodeQpContext(view, 0);
  const bytes = mtuBytes(pathMtu);
  const migration = migrationNames[pathMigration];
  return {
    ...same,
    ...(bytes === 0 ? {} : { pathMtu: bytes as PathMtu }),
    ...(migration === undefined ? {} : { pathMigState: migration }),
    qpAccessFlags: accessFlags(remoteAccess),
    ahAttr: path,
    alternatePath,
  };
}
