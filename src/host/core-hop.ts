// Moving the calling thread from one processor core to another. sched_setaffinity(2), CPU_SET(3).

import { check, schedGetaffinity, schedGetcpu, schedSetaffinity } from "./libc.ts";
import { allocateNative } from "./mapping.ts";

/** Sets of 1024 cores, the size of glibc's cpu_set_t. */
const SET_BYTES = 128;
const CORES_MAX = SET_BYTES * 8;

/** Moves the thread that calls it; allocates nothing once it has been made. */
export class CoreHopper {
  readonly #memory = allocateNative(2 * SET_BYTES);
  /** Cores that the thread may use, and one of them. */
  readonly #allowed = BigInt(this.#memory.address);
  readonly #single = BigInt(this.#memory.address + SET_BYTES);

  /** How many cores this thread may use. */
  get coreCount(): number {
    check(schedGetaffinity(0, SET_BYTES, this.#allowed), "sched_getaffinity");
    let count = 0;
    for (let core = 0; core < CORES_MAX; core++) if (this.#isAllowed(core)) count++;
    return count;
  }

  /** The core that runs this thread. */
  get core(): number {
    return schedGetcpu();
  }

  /**
   * Goes on running on the next core that this thread may use, ahead of whoever spins there. Takes some 15 µs, nearly all of them the
   * kernel's. The scheduler may move the thread again at once.
   * @returns false if it stayed where it was: there is no other core, or somebody has just changed the set.
   */
  hop(): boolean {
    const from = schedGetcpu();
    if (from < 0 || schedGetaffinity(0, SET_BYTES, this.#allowed) < 0) return false;
    const to = this.#nextAfter(from);
    if (to === from) return false;
    const { bytes } = this.#memory;
    const at = SET_BYTES + (to >> 3);
    bytes[at] = 1 << (to & 7);
    const isThere = schedSetaffinity(0, SET_BYTES, this.#single) === 0;
    bytes[at] = 0;
    return schedSetaffinity(0, SET_BYTES, this.#allowed) === 0 && isThere;
  }

  #nextAfter(from: number): number {
    let core = from;
    do core = (core + 1) % CORES_MAX;
    while (core !== from && !this.#isAllowed(core));
    return core;
  }

  #isAllowed(core: number): boolean {
    return (((this.#memory.bytes[core >> 3] ?? 0) >> (core & 7)) & 1) !== 0;
  }
}
