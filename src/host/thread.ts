// The calling thread and the scheduler.

import {
  CLOCK_MONOTONIC,
  check,
  clockNanosleep,
  PR_SET_TIMERSLACK,
  prctl,
  SYS_SCHED_SETATTR,
  schedYield,
  syscall3,
} from "./libc.ts";
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

const SCHED_ATTR_BYTES = 48;
/** Offsets in struct sched_attr (sched_setattr(2)). */
const SchedAttr = { SIZE: 0, NICE: 16, RUNTIME: 24 } as const;

/**
 * Asks the scheduler to give this thread short turns soon after it wakes instead of long ones later: a custom slice (Linux 6.12
 * and later) and, where the rights allow it, a better nice value. Returns what took effect.
 */
export function preferShortTurns(sliceNs: number, nice: number): { slice: boolean; nice: boolean } {
  const set = (niceValue: number): boolean => {
    const { view, address } = schedAttr;
    view.setUint32(SchedAttr.SIZE, SCHED_ATTR_BYTES, true);
    view.setInt32(SchedAttr.NICE, niceValue, true);
    setWord64(view, SchedAttr.RUNTIME, sliceNs);
    return syscall3(SYS_SCHED_SETATTR, 0, address, 0) === 0;
  };
  if (nice < 0 && set(nice)) return { slice: true, nice: true };
  return { slice: set(0), nice: false };
}
const schedAttr = allocateNative(4096);
