// Completion, shared receive and event queues. Docs "infinihost" 2.8.12, 4.2-4.4.

import { Command, CommandStatus, ResizeCq } from "../../spec/hca/commands.ts";
import { CqContext, CqState, CqStatus, EqContext, EqState, SrqContext, SrqState } from "../../spec/hca/contexts.ts";
import { CqArm } from "../../spec/hca/registers.ts";
import { CompletionQueue } from "../../transport/completion-queue.ts";
import { SharedReceiveQueue } from "../../transport/shared-receive-queue.ts";
import type { CommandCall } from "../command-call.ts";
import { EventQueue } from "../event-queue.ts";
import type { Hca } from "../hca.ts";
import { LOG_MAX_CQES, LOG_MAX_WQES, MAX_EQS, MSIX_VECTORS } from "../limits.ts";
import type { CommandTable } from "./handler.ts";

const NUMBER_MASK = 0xffffff;
/** The completion EQ has an entry for every CQ the driver may create. */
const LOG_MAX_EQES = 22;
const WQE_STRIDE_SHIFT = 4;

// ---- CQ -------------------------------------------------------------------------------------------------------------

function sw2hwCq(hca: Hca, call: CommandCall): number {
  const { cqs } = hca.adapter;
  const number = call.modifier & NUMBER_MASK;
  if (cqs.size === 0) return CommandStatus.BAD_SYS_STATE;
  if (!call.readInput(CqContext.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const uar = CqContext.usrPage.get(view, 0);
  const eqn = CqContext.completionEqn.get(view, 0);
  const logSize = CqContext.logSize.get(view, 0);
  if (cqs.inSlotOf(number) !== undefined) return CommandStatus.BAD_RES_STATE;
  if (cqs.count >= hca.quota.cqs) return CommandStatus.EXCEED_LIM;
  if (!hca.hasUar(uar) || eqn >= MAX_EQS) return CommandStatus.BAD_INDEX;
  if (logSize > LOG_MAX_CQES) return CommandStatus.EXCEED_LIM;
  const cq = new CompletionQueue(hca.adapter, {
    number,
    logSize,
    uar,
    pd: CqContext.pd.get(view, 0),
    lkey: CqContext.lkey.get(view, 0),
    startHi: CqContext.startAddress.hi.get(view, 0),
    startLo: CqContext.startAddress.lo.get(view, 0),
    eqn,
    ciRecord: hca.recordAt(uar, CqContext.ciRecord.get(view, 0)),
    armRecord: hca.recordAt(uar, CqContext.armRecord.get(view, 0)),
  });
  cqs.add(cq);
  hca.doorbells.watchCq(cq);
  return CommandStatus.OK;
}

function hw2swCq(hca: Hca, call: CommandCall): number {
  const { cqs } = hca.adapter;
  const cq = cqs.find(call.modifier & NUMBER_MASK);
  if (cq === undefined) return CommandStatus.BAD_RES_STATE;
  if (cq.userCount > 0) return CommandStatus.RESOURCE_BUSY;
  cqs.remove(cq);
  cq.detach();
  hca.doorbells.unwatchCq(cq);
  const out = call.startOutput(CqContext.byteLength);
  describeCq(cq, out);
  // Where the driver gave no mailbox the context is simply lost (P-25).
  call.writeOutput(CqContext.byteLength);
  return CommandStatus.OK;
}

function queryCq(hca: Hca, call: CommandCall): number {
  const cq = hca.adapter.cqs.find(call.modifier & NUMBER_MASK);
  if (cq === undefined) return CommandStatus.BAD_INDEX;
  describeCq(cq, call.startOutput(CqContext.byteLength));
  return call.writeOutput(CqContext.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function describeCq(cq: CompletionQueue, out: DataView): void {
  const armedState =
    cq.armed === CqArm.NEXT ? CqState.ARMED : cq.armed === CqArm.SOLICITED ? CqState.ARMED_SOLICITED : CqState.FIRED;
  CqContext.status.set(out, 0, cq.isBroken ? CqStatus.OVERFLOW : CqStatus.OK);
  CqContext.state.set(out, 0, armedState);
  CqContext.logSize.set(out, 0, cq.logSize);
  CqContext.usrPage.set(out, 0, cq.uar);
  CqContext.completionEqn.set(out, 0, cq.eqn);
  CqContext.pd.set(out, 0, cq.pd);
  CqContext.lastNotifiedIndex.set(out, 0, cq.lastNotified);
  CqContext.solicitedProducerIndex.set(out, 0, cq.lastSolicited);
  CqContext.consumerCounter.set(out, 0, cq.consumer);
  CqContext.producerCounter.set(out, 0, cq.producer);
  CqContext.cqn.set(out, 0, cq.number);
}

function resizeCq(hca: Hca, call: CommandCall): number {
  const cq = hca.adapter.cqs.find(call.modifier & NUMBER_MASK);
  if (cq === undefined) return CommandStatus.BAD_INDEX;
  if (!call.readInput(ResizeCq.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const logSize = ResizeCq.logSize.get(view, 0) & 0x1f;
  if (logSize > LOG_MAX_CQES) return CommandStatus.EXCEED_LIM;
  if (((cq.producer - cq.consumer) | 0) > 1 << logSize) return CommandStatus.BAD_SIZE;
  cq.resize(logSize, ResizeCq.lkey.get(view, 0), ResizeCq.startAddress.hi.get(view, 0), ResizeCq.startAddress.lo.get(view, 0));
  return CommandStatus.OK;
}

// ---- SRQ ------------------------------------------------------------------------------------------------------------

function sw2hwSrq(hca: Hca, call: CommandCall): number {
  const { srqs } = hca.adapter;
  const number = call.modifier & NUMBER_MASK;
  if (srqs.size === 0) return CommandStatus.BAD_SYS_STATE;
  if (!call.readInput(SrqContext.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const uar = SrqContext.usrPage.get(view, 0);
  const logSize = SrqContext.logSize.get(view, 0);
  const recordIndex = SrqContext.record.get(view, 0);
  if (srqs.inSlotOf(number) !== undefined) return CommandStatus.BAD_RES_STATE;
  if (srqs.count >= hca.quota.srqs) return CommandStatus.EXCEED_LIM;
  if (!hca.hasUar(uar)) return CommandStatus.BAD_INDEX;
  if (logSize > LOG_MAX_WQES + 1) return CommandStatus.EXCEED_LIM;
  srqs.add(
    new SharedReceiveQueue(hca.adapter, {
      number,
      uar,
      pd: SrqContext.pd.get(view, 0),
      logSize,
      logStride: SrqContext.logStride.get(view, 0) + WQE_STRIDE_SHIFT,
      lkey: SrqContext.lkey.get(view, 0),
      record: hca.recordAt(uar, recordIndex),
      recordIndex,
      baseHi: SrqContext.wqeAddress.hi.get(view, 0),
      firstOffset: SrqContext.wqeAddress.lo.get(view, 0),
    }),
  );
  return CommandStatus.OK;
}

function hw2swSrq(hca: Hca, call: CommandCall): number {
  const { srqs } = hca.adapter;
  const srq = srqs.find(call.modifier & NUMBER_MASK);
  if (srq === undefined) return CommandStatus.BAD_RES_STATE;
  if (srq.userCount > 0) return CommandStatus.RESOURCE_BUSY;
  describeSrq(srq, call.startOutput(SrqContext.byteLength));
  srqs.remove(srq);
  call.writeOutput(SrqContext.byteLength);
  return CommandStatus.OK;
}

function querySrq(hca: Hca, call: CommandCall): number {
  const srq = hca.adapter.srqs.find(call.modifier & NUMBER_MASK);
  if (srq === undefined) return CommandStatus.BAD_INDEX;
  describeSrq(srq, call.startOutput(SrqContext.byteLength));
  return call.writeOutput(SrqContext.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function describeSrq(srq: SharedReceiveQueue, out: DataView): void {
  SrqContext.state.set(out, 0, srq.isBroken ? SrqState.ERROR : SrqState.HW);
  SrqContext.logSize.set(out, 0, srq.logSize);
  SrqContext.srqn.set(out, 0, srq.number);
  SrqContext.lkey.set(out, 0, srq.lkey);
  SrqContext.record.set(out, 0, srq.recordIndex);
  SrqContext.logStride.set(out, 0, srq.logStride - WQE_STRIDE_SHIFT);
  SrqContext.usrPage.set(out, 0, srq.uar);
  SrqContext.pd.set(out, 0, srq.pd);
  SrqContext.limitWatermark.set(out, 0, srq.limit);
  SrqContext.wqeCount.set(out, 0, srq.available);
  SrqContext.wqeCounter.set(out, 0, srq.consumed);
}

function armSrq(hca: Hca, call: CommandCall): number {
  const srq = hca.adapter.srqs.find(call.modifier & NUMBER_MASK);
  if (srq === undefined) return CommandStatus.BAD_INDEX;
  if (call.inLo > 1 << srq.logSize) return CommandStatus.BAD_PARAM;
  srq.limit = call.inLo;
  return CommandStatus.OK;
}

// ---- EQ -------------------------------------------------------------------------------------------------------------

function sw2hwEq(hca: Hca, call: CommandCall): number {
  const { queues } = hca.events;
  const number = call.modifier;
  if (number >= MAX_EQS) return CommandStatus.BAD_INDEX;
  if (queues[number] !== undefined) return CommandStatus.BAD_RES_STATE;
  if (!call.readInput(EqContext.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const logSize = EqContext.logSize.get(view, 0);
  if (logSize > LOG_MAX_EQES) return CommandStatus.EXCEED_LIM;
  const queue = new EventQueue(hca.adapter, {
    number,
    logSize,
    intr: EqContext.intr.get(view, 0),
    pd: EqContext.pd.get(view, 0),
    lkey: EqContext.lkey.get(view, 0),
    startHi: EqContext.startAddress.hi.get(view, 0),
    startLo: EqContext.startAddress.lo.get(view, 0),
  });
  if (queue.usesMsix && queue.vector >= MSIX_VECTORS) return CommandStatus.BAD_INDEX;
  queue.isArmed = EqContext.state.get(view, 0) !== EqState.FIRED;
  hca.clearConsumerIndex(number);
  queues[number] = queue;
  return CommandStatus.OK;
}

const eqOf = (hca: Hca, number: number): EventQueue | undefined => (number < MAX_EQS ? hca.events.queues[number] : undefined);

function hw2swEq(hca: Hca, call: CommandCall): number {
  const queue = eqOf(hca, call.modifier);
  if (queue === undefined) return CommandStatus.BAD_RES_STATE;
  hca.events.queues[call.modifier] = undefined;
  describeEq(queue, call.startOutput(EqContext.byteLength));
  // Where the driver gave no mailbox the context is simply lost (P-25).
  call.writeOutput(EqContext.byteLength);
  return CommandStatus.OK;
}

function queryEq(hca: Hca, call: CommandCall): number {
  const queue = eqOf(hca, call.modifier);
  if (queue === undefined) return CommandStatus.BAD_INDEX;
  describeEq(queue, call.startOutput(EqContext.byteLength));
  return call.writeOutput(EqContext.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function describeEq(queue: EventQueue, out: DataView): void {
  EqContext.state.set(out, 0, queue.isArmed ? EqState.ARMED : EqState.FIRED);
  EqContext.logSize.set(out, 0, queue.logSize);
  EqContext.intr.set(out, 0, queue.intr);
  EqContext.consumerIndex.set(out, 0, queue.consumer);
  EqContext.producerIndex.set(out, 0, queue.producer);
}

export const queueCommands: CommandTable = [
  [Command.SW2HW_CQ, sw2hwCq],
  [Command.HW2SW_CQ, hw2swCq],
  [Command.QUERY_CQ, queryCq],
  [Command.RESIZE_CQ, resizeCq],
  [Command.SW2HW_SRQ, sw2hwSrq],
  [Command.HW2SW_SRQ, hw2swSrq],
  [Command.QUERY_SRQ, querySrq],
  [Command.ARM_SRQ, armSrq],
  [Command.SW2HW_EQ, sw2hwEq],
  [Command.HW2SW_EQ, hw2swEq],
  [Command.QUERY_EQ, queryEq],
];
