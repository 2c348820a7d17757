// Attributes of queue pairs: from the verbs' names to the context and back. Docs "infinihost" 4.1, 4.1.1, 4.1.4; IBA vol 1, 11.2.4.

import type { Field } from "../base/layout.ts";
import { Command } from "../spec/hca/commands.ts";
import { AddressPath, ALTERNATE_PATH_AT, PRIMARY_PATH_AT, QpContext, QpOptional } from "../spec/hca/contexts.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";

/** A path of a connection. */
export interface PathAttributes {
  /** Destination LID. */
  dlid: number;
  sl?: number;
  /** Bits of the source LID below the LMC. */
  srcPathBits?: number;
  /** Of what the port's link has: 0 all, 1 a quarter, 2 an eighth, 3 half. */
  staticRate?: number;
  /** Global routing. */
  grh?: {
    /** 16 bytes. */
    dgid: Uint8Array;
    sgidIndex?: number;
    hopLimit?: number;
    trafficClass?: number;
    flowLabel?: number;
  };
}

/** What a modify may set; which of it a transition takes is the caller's to know. */
export interface QpAttributes {
  qkey?: number;
  pkeyIndex?: number;
  portNum?: number;
  /** Bits of `Access`. */
  remoteAccess?: number;
  /** MTU code 1 (256 bytes) to 5 (4096). */
  pathMtu?: number;
  destQpNum?: number;
  rqPsn?: number;
  sqPsn?: number;
  path?: PathAttributes;
  /** Code of the time: 4.096 µs × 2^code; 0 never ends. */
  timeout?: number;
  retryCnt?: number;
  /** 7: for ever. */
  rnrRetry?: number;
  minRnrTimer?: number;
  /** Reads and atomics outstanding, as requester. */
  maxRdAtomic?: number;
  /** The same as responder. */
  maxDestRdAtomic?: number;
  alternatePath?: PathAttributes & { portNum: number; pkeyIndex: number; timeout: number };
  /** A value of `PathMigration`. */
  pathMigration?: number;
}

/** The command that leads from one state to another, as the driver knows them; undefined if there is none. */
export function transitionCommand(from: number, to: number): number | undefined {
  if (to === QpState.RST) return Command.ANY2RST_QP;
  if (to === QpState.ERR) return Command.ANY2ERR_QP;
  return commands.get(`${from} ${to}`);
}

const S = QpState;
const commands: ReadonlyMap<string, number> = new Map([
  [`${S.RST} ${S.INIT}`, Command.RST2INIT_QP],
  [`${S.INIT} ${S.INIT}`, Command.INIT2INIT_QP],
  [`${S.INIT} ${S.RTR}`, Command.INIT2RTR_QP],
  [`${S.RTR} ${S.RTS}`, Command.RTR2RTS_QP],
  [`${S.RTS} ${S.RTS}`, Command.RTS2RTS_QP],
  [`${S.RTS} ${S.SQD}`, Command.RTS2SQD_QP],
  [`${S.SQD} ${S.SQD}`, Command.SQD2SQD_QP],
  [`${S.SQD} ${S.RTS}`, Command.SQD2RTS_QP],
  [`${S.SQE} ${S.RTS}`, Command.SQERR2RTS_QP],
]);

const O = QpOptional;
const ACCESS = O.REMOTE_READ | O.REMOTE_WRITE | O.REMOTE_ATOMIC;
const LOG_MAX_MESSAGE = 31;
/** Log of a count of outstanding operations: 0 and 1 are 0. */
const logOf = (count: number): number => Math.ceil(Math.log2(Math.max(1, count)));

interface SimpleAttribute {
  readonly name: "qkey" | "minRnrTimer" | "retryCnt" | "pathMigration" | "pkeyIndex" | "portNum" | "timeout";
  readonly bit: number;
  readonly field: Field;
  readonly at: number;
}

