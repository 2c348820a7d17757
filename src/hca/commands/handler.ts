// A command handler executes one opcode and answers with a `CommandStatus`.

import type { CommandCall } from "../command-call.ts";
import type { Hca } from "../hca.ts";

export type CommandHandler = (hca: Hca, call: CommandCall) => number;
export type CommandTable = readonly (readonly [opcode: number, handler: CommandHandler])[];
