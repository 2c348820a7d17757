// The engine thread's loop: sweep while there is work, and otherwise spend as little as possible without being late.
// Docs "engine", Threads and idling.

import type { Clock } from "../base/clock.ts";
import { counterSlots } from "../base/counters.ts";
import type { Window } from "../base/window.ts";
import { CoreHopper } from "../host/core-hop.ts";
import { PollEvent, Poller } from "../host/poller.ts";
import { yieldThread } from "../host/thread.ts";
import { collectGarbage } from "../host/thrift.ts";
import { threadWindow } from "../host/window.ts";
import type { DeviceDomain } from "./device-domain.ts";
import { HopHabit } from "./hop-habit.ts";
import { Ready } from "./socket-looks.ts";

/** What the loop counts. */
export const LoopCounter = counterSlots(
  "sweeps",
  "sweepsWithWork",
  "yields",
  "sleeps",
  "wakesBySocket",
  "askedSleepNs",
  "sleptNs",
  "lateSleeps",
  "hops",
);
// Taken out of the object once: V8 13.6 compiles code that loads them from it in a loop that never ends, throws that code away ("no
// feedback") and compiles it again, hundreds of times a second (node --trace-deopt).
const SWEEPS = LoopCounter.sweeps;
const SWEEPS_WITH_WORK = LoopCounter.sweepsWithWork;
const YIELDS = LoopCounter.yields;
const SLEEPS = LoopCounter.sleeps;
const WAKES_BY_SOCKET = LoopCounter.wakesBySocket;
const ASKED_SLEEP_NS = LoopCounter.askedSleepNs;
const SLEPT_NS = LoopCounter.sleptNs;
const LATE_SLEEPS = LoopCounter.lateSleeps;
const HOPS = LoopCounter.hops;

/** How the loop rests when a sweep found nothing. */
export interface IdlePolicy {
  /** Keep sweeping for this long after the last work, */
  spinNs: number;
  /** and once more on another core, if that pays. */
  hops: boolean;
  /** Then sleep this long at a time, … */
  eagerSleepNs: number;
  /** … until this long after the last work, */
  eagerUntilNs: number;
  /** then this long, … */
  shortSleepNs: number;
  /** … until this long after the last work, */
  shortUntilNs: number;
  /** then this long, */
  mediumSleepNs: number;
  /** until this long after the last work; */
  mediumUntilNs: number;
  /** then this long, */
  longSleepNs: number;
  /** until this long after the last work; */
  longUntilNs: number;
  /** from then on this long, */
  quietSleepNs: number;
  /** or this long while no HCA is in use: its driver's first step is a message. Those end any sleep at once. */
  unusedSleepNs: number;
}

/** With a core to itself the engine need not be thrifty. */
// Commands of a driver come one after the other, tens of microseconds apart.
const OWN_CORE = { spinNs: 50_000, hops: false, eagerSleepNs: 10_000, eagerUntilNs: 150_000 };
const MIN_SHORT_SLEEP_NS = 10_000;

/**
 * A policy for a machine with `cores` cores and `clients` VMs or programs that may poll: never more spinners than cores. Where the engine shares
 * a core with a polling VM, a sleep costs that core `sleepCostNs` whatever its length. Spinning just as long first can at most
 * double what waiting costs and catches quick answers; sleeping twice as long leaves the VM the larger part. It does so with cores to
 * spare, too, after a moment: when all has been quiet the scheduler lets the two share one, and a sleep shorter than its cost ends before the
 * VM has run.
 */
export function idlePolicy(cores: number, clients: number, sleepCostNs: number): IdlePolicy {
  const shortSleepNs = Math.max(MIN_SHORT_SLEEP_NS, 2 * sleepCostNs);
  const shared = { spinNs: sleepCostNs, hops: cores > 1, eagerSleepNs: shortSleepNs, eagerUntilNs: 0 };
  return {
    ...(clients < cores ? OWN_CORE : shared),
    shortSleepNs,
    shortUntilNs: 3_000_000,
    mediumSleepNs: 200_000,
    mediumUntilNs: 100_000_000,
    // Short enough that the first operation after a second takes less than a millisecond, with the late end of the sleep and all.
    longSleepNs: 500_000,
    // Whoever has not been heard for so long can wait some more milliseconds; two idle VMs then cost 1.4 to 2.2 % of a core instead of 7.
    longUntilNs: 1.2e9,
    quietSleepNs: 4_000_000,
    unusedSleepNs: 20_000_000,
  };
}

const TRIALS = 6;
const TRIAL_SLEEPS = 32;
const TRIAL_SLEEP_NS = 20_000;
const MAX_SLEEP_COST_NS = 40_000;

/**
 * CPU time that one short sleep costs the calling thread: 20 µs where this was written, in a virtual machine, where arming a timer
 * leaves the guest. The least of a few trials, because the first ones also pay for compiling. Takes some 10 ms.
 */
