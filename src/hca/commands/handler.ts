// A command handler executes one opcode and answers with a `CommandStatus`. Each table of commands says how far the driver must
// have brought the device up before they are legal (docs "infinihost" 8.1).

import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";

export type CommandHandler = (hca: Hca, call: CommandCall) => number;
export type CommandTable = readonly (readonly [opcode: number, handler: CommandHandler])[];

/** One command: its handler, and the least `SystemState` in which it is legal. */
export interface CommandEntry {
  readonly handler: CommandHandler;
  readonly neededState: number;
}

/** The entries of a table whose commands all need `neededState`. */
export const needing = (neededState: number, table: CommandTable): (readonly [number, CommandEntry])[] =>
  table.map(([opcode, handler]) => [opcode, { handler, neededState }] as const);