/** Attributes that are one field and one bit of the mask. */
const simple: readonly SimpleAttribute[] = [
  { name: "qkey", bit: O.QKEY, field: QpContext.qkey, at: 0 },
  { name: "minRnrTimer", bit: O.RNR_TIMER, field: QpContext.minRnrTimer, at: 0 },
  { name: "retryCnt", bit: O.RETRY_COUNT, field: QpContext.retryCount, at: 0 },
  { name: "pathMigration", bit: O.PATH_MIGRATION, field: QpContext.pathMigration, at: 0 },
  { name: "pkeyIndex", bit: O.PKEY_INDEX, field: AddressPath.pkeyIndex, at: PRIMARY_PATH_AT },
  { name: "portNum", bit: O.PORT, field: AddressPath.port, at: PRIMARY_PATH_AT },
  { name: "timeout", bit: O.ACK_TIMEOUT, field: AddressPath.ackTimeout, at: PRIMARY_PATH_AT },
];

/**
 * Writes attributes into a context that is zero but for what the driver always fills in.
 * @returns the mask of optional parameters (4.1.4)
 */
export function encodeQpAttributes(view: DataView, at: number, service: number, attributes: QpAttributes): number {
  let mask = 0;
  for (const { name, bit, field, at: offset } of simple) {
    const value = attributes[name];
    if (value === undefined) continue;
    field.set(view, at + offset, value);
    mask |= bit;
  }
  const { path, alternatePath, rnrRetry, pathMtu, destQpNum, rqPsn, sqPsn } = attributes;
  if (service === Service.RC || service === Service.UC) {
    if (pathMtu !== undefined) QpContext.mtu.set(view, at, pathMtu);
    QpContext.logMaxMessage.set(view, at, LOG_MAX_MESSAGE);
  }
  if (destQpNum !== undefined) QpContext.remoteQpn.set(view, at, destQpNum);
  if (rqPsn !== undefined) QpContext.nextReceivePsn.set(view, at, rqPsn);
  if (sqPsn !== undefined) QpContext.nextSendPsn.set(view, at, sqPsn);
  if (path !== undefined) {
    writePath(view, at + PRIMARY_PATH_AT, path);
    mask |= O.PRIMARY_PATH;
  }
  if (rnrRetry !== undefined) {
    AddressPath.rnrRetry.set(view, at + PRIMARY_PATH_AT, rnrRetry);
    AddressPath.rnrRetry.set(view, at + ALTERNATE_PATH_AT, rnrRetry);
    mask |= O.RNR_RETRY | O.ALTERNATE_RNR_RETRY;
  }
  if (alternatePath !== undefined) {
    writeAlternatePath(view, at + ALTERNATE_PATH_AT, alternatePath);
    mask |= O.ALTERNATE_PATH;
  }
  return mask | encodeReads(view, at, attributes);
}

/** Access flags and outstanding reads hang together: without responder resources there is no remote read or atomic (4.1.4). */
function encodeReads(view: DataView, at: number, attributes: QpAttributes): number {
  const { maxRdAtomic, maxDestRdAtomic, remoteAccess } = attributes;
  let mask = 0;
  if (maxRdAtomic !== undefined) {
    const isAllowed = maxRdAtomic > 0 ? 1 : 0;
    QpContext.logRequesterReads.set(view, at, logOf(maxRdAtomic));
    QpContext.sendReads.set(view, at, isAllowed);
    QpContext.sendAtomics.set(view, at, isAllowed);
    mask |= O.REQUESTER_READS;
  }
  if (maxDestRdAtomic !== undefined) {
    QpContext.logResponderReads.set(view, at, logOf(maxDestRdAtomic));
    mask |= O.RESPONDER_READS;
  }
  if (remoteAccess === undefined) return mask;
  // The bits lie in the context as they do in a memory protection entry, one place to the left of the reads (4.1, 4.5).
  const { remoteRead, remoteWrite, remoteAtomic } = QpContext;
  remoteRead.set(view, at, (remoteAccess >>> 12) & 1);
  remoteWrite.set(view, at, (remoteAccess >>> 13) & 1);
  remoteAtomic.set(view, at, (remoteAccess >>> 14) & 1);
  return mask | ACCESS;
}

