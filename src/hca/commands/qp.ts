// Queue pairs: transitions, query, special numbers. Docs "infinihost" 2.8.14, 4.1; IBA vol 1, 10.3.

import { Command, CommandStatus, QP_CONTEXT_AT, QpTransition } from "../../spec/hca/commands.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext } from "../../spec/hca/contexts.ts";
import { QpState, Service } from "../../spec/ib/numbers.ts";
import type { AdapterPort } from "../../transport/port.ts";
import { QueuePair } from "../../transport/queue-pair.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import { LOG_MAX_WQES, QUOTA } from "../limits.ts";
import { decodeAttributes, getContext, setContext, writeContext } from "../qp-context.ts";
import { mergeContext, type Transition, transitions } from "../qp-transitions.ts";
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
  if (qps.count >= QUOTA.qps) return CommandStatus.EXCEED_LIM;
  if (!call.readInput(MAILBOX_BYTES)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const port = portOf(hca, AddressPath.port.get(view, QP_CONTEXT_AT + PRIMARY_PATH_AT));
  if (port === undefined) return CommandStatus.BAD_PARAM;
  const qp = createQp(hca, port, number, view, QP_CONTEXT_AT);
  if (typeof qp === "number") return qp;
  setContext(qp, view, QP_CONTEXT_AT);
  decodeAttributes(qp);
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
    const mask = QpTransition.optionalMask.get(call.input.view, 0);
    mergeContext(transition, mask, call.input.view, QP_CONTEXT_AT, getContext(qp));
    decodeAttributes(qp);
    qp.port = portOf(hca, AddressPath.port.get(getContext(qp), PRIMARY_PATH_AT)) ?? qp.port;
    enter(qp, transition.to);
    return CommandStatus.OK;
  };
}

/** Starts what a state begins with. */
function enter(qp: QueuePair, state: number): void {
  const context = getContext(qp);
  const before = qp.state;
  qp.state = state;
  if (state === QpState.RTR) qp.expectedPsn = QpContext.nextReceivePsn.get(context, 0);
  if (state === QpState.RTS) {
    if (before === QpState.RTR) qp.nextPsn = QpContext.nextSendPsn.get(context, 0);
    qp.retriesLeft = qp.attributes.retryCount;
    qp.rnrRetriesLeft = qp.attributes.rnrRetry;
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
