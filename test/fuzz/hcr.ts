// Firmware commands issued by hand: mailboxes with a pattern behind them, any opcode, any context, and the status whatever it is.

import assert from "node:assert/strict";
import { CommandStatus, MAILBOX_BYTES } from "../../src/spec/hca/commands.ts";
import { Bar0 } from "../../src/spec/hca/registers.ts";
import type { Guest } from "../in-process/pair.ts";

const GO = 1 << 23;
/** Fills the output mailbox before a command, so that every byte written is seen. */
const PATTERN = 0xa5;
const UNTOUCHED = Buffer.alloc(MAILBOX_BYTES, PATTERN);
const STATUSES: readonly number[] = Object.values(CommandStatus);

export interface IssueOptions {
  modifier?: number;
  opcodeModifier?: number;
  /** Input mailbox; its address is given unless `inValue` is. */
  input?: (view: DataView, at: number) => void;
  /** Given instead of the input mailbox's address. */
  inValue?: readonly [hi: number, lo: number];
  /** Given instead of the output mailbox's address. */
  outValue?: readonly [hi: number, lo: number];
  /** Bytes the command may write to its output mailbox; 0 if not set. */
  outputBytes?: number;
}

export class HcrIssuer {
  readonly #guest: Guest;
  readonly #in: { at: number; dmaAddress: number };
  readonly #out: { at: number; dmaAddress: number };

  constructor(guest: Guest) {
    this.#guest = guest;
    this.#in = guest.device.heap.allocate(MAILBOX_BYTES);
    this.#out = guest.device.heap.allocate(MAILBOX_BYTES);
  }

  /** The output mailbox after a command. */
  get output(): DataView {
    const { bytes } = this.#guest.node.access.memory;
    return new DataView(bytes.buffer, bytes.byteOffset + this.#out.at, MAILBOX_BYTES);
  }

  /** Runs a command; checks what holds for every one: GO goes, the status is one there is, nothing is written past the output. */
  issue(opcode: number, options: IssueOptions = {}): number {
    const { access } = this.#guest.node;
    const { bytes, view } = access.memory;
    bytes.fill(0, this.#in.at, this.#in.at + MAILBOX_BYTES);
    bytes.fill(PATTERN, this.#out.at, this.#out.at + MAILBOX_BYTES);
    options.input?.(view, this.#in.at);
    const [inHi, inLo] = options.inValue ?? [0, this.#in.dmaAddress];
    const [outHi, outLo] = options.outValue ?? [0, this.#out.dmaAddress];
    const words = [inHi, inLo, options.modifier ?? 0, outHi, outLo, 0];
    for (const [i, word] of words.entries()) access.writeRegister(Bar0.HCR + 4 * i, word >>> 0);
    access.writeRegister(Bar0.HCR + 24, (GO | ((options.opcodeModifier ?? 0) << 12) | opcode) >>> 0);
    access.settle();
    const last = access.readRegister(Bar0.HCR + 24);
    const status = last >>> 24;
    assert.equal(last & GO, 0, "GO stays set");
    assert.ok(STATUSES.includes(status), `status ${status}`);
    const allowed = status === CommandStatus.OK ? (options.outputBytes ?? 0) : 0;
    const rest = bytes.subarray(this.#out.at + allowed, this.#out.at + MAILBOX_BYTES);
    assert.ok(rest.equals(UNTOUCHED.subarray(allowed)), "bytes behind the output were written");
    return status;
  }

  /** The immediate result of the last command. */
  get result(): number {
    return this.#guest.node.access.readRegister(Bar0.HCR + 16);
  }
}
