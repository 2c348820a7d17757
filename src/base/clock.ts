// Time is passed in. The core never asks the operating system what time it is, so the same code runs in the engine thread
// and under a clock that a test moves by hand.

/** A monotonic clock. */
export interface Clock {
  /** Nanoseconds since an arbitrary start; whole numbers below 2^53. */
  nowNs(): number;
}

/** A clock that stands still until a test moves it. */
export class SimClock implements Clock {
  #nowNs = 0;

  nowNs(): number {
    return this.#nowNs;
  }

  /** Moves time forward by `deltaNs` nanoseconds. */
  advanceNs(deltaNs: number): void {
    if (!(deltaNs >= 0)) throw new Error(`SimClock.advanceNs: expected a duration ≥ 0 ns, got ${deltaNs}`);
    this.#nowNs += deltaNs;
  }
}

export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;
export const NS_PER_S = 1_000_000_000;
