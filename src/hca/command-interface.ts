// The HCA command register: waits for GO, executes the command, reports the result in the register or as an event.
// Docs "infinihost" 2.1-2.3.

import { type Memory, publishWord, swap32 } from "../base/bytes.ts";
import type { Log } from "../base/log.ts";
import { hex, nameOf } from "../base/names.ts";
import { RateLimit } from "../base/rate-limit.ts";
import { Command, CommandStatus } from "../spec/hca/commands.ts";
import { HCR_GO_LE, Hcr } from "../spec/hca/registers.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { CommandCall } from "./command-call.ts";
import { type CommandEntry, needing } from "./commands/handler.ts";
import { icmCommands } from "./commands/icm.ts";
import { managementCommands } from "./commands/management.ts";
import { memoryCommands } from "./commands/memory.ts";
import { multicastCommands } from "./commands/multicast.ts";
import { qpCommands } from "./commands/qp.ts";
import { queueCommands } from "./commands/queues.ts";
import { firmwareCommands, startCommands, systemCommands } from "./commands/system.ts";
import type { Hca } from "./hca.ts";
import { SystemState } from "./system-state.ts";

/** Commands by opcode. */
const entries: ReadonlyMap<number, CommandEntry> = new Map([
  ...needing(SystemState.RESET, firmwareCommands),
  ...needing(SystemState.FIRMWARE_RUNS, [...startCommands, ...icmCommands]),
  ...needing(SystemState.INITIALISED, [
    ...systemCommands,
    ...memoryCommands,
    ...queueCommands,
    ...qpCommands,
    ...managementCommands,
    ...multicastCommands,
  ]),
]);

/** Which counter a refusal goes to; statuses that steer the driver and are no mistakes have none (2.5). */
const refusalCounters: ReadonlyMap<number, number> = new Map([
  [CommandStatus.BAD_OP, AdapterCounter.refusedBadOp],
  [CommandStatus.BAD_PARAM, AdapterCounter.refusedBadParam],
  [CommandStatus.BAD_SYS_STATE, AdapterCounter.refusedBadSystemState],
  [CommandStatus.RESOURCE_BUSY, AdapterCounter.refusedBusy],
  [CommandStatus.EXCEED_LIM, AdapterCounter.refusedExceedLimit],
  [CommandStatus.BAD_RES_STATE, AdapterCounter.refusedBadResourceState],
  [CommandStatus.BAD_INDEX, AdapterCounter.refusedBadIndex],
  [CommandStatus.BAD_QP_STATE, AdapterCounter.refusedBadQpState],
  [CommandStatus.BAD_SIZE, AdapterCounter.refusedBadSize],
  [CommandStatus.INTERNAL_ERROR, AdapterCounter.refusedInternalError],
]);

export class CommandInterface {
  readonly #hca: Hca;
  readonly #registers: Memory;
  readonly #hcrAt: number;
  readonly #call: CommandCall;
  readonly #log: Log;
  readonly #rate: RateLimit;

  /** @param hcrAt offset of the HCR in `registers` */
  constructor(hca: Hca, registers: Memory, hcrAt: number, log: Log) {
    this.#hca = hca;
    this.#registers = registers;
    this.#hcrAt = hcrAt;
    this.#call = new CommandCall(hca.dma);
    this.#log = log;
    this.#rate = new RateLimit(hca.quota.commandsPerSecond);
  }

  /**
   * Executes the command in the register, if GO is set and the quota allows another one now; else the driver finds the device
   * busy for a little longer. Returns 1 if there was one.
   */
  poll(nowNs: number): number {
    const lastWord = (this.#hcrAt + 24) >> 2;
    if ((this.#registers.words[lastWord]! & HCR_GO_LE) === 0) return 0;
    if (!this.#rate.take(nowNs)) {
      this.#hca.adapter.counters[AdapterCounter.commandsDelayed]! += 1;
      return 0;
    }
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
    const status = this.#statusOf(call);
    const counter = refusalCounters.get(status);
    if (counter !== undefined) {
      counters[counter]! += 1;
      counters[AdapterCounter.commandErrors]! += 1;
      this.#log.warn(
        `${this.#hca.name}: command ${nameOf(Command, call.opcode)} modifier ${hex(call.modifier)} refused: ${nameOf(CommandStatus, status)}`,
      );
    }
    return status;
  }

  #statusOf(call: CommandCall): number {
    const entry = entries.get(call.opcode);
    if (entry === undefined) return CommandStatus.BAD_OP;
    if (this.#hca.systemState === SystemState.FAILED) return CommandStatus.INTERNAL_ERROR;
    if (this.#hca.systemState < entry.neededState) return CommandStatus.BAD_SYS_STATE;
    return entry.handler(this.#hca, call);
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
