// A fabric whose time is the test's: it stands still unless somebody waits.

import { setImmediate, setTimeout } from "node:timers/promises";
import { NS_PER_MS, SimClock } from "../../src/base/clock.ts";
import { LocalFabric, type LocalFabricOptions } from "../../src/domain/local-fabric.ts";
import type { Context } from "../../src/verbs/index.ts";

const MEMORY_BYTES = 16 << 20;

export class SimulatedFabric {
  readonly clock = new SimClock();
  readonly fabric: LocalFabric;

  constructor(seed = 1, options: LocalFabricOptions = {}) {
    this.fabric = new LocalFabric({ clock: this.clock, seed, ...options });
  }

  /** Milliseconds since the start. */
  get nowMs(): number {
    return this.clock.nowNs() / NS_PER_MS;
  }

  /** HCAs whose ports are ACTIVE. */
  async open(count: number): Promise<Context[]> {
    const contexts = Array.from({ length: count }, () => this.fabric.openDevice({ memoryBytes: MEMORY_BYTES, mtts: 16384 }));
    for (const context of contexts) await this.during(context.portActive(1, Number.POSITIVE_INFINITY));
    return contexts;
  }

  /** Lets time pass until a promise is settled: a millisecond whenever all are at rest. */
  async during<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    for (;;) {
      await this.#rest();
      if (isSettled) return promise;
      this.clock.advanceNs(NS_PER_MS);
    }
  }

  /** Lets `ms` milliseconds pass, in steps: what becomes due within one happens at its end. */
  async elapse(ms: number, stepMs = 1): Promise<void> {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.clock.advanceNs(stepMs * NS_PER_MS);
      await this.#rest();
    }
  }

  /** Returns when there is nothing to do at this time, not even for those that have been told. */
  async #rest(): Promise<void> {
    while (this.fabric.step() > 0) {
      this.fabric.settle();
      // Who waits sleeps 1 ms at most; its timer was started before this one, so it acts first.
      await setTimeout(2);
    }
    await setImmediate();
  }
}
