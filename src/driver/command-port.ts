// Issuing firmware commands through the HCR, polling GO or waiting for the command event. Docs "infinihost" 2.1-2.6.

import { hex, nameOf } from "../base/names.ts";
import { Command, CommandStatus, MAILBOX_BYTES } from "../spec/hca/commands.ts";
import { Bar0 } from "../spec/hca/registers.ts";
import { type DeviceAccess, DriverError } from "./access.ts";
import type { DmaBlock, DmaHeap } from "./dma-heap.ts";

const GO = 1 << 23;
const EVENT = 1 << 22;
/** `settle` calls before a command counts as lost. */
const SETTLES_MAX = 1000;

export interface CommandOptions {
  modifier?: number;
  opcodeModifier?: number;
  /** Fills the input mailbox. */
  input?: (view: DataView, at: number) => void;
  /** Immediate input instead of a mailbox. */
  inputValue?: { hi: number; lo: number };
  /** Bytes wanted from the output mailbox. */
  outputBytes?: number;
  /** Statuses besides OK that are an answer, not a failure. */
  accepts?: readonly number[];
}

export interface CommandResult {
  status: number;
  /** Copy of the output mailbox. */
  output: DataView;
  /** Immediate result. */
  hi: number;
  lo: number;
}

export class CommandPort {
  readonly #access: DeviceAccess;
  readonly inbox: DmaBlock;
  readonly outbox: DmaBlock;
  /** True while a command runs: until it has ended there must be no other. */
  isBusy = false;
  #usesEvents = false;
  #token = 1;
  /** The event that the handler of the command EQ has seen. */
  #seen: { token: number; status: number; hi: number; lo: number } | undefined;

  constructor(access: DeviceAccess, heap: DmaHeap) {
    this.#access = access;
    this.inbox = heap.allocate(MAILBOX_BYTES);
    this.outbox = heap.allocate(MAILBOX_BYTES);
  }

  /** From now on commands complete by an event (true) or are polled (false). */
  useEvents(on: boolean): void {
    this.#usesEvents = on;
  }

  /** The command EQ's handler reports a completion here. */
  complete(token: number, status: number, hi: number, lo: number): void {
    this.#seen = { token, status, hi, lo };
  }

  /**
   * Runs a command to its end.
   * @throws DriverError with the status' name as code if the device refuses it
   */
  run(opcode: number, options: CommandOptions = {}): CommandResult {
    if (this.isBusy) throw new DriverError("EBUSY", `command ${nameOf(Command, opcode)}: another one is under way`);
    this.isBusy = true;
    try {
      return this.#run(opcode, options);
    } finally {
      this.isBusy = false;
    }
  }

  #run(opcode: number, options: CommandOptions): CommandResult {
    const { memory } = this.#access;
    if (this.#access.isGone) throw gone(opcode);
    options.input?.(this.#clear(this.inbox), this.inbox.at);
    if (options.outputBytes !== undefined) this.#clear(this.outbox);
    const inputHi = options.inputValue?.hi ?? Math.floor(this.inbox.dmaAddress / 2 ** 32);
    const inputLo = options.inputValue?.lo ?? this.inbox.dmaAddress % 2 ** 32;
    const isPlain = options.input === undefined && options.inputValue === undefined;
    this.#post(opcode, options, isPlain ? 0 : inputHi, isPlain ? 0 : inputLo);
    const result = this.#usesEvents ? this.#waitEvent(opcode) : this.#waitGo(opcode);
    if (result.status !== CommandStatus.OK && !(options.accepts ?? []).includes(result.status)) {
      const name = nameOf(CommandStatus, result.status);
      throw new DriverError(name, `command ${nameOf(Command, opcode)}, modifier ${hex(options.modifier ?? 0)}: ${name}`);
    }
    const outputBytes = options.outputBytes ?? 0;
    const copy = memory.bytes.buffer.slice(
      memory.bytes.byteOffset + this.outbox.at,
      memory.bytes.byteOffset + this.outbox.at + outputBytes,
    );
    return { ...result, output: new DataView(copy) };
  }

  #clear(block: DmaBlock): DataView {
    this.#access.memory.bytes.fill(0, block.at, block.at + block.bytes);
    return this.#access.memory.view;
  }

  #post(opcode: number, options: CommandOptions, inputHi: number, inputLo: number): void {
    const access = this.#access;
    const wantsOutput = options.outputBytes !== undefined;
    const outputHi = wantsOutput ? Math.floor(this.outbox.dmaAddress / 2 ** 32) : 0;
    const outputLo = wantsOutput ? this.outbox.dmaAddress % 2 ** 32 : 0;
    this.#token = (this.#token + 1) & 0xffff;
    this.#seen = undefined;
    const words = [inputHi, inputLo, options.modifier ?? 0, outputHi, outputLo, this.#token << 16];
    words.forEach((word, i) => {
      access.writeRegister(Bar0.HCR + 4 * i, word >>> 0);
    });
    const last = GO | (this.#usesEvents ? EVENT : 0) | ((options.opcodeModifier ?? 0) << 12) | opcode;
    access.writeRegister(Bar0.HCR + 24, last >>> 0);
  }

  #waitGo(opcode: number): { status: number; hi: number; lo: number } {
    const access = this.#access;
    for (let i = 0; i < SETTLES_MAX; i++) {
      access.settle();
      if (access.isGone) throw gone(opcode);
      const last = access.readRegister(Bar0.HCR + 24);
      if ((last & GO) === 0) {
        return { status: last >>> 24, hi: access.readRegister(Bar0.HCR + 12), lo: access.readRegister(Bar0.HCR + 16) };
      }
    }
    throw new DriverError("ETIMEDOUT", `command ${nameOf(Command, opcode)}: GO stays set`);
  }

  #waitEvent(opcode: number): { status: number; hi: number; lo: number } {
    for (let i = 0; i < SETTLES_MAX; i++) {
      this.#access.settle();
      if (this.#access.isGone) throw gone(opcode);
      if (this.#seen !== undefined && this.#seen.token === this.#token) return this.#seen;
    }
    throw new DriverError("ETIMEDOUT", `command ${nameOf(Command, opcode)}: no completion event`);
  }
}

const gone = (opcode: number): DriverError =>
  new DriverError("ENODEV", `command ${nameOf(Command, opcode)}: the device has gone away`);
