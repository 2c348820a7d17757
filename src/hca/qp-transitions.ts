// QP state transitions as data: which command leads from where to where, and which context fields it takes. The driver sends a
// fresh, mostly zero context each time, so everything else keeps its old value. Docs "infinihost" 4.1.3, 4.1.4, P-4; IBA vol 1, 10.3.1, 11.2.4.2.

import type { Field } from "../base/layout.ts";
import { Command } from "../spec/hca/commands.ts";
import { AddressPath, ALTERNATE_PATH_AT, PRIMARY_PATH_AT, QpContext, QpOptional } from "../spec/hca/contexts.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";

/** Mask bits by service; the special QPs' service (MLX) has those of UD (IBA vol 1, 11.2.4.2). */
interface MaskByService {
  readonly rc: number;
  readonly uc: number;
  readonly ud: number;
}

export interface Transition {
  readonly from: readonly number[];
  /** The state it leads to; undefined: the state stays. */
  readonly to: number | undefined;
  /** Fields the transition takes whatever the mask says. */
  readonly always: readonly Field[];
  /** Mask bits that must be set. */
  readonly required: MaskByService;
  /** Mask bits that may be set. */
  readonly optional: MaskByService;
}

const O = QpOptional;
const ACCESS = O.REMOTE_READ | O.REMOTE_WRITE | O.REMOTE_ATOMIC;
const MIGRATION = O.ALTERNATE_PATH | O.PATH_MIGRATION;
const RNR_RETRIES = O.RNR_RETRY | O.ALTERNATE_RNR_RETRY;
const NONE: MaskByService = { rc: 0, uc: 0, ud: 0 };
const RUNNING: MaskByService = { rc: ACCESS | O.RNR_TIMER | MIGRATION, uc: ACCESS | MIGRATION, ud: O.QKEY };
const INIT: MaskByService = {
  rc: O.PKEY_INDEX | O.PORT | ACCESS,
  uc: O.PKEY_INDEX | O.PORT | ACCESS,
  ud: O.PKEY_INDEX | O.PORT | O.QKEY,
};

/** Transitions by command. RST2INIT takes the whole context; ANY2ERR and ANY2RST have none. Those are handled on their own. */
export const transitions: ReadonlyMap<number, Transition> = new Map<number, Transition>([
  [Command.INIT2INIT_QP, { from: [QpState.INIT], to: QpState.INIT, always: [], required: NONE, optional: INIT }],
  [
    Command.INIT2RTR_QP,
    {
      from: [QpState.INIT],
      to: QpState.RTR,
      always: [QpContext.remoteQpn, QpContext.mtu, QpContext.logMaxMessage, QpContext.nextReceivePsn, QpContext.rdbAddress],
      required: { rc: O.PRIMARY_PATH | O.RESPONDER_READS | O.RNR_TIMER, uc: O.PRIMARY_PATH, ud: 0 },
      optional: {
        rc: O.ALTERNATE_PATH | ACCESS | O.PKEY_INDEX | O.SCHEDULE_QUEUE,
        uc: O.ALTERNATE_PATH | ACCESS | O.PKEY_INDEX | O.SCHEDULE_QUEUE,
        ud: O.PKEY_INDEX | O.QKEY | O.SCHEDULE_QUEUE,
      },
    },
  ],
  [
    Command.RTR2RTS_QP,
    {
      from: [QpState.RTR],
      to: QpState.RTS,
      always: [QpContext.nextSendPsn, QpContext.ackRequestFrequency, QpContext.flightLimit, QpContext.sendWrites],
      required: { rc: O.ACK_TIMEOUT | O.RETRY_COUNT | O.RNR_RETRY | O.REQUESTER_READS, uc: 0, ud: 0 },
      optional: { ...RUNNING, rc: RUNNING.rc | O.ALTERNATE_RNR_RETRY },
    },
  ],
  [Command.RTS2RTS_QP, { from: [QpState.RTS], to: QpState.RTS, always: [], required: NONE, optional: RUNNING }],
  [
    Command.SQERR2RTS_QP,
    // An RC queue pair has no SQE state: its send errors lead to ERR (10.3.1.6).
    { from: [QpState.SQE], to: QpState.RTS, always: [], required: NONE, optional: { rc: 0, uc: ACCESS, ud: O.QKEY } },
  ],
  [
    Command.RTS2SQD_QP,
    { from: [QpState.RTS, QpState.SQ_DRAINING, QpState.SQD], to: QpState.SQD, always: [], required: NONE, optional: NONE },
  ],
  [
    Command.SQD2SQD_QP,
    {
      from: [QpState.SQD, QpState.SQ_DRAINING],
      to: undefined,
      always: [],
      required: NONE,
      optional: {
        rc:
          RUNNING.rc |
          RNR_RETRIES |
          O.PORT |
          O.PRIMARY_PATH |
          O.ACK_TIMEOUT |
          O.RETRY_COUNT |
          O.REQUESTER_READS |
          O.RESPONDER_READS |
          O.PKEY_INDEX,
        uc: RUNNING.uc | O.PRIMARY_PATH | O.PKEY_INDEX,
        ud: O.PKEY_INDEX | O.QKEY,
      },
    },
  ],
  [
    Command.SQD2RTS_QP,
    { from: [QpState.SQD, QpState.SQ_DRAINING], to: QpState.RTS, always: [], required: NONE, optional: RUNNING },
  ],
]);

const maskOf = (masks: MaskByService, service: number): number =>
  service === Service.RC ? masks.rc : service === Service.UC ? masks.uc : masks.ud;

/** True if `mask` names all attributes that the transition needs for this service, and none that it does not take. */
export function isMaskLegal(transition: Transition, service: number, mask: number): boolean {
  const required = maskOf(transition.required, service);
  const allowed = required | maskOf(transition.optional, service);
  return (mask & required) === required && (mask & ~allowed) === 0;
}

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

/** Takes into the context at `at` what the transition always takes of `given`, and what `bits` name; the mask has been checked. */
export function mergeContext(
  transition: Transition,
  bits: number,
  given: DataView,
  givenAt: number,
  context: DataView,
  at: number,
): void {
  for (const field of transition.always) copyField(field, given, givenAt, context, at);
  for (const [bit, fields] of fieldsOf) {
    if ((bits & bit) !== 0) for (const field of fields) copyField(field, given, givenAt, context, at);
  }
  for (const [bit, pathAt, fields] of pathFieldsOf) {
    if ((bits & bit) !== 0) for (const field of fields) copyField(field, given, givenAt + pathAt, context, at + pathAt);
  }
  if ((bits & O.PRIMARY_PATH) !== 0) {
    copyBytesOf(AddressPath.rgid, given, givenAt + PRIMARY_PATH_AT, context, at + PRIMARY_PATH_AT);
  }
  if ((bits & O.ALTERNATE_PATH) !== 0) {
    for (let i = ALTERNATE_PATH_AT; i < ALTERNATE_PATH_AT + AddressPath.byteLength; i += 4) {
      context.setInt32(at + i, given.getInt32(givenAt + i));
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
