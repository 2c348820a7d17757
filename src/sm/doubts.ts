// A directed route says which ports to leave by, not whom to reach: a Set that is under way while a cable is moved to another switch may be
// carried out, and answered, by that one, and the manager cannot tell. So when a cable is found to have moved soon after something was
// written, everything is written once more when the cables have come to rest. IBA vol 1, 14.2.2.

import { NS_PER_S } from "../base/clock.ts";

/** All tries of an SMP take less. */
const UNDER_WAY_NS = 3 * NS_PER_S;
/** Cables have come to rest when none has moved for so long, … */
const REST_NS = NS_PER_S;
/** … and this long after the first one it is done all the same, and not more often. */
const PATIENCE_NS = 10 * NS_PER_S;

export class Doubts {
  #lastSetNs = Number.NEGATIVE_INFINITY;
  #lastMoves = 0;
  #latestNs = Number.POSITIVE_INFINITY;
  #earliestNs = Number.NEGATIVE_INFINITY;
  #dueNs = Number.POSITIVE_INFINITY;

  /** When everything is to be written again; Infinity while there is no doubt. */
  get dueNs(): number {
    return this.#dueNs;
  }

  /** A Set was sent or answered. */
  wrote(nowNs: number): void {
    this.#lastSetNs = nowNs;
  }

  /** @param moves of cables between switches that were found so far */
  look(moves: number, nowNs: number): void {
    if (moves === this.#lastMoves) return;
    this.#lastMoves = moves;
    const hasDoubt = this.#dueNs !== Number.POSITIVE_INFINITY;
    if (!hasDoubt && nowNs - this.#lastSetNs > UNDER_WAY_NS) return;
    if (!hasDoubt) this.#latestNs = nowNs + PATIENCE_NS;
    this.#dueNs = Math.max(this.#earliestNs, Math.min(this.#latestNs, nowNs + REST_NS));
  }

  /** Everything is being written again. */
  settle(nowNs: number): void {
    this.#dueNs = Number.POSITIVE_INFINITY;
    this.#earliestNs = nowNs + PATIENCE_NS;
  }
}
