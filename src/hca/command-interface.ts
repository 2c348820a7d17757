// The HCA command register: waits for GO, executes the command, reports the result in the register or as an event.
// Docs "infinihost" 2.1-2.3.

import type { Memory } from "../base/bytes.ts";
import { publishWord } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { hex, nameOf } from "../base/names.ts";
import { Command, CommandStatus } from "../spec/hca/commands.ts";
import { HCR_GO_LE, Hcr } from "../spec/hca/registers.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { CommandCall } from "./command-call.ts";
import type { CommandHandler } from "./commands/handler.ts";
import { icmCommands } from "./commands/icm.ts";
import { managementCommands } from "./commands/management.ts";
import { memoryCommands } from "./commands/memory.ts";
import { multicastCommands } from "./commands/multicast.ts";
import { qpCommands } from "./commands/qp.ts";
import { queueCommands } from "./commands/queues.ts";
import { systemCommands } from "./commands/system.ts";
import type { Hca } from "./hca.ts";

/** Handlers by opcode. */
const handlers: ReadonlyMap<number, CommandHandler> = new Map([
  ...systemCommands,
  ...icmCommands,
  ...memoryCommands,
  ...queueCommands,
  ...qpCommands,
  ...managementCommands,
  ...multicastCommands,
]);

export class CommandInterface {
  readonly #hca: Hca;
  readonly #registers: Memory;
  readonly #hcrAt: number;
  readonly #call: CommandCall;
  readonly #log: Log;

  /** @param hcrAt offset of the HCR in `registers` */
  constructor(hca: Hca, registers: Memory, hcrAt: number, log: Log) {
    this.#hca = hca;
    this.#registers = registers;
    this.#hcrAt = hcrAt;
    this.#call = new CommandCall(hca.dma);
    this.#log = log;
  }

  /** Executes the command in the register, if GO is set. Returns 1 if there was one. */
  poll(): number {
    const lastWord = (this.#hcrAt + 24) >> 2;
    if ((this.#registers.words[lastWord]! & HCR_GO_LE) === 0) return 0;
    Atomics.load(this.#registers.words, lastWord);
    const call = this.#call;
    call.load(this.#registers.view, this.#hcrAt);
    const status = this.#execute(call);
    this.#complete(call, status);
    return 1;
  }

  #execute(call: CommandCall): number {
    const { counters } = this.#hca.adapter;
    counters[AdapterCounter.commands]! += 1;
    const handler = handlers.get(call.opcode);
    const status = handler === undefined ? CommandStatus.BAD_OP : handler(this.#hca, call);
    // Two statuses steer the driver and are no mistakes: "no attached memory" and "nobody answers this MAD".
    if (status !== CommandStatus.OK && status !== CommandStatus.LAM_NOT_PRESENT && status !== CommandStatus.BAD_PACKET) {
      counters[AdapterCounter.commandErrors]! += 1;
      this.#log.warn(
        `${this.#hca.name}: command ${nameOf(Command, call.opcode)} modifier ${hex(call.modifier)} refused: ${nameOf(CommandStatus, status)}`,
      );
    }
    return status;
  }

  /** Result first, then status and GO in one store of the last dword; in event mode also an EQE. */
  #complete(call: CommandCall, status: number): void {
    const { view } = this.#registers;
    const at = this.#hcrAt;
    if (call.hasImmediateResult) {
      Hcr.outParam.hi.set(view, at, call.outHi);
      Hcr.outParam.lo.set(view, at, call.outLo);
    }
    const done = (status << 24) | (call.wantsEvent ? 1 << 22 : 0) | (call.opcodeModifier << 12) | call.opcode;
    const { token, wantsEvent, outHi, outLo, hasImmediateResult } = call;
    publishWord(this.#registers, at + 24, swap32(done));
    if (wantsEvent) {
      this.#hca.events.commandDone(token, status, hasImmediateResult ? outHi | 0 : 0, hasImmediateResult ? outLo | 0 : 0);
    }
  }
}

const swap32 = (word: number): number => (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