function writePath(view: DataView, at: number, path: PathAttributes): void {
  AddressPath.rlid.set(view, at, path.dlid);
  AddressPath.sl.set(view, at, path.sl ?? 0);
  AddressPath.pathBits.set(view, at, path.srcPathBits ?? 0);
  AddressPath.staticRate.set(view, at, path.staticRate ?? 0);
  if (path.grh === undefined) return;
  AddressPath.grh.set(view, at, 1);
  AddressPath.rgid.set(view, at, path.grh.dgid);
  AddressPath.sgidIndex.set(view, at, path.grh.sgidIndex ?? 0);
  AddressPath.hopLimit.set(view, at, path.grh.hopLimit ?? 0);
  AddressPath.trafficClass.set(view, at, path.grh.trafficClass ?? 0);
  AddressPath.flowLabel.set(view, at, path.grh.flowLabel ?? 0);
}

function writeAlternatePath(view: DataView, at: number, path: NonNullable<QpAttributes["alternatePath"]>): void {
  writePath(view, at, path);
  AddressPath.port.set(view, at, path.portNum);
  AddressPath.pkeyIndex.set(view, at, path.pkeyIndex);
  AddressPath.ackTimeout.set(view, at, path.timeout);
}

/** A context as the device reports it: QUERY_QP. */
export interface QpDescription {
  state: number;
  pathMigration: number;
  pathMtu: number;
  qkey: number;
  rqPsn: number;
  sqPsn: number;
  destQpNum: number;
  /** Bits of `Access`. */
  remoteAccess: number;
  path: PathAttributes;
  portNum: number;
  pkeyIndex: number;
  timeout: number;
  alternatePath: PathAttributes & { portNum: number; pkeyIndex: number; timeout: number };
  maxRdAtomic: number;
  maxDestRdAtomic: number;
  minRnrTimer: number;
  retryCnt: number;
  rnrRetry: number;
}

export function decodeQpContext(view: DataView, at: number): QpDescription {
  const primary = at + PRIMARY_PATH_AT;
  const alternate = at + ALTERNATE_PATH_AT;
  const sends = QpContext.sendReads.get(view, at) === 1;
  return {
    state: QpContext.state.get(view, at),
    pathMigration: QpContext.pathMigration.get(view, at),
    pathMtu: QpContext.mtu.get(view, at),
    qkey: QpContext.qkey.get(view, at),
    rqPsn: QpContext.nextReceivePsn.get(view, at),
    sqPsn: QpContext.nextSendPsn.get(view, at),
    destQpNum: QpContext.remoteQpn.get(view, at),
    remoteAccess:
      (QpContext.remoteRead.get(view, at) << 12) |
      (QpContext.remoteWrite.get(view, at) << 13) |
      (QpContext.remoteAtomic.get(view, at) << 14),
    path: readPath(view, primary),
    portNum: AddressPath.port.get(view, primary),
    pkeyIndex: AddressPath.pkeyIndex.get(view, primary),
    timeout: AddressPath.ackTimeout.get(view, primary),
    alternatePath: {
      ...readPath(view, alternate),
      portNum: AddressPath.port.get(view, alternate),
      pkeyIndex: AddressPath.pkeyIndex.get(view, alternate),
      timeout: AddressPath.ackTimeout.get(view, alternate),
    },
    maxRdAtomic: sends ? 2 ** QpContext.logRequesterReads.get(view, at) : 0,
    maxDestRdAtomic: 2 ** QpContext.logResponderReads.get(view, at),
    minRnrTimer: QpContext.minRnrTimer.get(view, at),
    retryCnt: QpContext.retryCount.get(view, at),
    rnrRetry: AddressPath.rnrRetry.get(view, primary),
  };
}

function readPath(view: DataView, at: number): PathAttributes {
  const path: PathAttributes = {
    dlid: AddressPath.rlid.get(view, at),
    sl: AddressPath.sl.get(view, at),
    srcPathBits: AddressPath.pathBits.get(view, at),
    staticRate: AddressPath.staticRate.get(view, at),
  };
  if (AddressPath.grh.get(view, at) === 0) return path;
  return {
    ...path,
    grh: {
      dgid: Uint8Array.from(AddressPath.rgid.get(view, at)),
      sgidIndex: AddressPath.sgidIndex.get(view, at),
      hopLimit: AddressPath.hopLimit.get(view, at),
      trafficClass: AddressPath.trafficClass.get(view, at),
      flowLabel: AddressPath.flowLabel.get(view, at),
    },
  };
}
