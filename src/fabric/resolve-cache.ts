// What a port has asked the forwarding tables lately; forgotten when anything in the fabric changes.

import type { Port } from "./port.ts";
import { NOWHERE, traceUnicast } from "./trace.ts";

/** Answers kept; a power of two. */
const SLOTS = 256;
const NO_KEY = -1;

export class ResolveCache {
  readonly #from: Port;
  #keys: Int32Array | undefined = undefined;
  #values: Int32Array | undefined = undefined;
  #epoch = -1;

  constructor(from: Port) {
    this.#from = from;
  }

  /** What a packet to unicast `dlid` reaches from there (trace.ts). */
  resolve(dlid: number): number {
    const { epoch } = this.#from.node.fabric;
    if (this.#keys === undefined || this.#values === undefined) {
      this.#keys = new Int32Array(SLOTS);
      this.#values = new Int32Array(SLOTS);
    }
    if (this.#epoch !== epoch) {
      this.#keys.fill(NO_KEY);
      this.#epoch = epoch;
    }
    const slot = dlid & (SLOTS - 1);
    if (this.#keys[slot] === dlid) return this.#values[slot] ?? NOWHERE;
    const answer = traceUnicast(this.#from, dlid);
    this.#keys[slot] = dlid;
    this.#values[slot] = answer;
    return answer;
  }
}
