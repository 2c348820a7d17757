// The multicast table, which the driver edits entry by entry. Docs "infinihost" 7.1.

import { Command, CommandStatus } from "../../spec/hca/commands.ts";
import { MGM_BYTES } from "../../spec/hca/contexts.ts";
import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";
import type { CommandTable } from "./handler.ts";

const GID_BYTES = 16;

function readMgm(hca: Hca, call: CommandCall): number {
  const table = hca.adapter.multicast;
  if (!table.has(call.modifier)) return CommandStatus.BAD_INDEX;
  table.read(call.modifier, call.startOutput(MGM_BYTES), 0);
  return call.writeOutput(MGM_BYTES) ? CommandStatus.OK : CommandStatus.BAD_PARAM;
}

function writeMgm(hca: Hca, call: CommandCall): number {
  const table = hca.adapter.multicast;
  if (!table.has(call.modifier)) return CommandStatus.BAD_INDEX;
  if (!call.readInput(MGM_BYTES)) return CommandStatus.BAD_PARAM;
  table.write(call.modifier, call.input.view, 0);
  return CommandStatus.OK;
}

function mgidHash(hca: Hca, call: CommandCall): number {
  if (!call.readInput(GID_BYTES)) return CommandStatus.BAD_PARAM;
  call.setResult(0, hca.adapter.multicast.hash(call.input.view, 0));
  return CommandStatus.OK;
}

export const multicastCommands: CommandTable = [
  [Command.READ_MGM, readMgm],
  [Command.WRITE_MGM, writeMgm],
  [Command.MGID_HASH, mgidHash],
];
