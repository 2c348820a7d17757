// QP state transitions as data: which command leads from where to where, and which context fields it takes. The driver sends a
// fresh, mostly zero context each time, so everything else keeps its old value. Docs "infinihost" 4.1.3, 4.1.4, P-4.

import type { Field } from "../base/layout.ts";
import { Command } from "../spec/hca/commands.ts";
import { AddressPath, ALTERNATE_PATH_AT, PRIMARY_PATH_AT, QpContext, QpOptional } from "../spec/hca/contexts.ts";
import { QpState } from "../spec/ib/numbers.ts";

export interface Transition {
  readonly from: readonly number[];
  readonly to: number;
  /** Fields the transition takes whatever the mask says. */
  readonly always: readonly Field[];
  /** Mask bits it honours. */
  readonly optional: number;
}

const O = QpOptional;
const ACCESS = O.REMOTE_READ | O.REMOTE_WRITE | O.REMOTE_ATOMIC;
const INIT_OPTIONAL = O.PKEY_INDEX | O.PORT | O.QKEY | ACCESS;
const RTR_OPTIONAL =
  O.ALTERNATE_PATH |
  ACCESS |
  O.PKEY_INDEX |
  O.QKEY |
  O.RNR_TIMER |
  O.PRIMARY_PATH |
  O.RESPONDER_READS |
  O.PORT |
  O.SCHEDULE_QUEUE;
const RTS_OPTIONAL =
  O.ACK_TIMEOUT |
  O.RETRY_COUNT |
  O.RNR_RETRY |
  O.ALTERNATE_RNR_RETRY |
  O.REQUESTER_READS |
  ACCESS |
  O.RNR_TIMER |
  O.QKEY |
  O.ALTERNATE_PATH |
  O.PATH_MIGRATION;
const ALL_OPTIONAL = 0x1ffff;

/** Transitions by command. ANY2ERR and ANY2RST have no context and are handled on their own. */
export const transitions: ReadonlyMap<number, Transition> = new Map<number, Transition>([
  [Command.INIT2INIT_QP, { from: [QpState.INIT], to: QpState.INIT, always: [], optional: INIT_OPTIONAL }],
  [
    Command.INIT2RTR_QP,
    {
      from: [QpState.INIT],
      to: QpState.RTR,
      always: [QpContext.remoteQpn, QpContext.mtu, QpContext.logMaxMessage, QpContext.nextReceivePsn, QpContext.rdbAddress],
      optional: RTR_OPTIONAL,
    },
  ],
  [
    Command.RTR2RTS_QP,
    {
      from: [QpState.RTR],
      to: QpState.RTS,
      always: [QpContext.nextSendPsn, QpContext.ackRequestFrequency, QpContext.flightLimit, QpContext.sendWrites],
      optional: RTS_OPTIONAL,
    },
  ],
  [Command.RTS2RTS_QP, { from: [QpState.RTS], to: QpState.RTS, always: [], optional: RTS_OPTIONAL }],
  [Command.SQERR2RTS_QP, { from: [QpState.SQE], to: QpState.RTS, always: [], optional: RTS_OPTIONAL }],
  [Command.RTS2SQD_QP, { from: [QpState.RTS, QpState.SQ_DRAINING, QpState.SQD], to: QpState.SQD, always: [], optional: 0 }],
  [Command.SQD2SQD_QP, { from: [QpState.SQD, QpState.SQ_DRAINING], to: QpState.SQD, always: [], optional: ALL_OPTIONAL }],
  [Command.SQD2RTS_QP, { from: [QpState.SQD, QpState.SQ_DRAINING], to: QpState.RTS, always: [], optional: RTS_OPTIONAL }],
]);

/** Context fields behind each mask bit; paths are separate. */
const fieldsOf: readonly (readonly [bit: number, fields: readonly Field[]])[] = [
  [O.REMOTE_READ, [QpContext.remoteRead]],
  [O.REMOTE_WRITE, [QpContext.remoteWrite]],
  [O.REMOTE_ATOMIC, [QpContext.remoteAtomic]],
  [O.QKEY, [QpContext.qkey]],
  [O.RNR_TIMER, [QpContext.minRnrTimer]],
  [O.REQUESTER_READS, [QpContext.logRequesterReads, QpContext.sendReads, QpContext.sendAtomics]],
  [O.RESPONDER_READS, [QpContext.logResponderReads]],
  [O.PATH_MIGRATION, [QpContext.pathMigration]],
  [O.RETRY_COUNT, [QpContext.retryCount]],
  [O.SCHEDULE_QUEUE, [QpContext.scheduleQueue]],
];

/** Path fields behind each mask bit, with where the path lies. PRIMARY_PATH leaves port, P_Key index and the timers alone. */
const pathFieldsOf: readonly (readonly [bit: number, pathAt: number, fields: readonly Field[]])[] = [
  [O.PKEY_INDEX, PRIMARY_PATH_AT, [AddressPath.pkeyIndex]],
  [O.PORT, PRIMARY_PATH_AT, [AddressPath.port]],
  [O.RNR_RETRY, PRIMARY_PATH_AT, [AddressPath.rnrRetry]],
  [O.ACK_TIMEOUT, PRIMARY_PATH_AT, [AddressPath.ackTimeout]],
  [O.ALTERNATE_RNR_RETRY, ALTERNATE_PATH_AT, [AddressPath.rnrRetry]],
  [
    O.PRIMARY_PATH,
    PRIMARY_PATH_AT,
    [
      AddressPath.grh,
      AddressPath.pathBits,
      AddressPath.rlid,
      AddressPath.sgidIndex,
      AddressPath.staticRate,
      AddressPath.hopLimit,
      AddressPath.sl,
      AddressPath.trafficClass,
      AddressPath.flowLabel,
    ],
  ],
];

function copyField(field: Field, from: DataView, fromAt: number, to: DataView, toAt: number): void {
  field.set(to, toAt, field.get(from, fromAt));
}

/** Takes into `context` what transition and mask allow of `given` (both at offset 0). */
export function mergeContext(transition: Transition, mask: number, given: DataView, givenAt: number, context: DataView): void {
  const bits = mask & transition.optional;
  for (const field of transition.always) copyField(field, given, givenAt, context, 0);
  for (const [bit, fields] of fieldsOf) {
    if ((bits & bit) !== 0) for (const field of fields) copyField(field, given, givenAt, context, 0);
  }
  for (const [bit, pathAt, fields] of pathFieldsOf) {
    if ((bits & bit) !== 0) for (const field of fields) copyField(field, given, givenAt + pathAt, context, pathAt);
  }
  if ((bits & O.PRIMARY_PATH) !== 0) copyBytesOf(AddressPath.rgid, given, givenAt + PRIMARY_PATH_AT, context, PRIMARY_PATH_AT);
  if ((bits & O.ALTERNATE_PATH) !== 0) {
    for (let i = 0; i < AddressPath.byteLength; i += 4) {
      context.setInt32(ALTERNATE_PATH_AT + i, given.getInt32(givenAt + ALTERNATE_PATH_AT + i));
    }
  }
}

function copyBytesOf(
  field: { offset: number; length: number },
  from: DataView,
  fromAt: number,
  to: DataView,
  toAt: number,
): void {
  for (let i = 0; i < field.length; i++) to.setUint8(toAt + field.offset + i, from.getUint8(fromAt + field.offset + i));
}
