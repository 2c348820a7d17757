// The calling thread and the scheduler.

import { setPriority } from "node:os";
import { CLOCK_MONOTONIC, check, clockNanosleep, PR_SET_TIMERSLACK, prctl, schedYield } from "./libc.ts";
import { allocateNative, setWord64 } from "./mapping.ts";

const NS_PER_S = 1_000_000_000;
const timespec = allocateNative(4096);

/**
 * How much later than asked the kernel may end this thread's sleeps (prctl(2), PR_SET_TIMERSLACK); the default is 50 µs.
 * A 20 µs sleep took 99 µs (median) with the default and 55 µs with 1 ns, on 2 shared cores.
 */
export function setTimerSlack(slackNs: number): void {
  check(prctl(PR_SET_TIMERSLACK, slackNs, 0, 0, 0), "prctl", "PR_SET_TIMERSLACK");
}

/** Lets another thread that waits for this core run first. */
export function yieldThread(): void {
  schedYield();
}

/** Sleeps at least `durationNs`, less only if a signal comes. Blocks the whole thread, its event loop too. */
export function sleepNs(durationNs: number): void {
  const seconds = Math.floor(durationNs / NS_PER_S);
  setWord64(timespec.view, 0, seconds);
  setWord64(timespec.view, 8, Math.floor(durationNs - seconds * NS_PER_S));
  clockNanosleep(CLOCK_MONOTONIC, 0, timespec.address, 0);
}

/** Between ordinary programs and the system's own threads. */
const PREFERRED = -15;

/**
 * Lets this thread go before others that want the processor, where that is allowed (root, or a limit of `nice`). An engine that shares
 * its cores with many pollers gets a share like each of them otherwise, and all of them wait for it.
 */
export function preferThisThread(): void {
  try {
    // On Linux, 0 is the calling thread and not its process.
    setPriority(0, PREFERRED);
  } catch {
    // Not allowed: it runs like everybody.
  }
}
