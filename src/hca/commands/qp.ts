// Queue pairs: transitions, query, special numbers. Docs "infinihost" 2.8.14, 4.1; IBA vol 1, 10.3.

import { Command, CommandStatus, QP_CONTEXT_AT, QpTransition } from "../../spec/hca/commands.ts";
import {
  AddressPath,
  ALTERNATE_PATH_AT,
  PathMigration,
  PRIMARY_PATH_AT,
  QpContext,
  QpOptional,
} from "../../spec/hca/contexts.ts";
import { Mtu, QpState, Service } from "../../spec/ib/numbers.ts";
import { migrate } from "../../transport/path-migration.ts";
import type { AdapterPort } from "../../transport/port.ts";
import { QueuePair } from "../../transport/queue-pair.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import { DEV_LIM, LOG_MAX_WQES } from "../limits.ts";
import { decodeContext, setContext, writeContext } from "../qp-context.ts";
import { isMaskLegal, mergeContext, type Transition, transitions } from "../qp-transitions.ts";
import type { CommandHandler, CommandTable } from "./handler.ts";

const QPN_MASK = 0xffffff;
const WQE_STRIDE_SHIFT = 4;
const MAILBOX_BYTES = QP_CONTEXT_AT + QpContext.byteLength;
const WANTS_DRAINED_EVENT = 0x80000000;
/** CONF_SPECIAL_QP opcode modifiers. */
const SpecialQp = { SMI: 0, GSI: 1 } as const;