export function measureSleepCostNs(): number {
  const poller = new Poller(1);
  let least = MAX_SLEEP_COST_NS;
  for (let trial = 0; trial < TRIALS; trial++) {
    const before = process.threadCpuUsage();
    for (let i = 0; i < TRIAL_SLEEPS; i++) poller.wait(TRIAL_SLEEP_NS);
    const { user, system } = process.threadCpuUsage(before);
    least = Math.min(least, Math.round(((user + system) * 1000) / TRIAL_SLEEPS));
  }
  return least;
}

/** Sweeps, or bytes of work, between two looks at the clock: reading it takes a third of the time of a sweep that finds nothing. */
const SWEEPS_PER_CLOCK = 8;
const CLOCK_WORK_SHIFT = 12;

/** How long a guest's driver must have been quiet before the engine warms up, and how long there must have been nothing at all if none runs. */
const WARM_UP_IN_USE_NS = 300e6;
const WARM_UP_ALONE_NS = 2e9;

/** Waiting QPs have timers of tens of microseconds. */
const WAITING_SLEEP_NS = 100_000;

export interface EngineLoopOptions {
  domain: DeviceDomain;
  clock: Clock;
  cores: number;
  /** What one short sleep costs (`measureSleepCostNs`). */
  sleepCostNs: number;
  /** Ends any sleep when it becomes readable. */
  wakeDescriptor: number;
  /** Word `index` says to other engines whether this one sleeps and has to be woken. */
  sleepers: Int32Array;
  index: number;
  /** Called once per turn; handles requests of other threads. Returns false to end the loop. */
  attend: () => boolean;
  /** Counters of the loop itself, in slots of `LoopCounter`. */
  counters: Float64Array;
  /** Work on which nobody waits: a step of it is done where there would be a sleep, once all have been quiet for a while. */
  warmUp?: Iterator<void>;
}

/**
 * Runs until `attend` says to stop. It keeps the thread, but for two turns of the event loop where the window has become short of room: only there
 * is it told which views have died.
 */
export function runEngine(options: EngineLoopOptions): void {
  const loop = new EngineLoop(options);
  const window = threadWindow();
  const run = (): void => {
    while (loop.turns(window)) {
      if (window === undefined || !window.isShort) continue;
      window.collects();
      collectGarbage();
      // What the first turn looks at may be from before the collection.
      setImmediate(() => setImmediate(run));
      return;
    }
  };
  run();
}

/**
 * Turns in one call. V8 replaces the code of a function when it is called; one that never returns is replaced in the middle of its loop
 * (OSR), found wanting and compiled anew, hundreds of times a second and for ever, on a core that a guest needs.
 */
const TURNS_PER_CALL = 256;

class EngineLoop {
  readonly #options: EngineLoopOptions;
  readonly #poller = new Poller();
  readonly #hopper = new CoreHopper();
  readonly #habit = new HopHabit();
  #policy: IdlePolicy;
  #connected = -1;
  #lastWorkNs: number;
  /** Last work of guests, which only a look finds; whoever else works makes a socket ready, and that ends any sleep. */
  #lastGuestWorkNs: number;
  /** The last sweep did work of guests: that has ended when the next one begins. */
  #hasJustWorked = false;
  /** Whose sockets have something, as far as the last sleep knows. */
  #ready: number = Ready.ALL;
  #nowNs: number;
  #sweepsToClock = 0;
  #warmUp: Iterator<void> | undefined;

  constructor(options: EngineLoopOptions) {
    this.#options = options;
    this.#policy = idlePolicy(options.cores, 0, options.sleepCostNs);
    this.#nowNs = options.clock.nowNs();
    this.#lastWorkNs = this.#nowNs;
    this.#lastGuestWorkNs = this.#nowNs;
    this.#warmUp = options.warmUp;
  }

