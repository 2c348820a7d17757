// Timers of a context. They run when the context is served, by the context's clock: under a simulated clock everything is repeatable.

import { type Clock, NS_PER_MS } from "../base/clock.ts";

/** The machine's own time. */
export const machineClock: Clock = { nowNs: () => Math.round(performance.now() * NS_PER_MS) };

export interface Timer {
  /** Nanoseconds of the clock. */
  readonly dueNs: number;
  readonly run: () => void;
}

export class Timers {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  /** No timer is due earlier. */
  #earliestNs = Number.POSITIVE_INFINITY;
  #isRunning = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get pending(): number {
    return this.#timers.size;
  }

  get nowNs(): number {
    return this.#clock.nowNs();
  }

  /** Calls `run` once, as soon as the context is served after `delayNs` nanoseconds. */
  start(delayNs: number, run: () => void): Timer {
    const timer = { dueNs: this.#clock.nowNs() + delayNs, run };
    this.#timers.add(timer);
    this.#earliestNs = Math.min(this.#earliestNs, timer.dueNs);
    return timer;
  }

  stop(timer: Timer | undefined): void {
    if (timer !== undefined) this.#timers.delete(timer);
  }

  /** Runs what is due, the earliest first; returns how many there were. */
  readonly serve = (): number => {
    const nowNs = this.#clock.nowNs();
    if (this.#isRunning || nowNs < this.#earliestNs) return 0;
    this.#isRunning = true;
    const due = [...this.#timers].filter(({ dueNs }) => dueNs <= nowNs).sort((a, b) => a.dueNs - b.dueNs);
    for (const timer of due) if (this.#timers.delete(timer)) timer.run();
    this.#earliestNs = Number.POSITIVE_INFINITY;
    for (const { dueNs } of this.#timers) this.#earliestNs = Math.min(this.#earliestNs, dueNs);
    this.#isRunning = false;
    return due.length;
  };
}
