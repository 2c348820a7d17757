// What the queue pair commands are expected to do, for the `commands` target: transitions with the attributes of each service, and the
// fields that each takes (IBA vol 1, 10.3.1, 11.2.4.2; infinihost 4.1.3, 4.1.4), written down a second time.

import { Command } from "../../src/spec/hca/commands.ts";
import { PathMigration, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";

const { INIT, RTR, RTS, SQE, SQD } = QpState;

const O = QpOptional;
const ACCESS = O.REMOTE_READ | O.REMOTE_WRITE | O.REMOTE_ATOMIC;
const MIGRATION = O.ALTERNATE_PATH | O.PATH_MIGRATION;
/** Attributes by service, in the order RC, UC, UD. */
type Masks = readonly [rc: number, uc: number, ud: number];
const NONE: Masks = [0, 0, 0];
const RUNNING: Masks = [ACCESS | O.RNR_TIMER | MIGRATION, ACCESS | MIGRATION, O.QKEY];
const ADDRESS = O.PKEY_INDEX | O.SCHEDULE_QUEUE;

export interface TransitionModel {
  opcode: number;
  from: readonly number[];
  to: number;
  required: Masks;
  optional: Masks;
}

/** From where each transition leads where, and with which attributes (IBA vol 1, 10.3.1, 11.2.4.2), written down a second time. */
export const TRANSITIONS: readonly TransitionModel[] = [
  {
    opcode: Command.INIT2INIT_QP,
    from: [INIT],
    to: INIT,
    required: NONE,
    optional: [O.PKEY_INDEX | O.PORT | ACCESS, O.PKEY_INDEX | O.PORT | ACCESS, O.PKEY_INDEX | O.PORT | O.QKEY],
  },
  {
    opcode: Command.INIT2RTR_QP,
    from: [INIT],
    to: RTR,
    required: [O.PRIMARY_PATH | O.RESPONDER_READS | O.RNR_TIMER, O.PRIMARY_PATH, 0],
    optional: [O.ALTERNATE_PATH | ACCESS | ADDRESS, O.ALTERNATE_PATH | ACCESS | ADDRESS, ADDRESS | O.QKEY],
  },
  {
    opcode: Command.RTR2RTS_QP,
    from: [RTR],
    to: RTS,
    required: [O.ACK_TIMEOUT | O.RETRY_COUNT | O.RNR_RETRY | O.REQUESTER_READS, 0, 0],
    optional: [RUNNING[0] | O.ALTERNATE_RNR_RETRY, RUNNING[1], RUNNING[2]],
  },
  { opcode: Command.RTS2RTS_QP, from: [RTS], to: RTS, required: NONE, optional: RUNNING },
  { opcode: Command.SQERR2RTS_QP, from: [SQE], to: RTS, required: NONE, optional: [0, ACCESS, O.QKEY] },
  { opcode: Command.RTS2SQD_QP, from: [RTS, SQD], to: SQD, required: NONE, optional: NONE },
  {
    opcode: Command.SQD2SQD_QP,
    from: [SQD],
    to: SQD,
    required: NONE,
    optional: [0x1ffff & ~(O.QKEY | O.SCHEDULE_QUEUE), RUNNING[1] | O.PRIMARY_PATH | O.PKEY_INDEX, O.PKEY_INDEX | O.QKEY],
  },
  { opcode: Command.SQD2RTS_QP, from: [SQD], to: RTS, required: NONE, optional: RUNNING },
];

/** Index of a service in `Masks`. */
export const columnOf = (service: number): 0 | 1 | 2 => (service === Service.RC ? 0 : service === Service.UC ? 1 : 2);

export function isMaskLegal({ opcode, required, optional }: TransitionModel, service: number, mask: number): boolean {
  // Draining takes no context.
  if (opcode === Command.RTS2SQD_QP) return true;
  const column = columnOf(service);
  return (mask & required[column]) === required[column] && (mask & ~(required[column] | optional[column])) === 0;
}

export interface QpModel {
  state: number;
  service: number;
  sendCq: number;
  receiveCq: number;
  srq: number | undefined;
  /** What QUERY_QP must give back. */
  fields: Map<string, number>;
}

/** Fields of the QP context that are compared: taken by a transition, with the mask bit that lets it (0: always). */
export const TAKEN: ReadonlyMap<number, readonly (readonly [field: keyof typeof QpContext, bit: number])[]> = new Map([
  [
    Command.INIT2INIT_QP,
    [
      ["qkey", QpOptional.QKEY],
      ["remoteWrite", QpOptional.REMOTE_WRITE],
    ],
  ],
  [
    Command.INIT2RTR_QP,
    [
      ["remoteQpn", 0],
      ["mtu", 0],
      ["nextReceivePsn", 0],
      ["minRnrTimer", QpOptional.RNR_TIMER],
    ],
  ],
  [
    Command.RTR2RTS_QP,
    [
      ["nextSendPsn", 0],
      ["retryCount", QpOptional.RETRY_COUNT],
      ["qkey", QpOptional.QKEY],
    ],
  ],
  [
    Command.RTS2RTS_QP,
    [
      ["qkey", QpOptional.QKEY],
      ["minRnrTimer", QpOptional.RNR_TIMER],
    ],
  ],
  [
    Command.SQD2SQD_QP,
    [
      ["qkey", QpOptional.QKEY],
      ["retryCount", QpOptional.RETRY_COUNT],
    ],
  ],
  [
    Command.SQD2RTS_QP,
    [
      ["minRnrTimer", QpOptional.RNR_TIMER],
      ["remoteWrite", QpOptional.REMOTE_WRITE],
    ],
  ],
]);
export const COMPARED: readonly (keyof typeof QpContext)[] = [
  "service",
  "pd",
  "usrPage",
  "sqBase",
  "wqeLkey",
  "sendCqn",
  "receiveCqn",
  "remoteQpn",
  "mtu",
  "qkey",
  "minRnrTimer",
  "retryCount",
  "remoteWrite",
  "nextSendPsn",
  "nextReceivePsn",
];

export function fieldOf(name: keyof typeof QpContext): { get(view: DataView, at: number): number } {
  const field = QpContext.info.fields.get(name);
  if (field?.kind !== "number") throw new Error(`invariant: ${name} is a number of the QP context`);
  return field;
}

/** Fields that no transition after INIT may touch. */
export const CONSTANT = new Set(["service", "pd", "usrPage", "sqBase", "wqeLkey", "sendCqn", "receiveCqn"]);
/** Values that every transition accepts. */
export const RUNNING_VALUES = { retryCount: 3, minRnrTimer: 9, mtu: 2, pathMigration: PathMigration.MIGRATED };
