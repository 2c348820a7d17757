// What a port has asked the forwarding tables lately; forgotten when anything in the fabric changes.

import type { Port } from "./port.ts";
import { crossesFaults, NOWHERE, traceUnicast } from "./trace.ts";

/** Answers kept; a power of two. */
const SLOTS = 256;
const NO_KEY = -1;

interface Answers {
  readonly keys: Int32Array;
  readonly values: Int32Array;
  /** 1 where a cable on the way has faults. */
  readonly faulty: Uint8Array;
}

const newAnswers = (): Answers => ({
  keys: new Int32Array(SLOTS),
  values: new Int32Array(SLOTS),
  faulty: new Uint8Array(SLOTS),
});

export class ResolveCache {
  readonly #from: Port;
  #answers: Answers | undefined = undefined;
  #epoch = -1;

  constructor(from: Port) {
    this.#from = from;
  }

  /** What a packet to unicast `dlid` reaches from there (trace.ts). */
  resolve(dlid: number): number {
    return this.#ask(dlid).values[dlid & (SLOTS - 1)] ?? NOWHERE;
  }

  /** Whether a cable on that way has faults. */
  crossesFaults(dlid: number): boolean {
    return this.#ask(dlid).faulty[dlid & (SLOTS - 1)] === 1;
  }

  #ask(dlid: number): Answers {
    this.#answers ??= newAnswers();
    const answers = this.#answers;
    const { fabric } = this.#from.node;
    if (this.#epoch !== fabric.epoch) {
      answers.keys.fill(NO_KEY);
      this.#epoch = fabric.epoch;
    }
    const slot = dlid & (SLOTS - 1);
    if (answers.keys[slot] === dlid) return answers;
    answers.keys[slot] = dlid;
    answers.values[slot] = traceUnicast(this.#from, dlid);
    answers.faulty[slot] = fabric.hasFaults && crossesFaults(this.#from, dlid) ? 1 : 0;
    return answers;
  }
}
