// One firmware command while it is being executed: its registers, its mailboxes, its result. Docs "infinihost" 2.1, 2.6.

import type { AddressSpace } from "../base/address-space.ts";
import { newMemory } from "../base/bytes.ts";
import { MAILBOX_BYTES } from "../spec/hca/commands.ts";
import { Hcr } from "../spec/hca/registers.ts";

/**
 * The command in hand. Mailboxes are copied: the input is read once before anything is checked, the output is written once
 * at the end, so a guest that changes them meanwhile changes nothing.
 */
export class CommandCall {
  opcode = 0;
  opcodeModifier = 0;
  modifier = 0;
  token = 0;
  wantsEvent = false;
  inHi = 0;
  inLo = 0;
  /** Address of the output mailbox, or the immediate result of the commands that have one. */
  outHi = 0;
  outLo = 0;
  hasImmediateResult = false;
  /** The input mailbox after `readInput`. */
  readonly input = newMemory(MAILBOX_BYTES);
  /** What `writeOutput` sends. */
  readonly output = newMemory(MAILBOX_BYTES);
  readonly #dma: AddressSpace;

  constructor(dma: AddressSpace) {
    this.#dma = dma;
  }

  /** Takes the command from the register, each dword once. */
  load(view: DataView, at: number): void {
    this.inHi = Hcr.inParam.hi.get(view, at);
    this.inLo = Hcr.inParam.lo.get(view, at);
    this.modifier = Hcr.inputModifier.get(view, at);
    this.outHi = Hcr.outParam.hi.get(view, at);
    this.outLo = Hcr.outParam.lo.get(view, at);
    this.token = Hcr.token.get(view, at);
    const last = view.getUint32(at + 24, false);
    this.wantsEvent = ((last >>> 22) & 1) === 1;
    this.opcodeModifier = (last >>> 12) & 0xf;
    this.opcode = last & 0xfff;
    this.hasImmediateResult = false;
  }

  /** Copies the input mailbox; false if it is not in guest memory. */
  readInput(length: number): boolean {
    if (!this.#dma.locateRun(this.inHi, this.inLo | 0, length)) return false;
    this.#dma.memory.bytes.copy(this.input.bytes, 0, this.#dma.at, this.#dma.at + length);
    return true;
  }

  /** Clears the output buffer and returns its view, for `writeOutput`. */
  startOutput(length: number): DataView {
    this.output.bytes.fill(0, 0, length);
    return this.output.view;
  }

  /** Copies the output to the guest's mailbox; false if that is not in writable guest memory. */
  writeOutput(length: number): boolean {
    if (!this.#dma.locateRun(this.outHi, this.outLo | 0, length) || !this.#dma.writable) return false;
    this.output.bytes.copy(this.#dma.memory.bytes, this.#dma.at, 0, length);
    return true;
  }

  /** The command's result is a value in the register (or in its event), not a mailbox. */
  setResult(hi: number, lo: number): void {
    this.outHi = hi;
    this.outLo = lo;
    this.hasImmediateResult = true;
  }
}
