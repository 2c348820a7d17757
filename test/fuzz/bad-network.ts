// A network between two ends that are called by hand.

import type { Random } from "../../src/base/random.ts";

const MS = 1e6;

/** A wire that delivers late, twice, or never. */
export class BadNetwork<T> {
  readonly #random: Random;
  readonly #loss: number;
  readonly #waiting: { dueNs: number; what: T }[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#loss = random.pick([0, 0.05, 0.3, 1]);
  }

  put(what: T, nowNs: number): void {
    const copies = this.#random.chance(this.#loss) ? 0 : this.#random.chance(0.1) ? 2 : 1;
    for (let i = 0; i < copies; i++) this.#waiting.push({ dueNs: nowNs + this.#random.below(40) * MS, what });
  }

  take(nowNs: number): T[] {
    const due = this.#waiting.filter(({ dueNs }) => dueNs <= nowNs).sort((a, b) => a.dueNs - b.dueNs);
    for (const one of due) this.#waiting.splice(this.#waiting.indexOf(one), 1);
    return due.map(({ what }) => what);
  }
}