  /** Some turns, none any more while `window` is short of room; false once `attend` has said to stop. */
  turns(window: Window | undefined): boolean {
    for (let i = 0; i < TURNS_PER_CALL && window?.isShort !== true; i++) {
      if (!this.#options.attend()) return false;
      this.#turn();
    }
    return true;
  }

  /** One sweep, and one sleep if it found nothing. */
  #turn(): void {
    const { domain, counters } = this.#options;
    const now = this.#readClock();
    if (this.#hasJustWorked) this.#lastGuestWorkNs = now;
    this.#hasJustWorked = false;
    const idleNs = now - this.#lastGuestWorkNs;
    domain.sharesCore = this.#policy.hops && this.#habit.pays;
    const work = domain.sweep(now, this.#ready, idleNs);
    this.#ready = Ready.NONE;
    counters[SWEEPS]! += 1;
    if (work > 0) {
      counters[SWEEPS_WITH_WORK]! += 1;
      this.#lastWorkNs = now;
      if (domain.hasGuestWork) {
        this.#hasJustWorked = true;
        if (domain.hasMoved) this.#habit.noteWork();
        if (domain.hasInterrupted) this.#habit.noteInterrupt();
      } else this.#sweepsToClock = 0;
      this.#sweepsToClock -= work >> CLOCK_WORK_SHIFT;
      return;
    }
    const policy = this.#policy;
    const isEager = policy.hops && this.#habit.isEager;
    if (idleNs < policy.spinNs && !isEager) return;
    if (policy.hops && (isEager || this.#habit.shouldHop())) {
      this.#hop();
      return;
    }
    if (this.#warmUp !== undefined && this.#mayWarmUp(now - this.#lastWorkNs)) {
      if (this.#warmUp.next().done === true) this.#warmUp = undefined;
      this.#sweepsToClock = 0;
      return;
    }
    // A program of the host sends its next MAD within microseconds of an answer, if it gets a core: to be woken for it would cost both more.
    if (domain.isServing(now)) this.#giveWay();
    else this.#rest(this.#sleepNs(now, idleNs));
  }

  /** Gives this core back to the VM that waits for it, and spins where another does. */
  #hop(): void {
    this.#habit.noteHop();
    this.#options.counters[HOPS]! += 1;
    this.#hopper.hop();
    this.#sweepsToClock = 0;
    this.#lastGuestWorkNs = this.#options.clock.nowNs();
  }

  /** Whoever waits for this core goes first. */
  #giveWay(): void {
    this.#options.counters[YIELDS]! += 1;
    yieldThread();
    this.#sweepsToClock = 0;
  }

  /** While VMs start there is no core to spare: not before a driver runs and has nothing to do, or with nobody there. */
  #mayWarmUp(idleNs: number): boolean {
    const { domain } = this.#options;
    if (!domain.isUnused) return idleNs >= WARM_UP_IN_USE_NS;
    return idleNs >= WARM_UP_ALONE_NS && domain.connectedCount === 0;
  }

  #readClock(): number {
    if (--this.#sweepsToClock < 0) {
      this.#sweepsToClock = SWEEPS_PER_CLOCK;
      this.#nowNs = this.#options.clock.nowNs();
    }
    return this.#nowNs;
  }

  #sleepNs(now: number, idleNs: number): number {
    const policy = this.#policy;
    const { domain } = this.#options;
    let sleep = domain.isUnused ? policy.unusedSleepNs : policy.quietSleepNs;
    if (idleNs < policy.eagerUntilNs) sleep = policy.eagerSleepNs;
    else if (idleNs < policy.shortUntilNs) sleep = policy.shortSleepNs;
    else if (idleNs < policy.mediumUntilNs) sleep = policy.mediumSleepNs;
    else if (!domain.isUnused && idleNs < policy.longUntilNs) sleep = policy.longSleepNs;
    if (domain.isWaiting && sleep > WAITING_SLEEP_NS) sleep = WAITING_SLEEP_NS;
    const untilDue = domain.nextDeadlineNs() - now;
    return untilDue < sleep ? Math.max(0, untilDue) : sleep;
  }

  #rest(sleepNs: number): void {
    const { domain, cores, sleepCostNs, wakeDescriptor, counters } = this.#options;
    const connected = domain.connectedCount;
    if (connected !== this.#connected) {
      this.#connected = connected;
      this.#policy = idlePolicy(cores, domain.clientCount, sleepCostNs);
    }
    this.#poller.clear();
    this.#poller.add(wakeDescriptor, PollEvent.IN);
    domain.watch(this.#poller);
    counters[SLEEPS]! += 1;
    this.#sweepsToClock = 0;
    const before = this.#options.clock.nowNs();
    const isWoken = this.#sleep(sleepNs);
    const after = this.#options.clock.nowNs();
    const slept = after - before;
    this.#ready = isWoken ? domain.readyIn(this.#poller) : Ready.NONE;
    if ((this.#ready & Ready.HCAS) === 0) domain.noteQuietSockets(after);
    counters[ASKED_SLEEP_NS]! += sleepNs;
    counters[SLEPT_NS]! += slept;
    if (slept > sleepNs + 1_000_000) counters[LATE_SLEEPS]! += 1;
    if (isWoken) counters[WAKES_BY_SOCKET]! += 1;
  }

  /** Says so before it looks for packets a last time: whoever sends one after that look sees that it has to wake this engine. */
  #sleep(sleepNs: number): boolean {
    const { sleepers, index, domain } = this.#options;
    Atomics.store(sleepers, index, 1);
    const isWoken = !domain.hasPackets && this.#poller.wait(sleepNs) > 0;
    Atomics.store(sleepers, index, 0);
    return isWoken;
  }
}
