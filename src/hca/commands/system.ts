// Commands that start, describe and stop the device. Docs "infinihost" 2.8.1, 2.8.2, 2.8.6-2.8.8, 2.8.11, 8.1, 8.4.

import { writeAll } from "../../base/layout.ts";
import {
  Command,
  CommandStatus,
  InitHca,
  LOG_IN_BASE_MASK,
  QueryAdapter,
  QueryDevLim,
  QueryFw,
} from "../../spec/hca/commands.ts";
import { Bar0, CATAS_DWORDS, MT25204 } from "../../spec/hca/registers.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import {
  BOARD_ID,
  DEV_LIM,
  LOG_CQS_MAX,
  LOG_MPTS_MAX,
  LOG_MULTICAST_MAX,
  LOG_QPS_MAX,
  LOG_SRQS_MAX,
  LOG_UARC_PAGES_MAX,
  LOG_UARS_MAX,
  MAX_EQS,
} from "../limits.ts";
import { SystemState } from "../system-state.ts";
import type { CommandTable } from "./handler.ts";

const LOG_MAX_COMMANDS = 4;

function queryFw(_hca: Hca, call: CommandCall): number {
  writeAll(QueryFw, call.startOutput(QueryFw.byteLength), 0, {
    // No guest memory for firmware: MAP_FA is then never sent (P-22).
    fwPages: 0,
    major: MT25204.firmware.major,
    minor: MT25204.firmware.minor,
    subMinor: MT25204.firmware.subMinor,
    commandInterfaceRevision: 1,
    logMaxCommands: LOG_MAX_COMMANDS,
    clrIntAddress: Bar0.CLR_INT,
    catasAddress: Bar0.CATAS,
    catasDwords: CATAS_DWORDS,
    eqArmAddress: Bar0.EQ_ARM,
    eqSetCiAddress: Bar0.EQ_SET_CI,
  });
  return call.writeOutput(QueryFw.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function runFw(hca: Hca): number {
  if (hca.systemState === SystemState.RESET) hca.systemState = SystemState.FIRMWARE_RUNS;
  return CommandStatus.OK;
}

function queryDevLim(hca: Hca, call: CommandCall): number {
  writeAll(QueryDevLim, call.startOutput(QueryDevLim.byteLength), 0, { ...DEV_LIM, ports: hca.adapter.ports.length });
  return call.writeOutput(QueryDevLim.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function queryAdapter(_hca: Hca, call: CommandCall): number {
  writeAll(QueryAdapter, call.startOutput(QueryAdapter.byteLength), 0, {
    vendorId: MT25204.vendorId,
    deviceId: MT25204.deviceId,
    revision: 0xa0,
    intaPin: 0,
    boardId: byteReversedWords(BOARD_ID),
  });
  return call.writeOutput(QueryAdapter.byteLength) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

/** The board id as firmware stores it: each group of four characters reversed. */
function byteReversedWords(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < text.length && i < bytes.length; i++) bytes[i ^ 3] = text.charCodeAt(i);
  return bytes;
}

/** INIT_HCA sizes the tables; where they lie in ICM matters only for MTTs and doorbell records (3.1). */
function initHca(hca: Hca, call: CommandCall): number {
  if (hca.systemState !== SystemState.FIRMWARE_RUNS) return CommandStatus.BAD_SYS_STATE;
  if (!call.readInput(InitHca.byteLength)) return CommandStatus.BAD_PARAM;
  const view = call.input.view;
  const log = {
    qps: InitHca.qpcBase.lo.get(view, 0) & LOG_IN_BASE_MASK,
    srqs: InitHca.srqcBase.lo.get(view, 0) & LOG_IN_BASE_MASK,
    cqs: InitHca.cqcBase.lo.get(view, 0) & LOG_IN_BASE_MASK,
    mpts: InitHca.logMpts.get(view, 0),
    multicast: InitHca.logMulticastEntries.get(view, 0),
    uars: InitHca.logUars.get(view, 0),
    uarcPages: InitHca.logUarcPages.get(view, 0),
  };
  const fits =
    log.qps <= LOG_QPS_MAX &&
    log.srqs <= LOG_SRQS_MAX &&
    log.cqs <= LOG_CQS_MAX &&
    log.mpts <= LOG_MPTS_MAX &&
    log.multicast <= LOG_MULTICAST_MAX &&
    log.uars <= LOG_UARS_MAX &&
    log.uarcPages <= LOG_UARC_PAGES_MAX &&
    InitHca.uarPageSize.get(view, 0) === 0;
  if (!fits) return CommandStatus.EXCEED_LIM;
  const uarcBase = InitHca.uarcBase.hi.get(view, 0) * 2 ** 32 + InitHca.uarcBase.lo.get(view, 0);
  hca.initialise({
    logQps: log.qps,
    logSrqs: log.srqs,
    logCqs: log.cqs,
    logMpts: log.mpts,
    multicastEntries: 2 ** log.multicast,
    multicastHashEntries: InitHca.multicastHashEntries.get(view, 0),
    logUars: log.uars,
    uarcBase,
    uarcEntryBytes: 2 ** (12 + log.uarcPages),
    checksAvPort: InitHca.checkUdAvPort.get(view, 0) === 1,
  });
  return CommandStatus.OK;
}

function closeHca(hca: Hca): number {
  hca.close();
  return CommandStatus.OK;
}

function mapEq(hca: Hca, call: CommandCall): number {
  const eqn = call.modifier & 0x7fffffff;
  const isUnmap = call.modifier >>> 31 === 1;
  if (eqn >= MAX_EQS) return CommandStatus.BAD_INDEX;
  if (!isUnmap && hca.events.queues[eqn] === undefined) return CommandStatus.BAD_RES_STATE;
  hca.events.map(call.inHi, call.inLo, eqn, isUnmap);
  return CommandStatus.OK;
}

const ok = (): number => CommandStatus.OK;

/** Legal in any state: they find the device, and take it down. */
export const firmwareCommands: CommandTable = [
  [Command.QUERY_FW, queryFw],
  [Command.ENABLE_LAM, () => CommandStatus.LAM_NOT_PRESENT],
  [Command.RUN_FW, runFw],
  [Command.SYS_DIS, ok],
  // No pages are wanted for firmware and none are kept (P-22).
  [Command.MAP_FA, ok],
  [Command.UNMAP_FA, ok],
];

/** Legal once the firmware runs. */
export const startCommands: CommandTable = [
  [Command.QUERY_DEV_LIM, queryDevLim],
  [Command.INIT_HCA, initHca],
  [Command.NOP, ok],
];

/** Legal between INIT_HCA and CLOSE_HCA. */
export const systemCommands: CommandTable = [
  [Command.QUERY_ADAPTER, queryAdapter],
  [Command.CLOSE_HCA, closeHca],
  [Command.MAP_EQ, mapEq],
];