function rst2init(hca: Hca, call: CommandCall): number {
  const { qps } = hca.adapter;
  const number = call.modifier & QPN_MASK;
  if (qps.size === 0) return CommandStatus.BAD_SYS_STATE;
  if (qps.inSlotOf(number) !== undefined) return CommandStatus.BAD_QP_STATE;
  if (qps.count >= hca.quota.qps) return CommandStatus.EXCEED_LIM;
  if (!call.readInput(MAILBOX_BYTES)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const port = portOf(hca, AddressPath.port.get(view, QP_CONTEXT_AT + PRIMARY_PATH_AT));
  if (port === undefined || !hasPkey(port, view, QP_CONTEXT_AT + PRIMARY_PATH_AT)) return CommandStatus.BAD_PARAM;
  const qp = createQp(hca, port, number, view, QP_CONTEXT_AT);
  if (typeof qp === "number") return qp;
  setContext(qp, view, QP_CONTEXT_AT);
  decodeContext(qp);
  qp.state = QpState.INIT;
  qps.add(qp);
  hca.doorbells.watchQp(qp);
  hca.adapter.network.connectionsChanged();
  return CommandStatus.OK;
}

const portOf = (hca: Hca, number: number): AdapterPort | undefined => hca.adapter.ports[number - 1];

/** Checks what the context names and builds the QP; a status if something does not exist. */
function createQp(hca: Hca, port: AdapterPort, number: number, view: DataView, at: number): QueuePair | number {
  const { cqs, srqs } = hca.adapter;
  const uar = QpContext.usrPage.get(view, at);
  const service = QpContext.service.get(view, at);
  const sendCq = cqs.find(QpContext.sendCqn.get(view, at));
  const receiveCq = cqs.find(QpContext.receiveCqn.get(view, at));
  const isShared = QpContext.srqAttached.get(view, at) === 1;
  const srq = isShared ? srqs.find(QpContext.srqn.get(view, at)) : undefined;
  const logSqSize = QpContext.logSqSize.get(view, at);
  const logRqSize = QpContext.logRqSize.get(view, at);
  if (!hca.hasUar(uar) || sendCq === undefined || receiveCq === undefined) return CommandStatus.BAD_INDEX;
  if (isShared && srq === undefined) return CommandStatus.BAD_INDEX;
  if (service === Service.RD || (service > Service.UD && service !== Service.MLX)) return CommandStatus.BAD_PARAM;
  if (logSqSize > LOG_MAX_WQES + 1 || logRqSize > LOG_MAX_WQES + 1) return CommandStatus.EXCEED_LIM;
  const isMlx = service === Service.MLX;
  if (isMlx && number !== port.smiQpn && number !== port.gsiQpn) return CommandStatus.BAD_PARAM;
  return new QueuePair(hca.adapter, port, {
    number,
    service,
    uar,
    pd: QpContext.pd.get(view, at),
    signalAll: QpContext.signalAll.get(view, at) === 1,
    wqeLkey: QpContext.wqeLkey.get(view, at),
    wqeBaseHi: QpContext.wqeBaseHi.get(view, at),
    sqBase: QpContext.sqBase.get(view, at),
    logSqSize,
    logSqStride: QpContext.logSqStride.get(view, at) + WQE_STRIDE_SHIFT,
    sqRecord: hca.recordAt(uar, QpContext.sqRecord.get(view, at)),
    rqBase: QpContext.rqBase.get(view, at),
    logRqSize,
    logRqStride: QpContext.logRqStride.get(view, at) + WQE_STRIDE_SHIFT,
    rqRecord: hca.recordAt(uar, QpContext.rqRecord.get(view, at)),
    srq,
    sendCq,
    receiveCq,
  });
}

function modify(transition: Transition): CommandHandler {
  return (hca, call) => {
    const qp = hca.adapter.qps.find(call.modifier & QPN_MASK);
    if (qp === undefined || !transition.from.includes(qp.state)) return CommandStatus.BAD_QP_STATE;
    if (call.opcode === Command.RTS2SQD_QP) return drain(qp, (call.modifier & WANTS_DRAINED_EVENT) !== 0);
    if (!call.readInput(MAILBOX_BYTES)) return CommandStatus.BAD_PARAM;
    const { view } = call.input;
    const mask = QpTransition.optionalMask.get(view, 0);
    if (!isMaskLegal(transition, qp.service, mask)) return CommandStatus.BAD_PARAM;
    if (!arePathsLegal(hca, qp, mask, view) || !isMigrationLegal(mask, view)) return CommandStatus.BAD_PARAM;
    if (call.opcode === Command.INIT2RTR_QP && !isMtuLegal(qp, view)) return CommandStatus.BAD_PARAM;
    mergeContext(transition, mask, view, QP_CONTEXT_AT, qp.context, qp.contextAt);
    decodeContext(qp);
    qp.port = portOf(hca, AddressPath.port.get(qp.context, qp.contextAt + PRIMARY_PATH_AT)) ?? qp.port;
    if ((mask & QpOptional.PATH_MIGRATION) !== 0) setMigration(qp);
    if (transition.to !== undefined) enter(qp, transition.to);
    else qp.adapter.network.connectionsChanged();
    return CommandStatus.OK;
  };
}

/** Ports, P_Key and GID indices that a transition sets must exist (11.2.4.2: invalid attribute value). */
function arePathsLegal(hca: Hca, qp: QueuePair, mask: number, view: DataView): boolean {
  const primary = QP_CONTEXT_AT + PRIMARY_PATH_AT;
  const port = (mask & QpOptional.PORT) === 0 ? qp.port : portOf(hca, AddressPath.port.get(view, primary));
  if (port === undefined) return false;
  if ((mask & QpOptional.PKEY_INDEX) !== 0 && !hasPkey(port, view, primary)) return false;
  if ((mask & QpOptional.PRIMARY_PATH) !== 0 && !hasGid(port, view, primary)) return false;
  if ((mask & QpOptional.ALTERNATE_PATH) === 0) return true;
  const alternate = QP_CONTEXT_AT + ALTERNATE_PATH_AT;
  const other = portOf(hca, AddressPath.port.get(view, alternate));
  return other !== undefined && hasPkey(other, view, alternate) && hasGid(other, view, alternate);
}

const hasPkey = (port: AdapterPort, view: DataView, at: number): boolean =>
  AddressPath.pkeyIndex.get(view, at) < port.wire.pkeys.length;

const hasGid = (port: AdapterPort, view: DataView, at: number): boolean =>
  AddressPath.grh.get(view, at) === 0 || AddressPath.sgidIndex.get(view, at) < port.wire.gidCount;

/** Software asks to migrate or to be armed; only the adapter itself can say that a connection is armed (17.2.8.1). */
function isMigrationLegal(mask: number, view: DataView): boolean {
  if ((mask & QpOptional.PATH_MIGRATION) === 0) return true;
  const state = QpContext.pathMigration.get(view, QP_CONTEXT_AT);
  return state === PathMigration.MIGRATED || state === PathMigration.REARM;
}

function setMigration(qp: QueuePair): void {
  const wanted = QpContext.pathMigration.get(qp.context, qp.contextAt);
  if (wanted === PathMigration.MIGRATED && qp.migration === PathMigration.ARMED) migrate(qp);
  qp.migration = wanted;
  qp.hasRefusedMigration = false;
}

/** A connected QP gets its path MTU here (11.2.4.2); the fabric and this HCA carry 256 to 2048 bytes. */
function isMtuLegal(qp: QueuePair, view: DataView): boolean {
  if (qp.isDatagram) return true;
  const code = QpContext.mtu.get(view, QP_CONTEXT_AT);
  return code >= Mtu.MTU_256 && code <= DEV_LIM.maxMtu;
}

/** Starts what a state begins with. */
function enter(qp: QueuePair, state: number): void {
  const { context, contextAt } = qp;
  const before = qp.state;
  qp.state = state;
  if (state === QpState.RTR) qp.expectedPsn = QpContext.nextReceivePsn.get(context, contextAt);
  if (state === QpState.RTS) {
    if (before === QpState.RTR) qp.nextPsn = QpContext.nextSendPsn.get(context, contextAt);
    qp.retriesLeft = qp.attributes.retryCount;
    qp.rnrRetriesLeft = qp.attributes.rnrRetry;
    qp.wantsDrainedEvent = false;
    qp.adapter.activate(qp);
  }
  qp.adapter.network.connectionsChanged();
}

function drain(qp: QueuePair, wantsEvent: boolean): number {
  qp.wantsDrainedEvent = wantsEvent;
  if (qp.state === QpState.RTS) qp.state = QpState.SQ_DRAINING;
  qp.stopWaiting();
  qp.adapter.activate(qp);
  return CommandStatus.OK;
}

function any2err(hca: Hca, call: CommandCall): number {
  const qp = hca.adapter.qps.find(call.modifier & QPN_MASK);
  if (qp === undefined) return CommandStatus.BAD_QP_STATE;
  qp.enterError();
  return CommandStatus.OK;
}

/** Any state, also RESET: the driver does not know of errors the device found (4.1.3). */
function any2rst(hca: Hca, call: CommandCall): number {
  const qp = hca.adapter.qps.find(call.modifier & QPN_MASK);
  if (qp !== undefined) hca.removeQp(qp);
  return CommandStatus.OK;
}

function queryQp(hca: Hca, call: CommandCall): number {
  const qp = hca.adapter.qps.find(call.modifier & QPN_MASK);
  if (qp === undefined) return CommandStatus.BAD_INDEX;
  writeContext(qp, call.startOutput(MAILBOX_BYTES), QP_CONTEXT_AT);
  return call.writeOutput(MAILBOX_BYTES) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function confSpecialQp(hca: Hca, call: CommandCall): number {
  const base = call.modifier & QPN_MASK;
  if (call.opcodeModifier !== SpecialQp.SMI && call.opcodeModifier !== SpecialQp.GSI) return CommandStatus.BAD_PARAM;
  for (const port of hca.adapter.ports) {
    const qpn = base === 0 ? -1 : base + port.number - 1;
    if (call.opcodeModifier === SpecialQp.SMI) port.smiQpn = qpn;
    else port.gsiQpn = qpn;
  }
  return CommandStatus.OK;
}

export const qpCommands: CommandTable = [
  [Command.RST2INIT_QP, rst2init],
  ...[...transitions].map(([opcode, transition]) => [opcode, modify(transition)] as const),
  [Command.ANY2ERR_QP, any2err],
  [Command.ANY2RST_QP, any2rst],
  [Command.QUERY_QP, queryQp],
  [Command.CONF_SPECIAL_QP, confSpecialQp],
];
