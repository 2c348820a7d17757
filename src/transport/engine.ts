// The engine: gives every HCA its turn. No I/O, no clock; the caller says what time it is and decides when to sleep.

import type { Adapter } from "./adapter.ts";
import type { Network } from "./network.ts";
import { runReplies } from "./packets/replies.ts";
import { runSendQueue, runWaiting } from "./requester.ts";
import { TURN_BYTES } from "./send-queue.ts";

/** What one HCA may move before the next has its turn: two slices, … */
const ADAPTER_TURN_BYTES = 128 * 1024;
/** … and one while several have had something to do lately: so long whoever comes meanwhile has to wait. */
const SHARED_TURN_BYTES = 64 * 1024;
/** Steps with one HCA at work after which it counts as alone: some milliseconds of large messages. */
const STEPS_TO_ALONE = 512;
/** Waiting QPs looked at in one turn of an HCA. */
const WAITING_PER_TURN = 16;

/**
 * Looks at queue pairs that have had plain requests lately, before everything else is looked at again: some microseconds of them where they are
 * who has something to do, few where it is others.
 */
const MOST_LOOKS = 4096;
const FEWEST_LOOKS = 16;
/** What they may move before that while nobody else is at work: the engine's own code has left the cache after each turn. */
const ALONE_SPIN_BYTES = 256 * 1024;

/** Carries the messages of a set of HCAs. */
export class Engine {
  readonly #network: Network;
  readonly #adapters = new Set<Adapter>();
  /** Those with queue pairs that have something to do or that wait; the others cost nothing. */
  readonly #busy: Adapter[] = [];
  /** How many of them, the first ones, have had a turn already and were not done. */
  #started = 0;
  /** Who of those is the first in the next step. */
  #first = 0;
  #stepsToAlone = 0;
  #looks = FEWEST_LOOKS;
  /** Somebody else may need this core to answer: there is no time for many looks. */
  sharesCore = false;

  constructor(network: Network) {
    this.#network = network;
  }

  add(adapter: Adapter): void {
    this.#adapters.add(adapter);
    adapter.onWork = () => this.#busy.push(adapter);
    if (adapter.isBusy) this.#busy.push(adapter);
  }

  remove(adapter: Adapter): void {
    if (!this.#adapters.delete(adapter)) return;
    this.#network.compiled?.cool(adapter);
    adapter.onWork = () => 0;
    const index = this.#busy.indexOf(adapter);
    if (index >= 0) this.#busy.splice(index, 1);
    if (index >= 0 && index < this.#started) this.#started--;
    this.#first = 0;
  }

  /**
   * Gives every HCA one turn: first those that have got work since the last step, who mostly have little of it, then those that were not
   * done then, starting with another one each time. Returns work done; 0 means idle.
   */
  step(nowNs: number): number {
    const busy = this.#busy;
    let work = this.#spin(busy.length === 0 ? this.#mostLooks : 1);
    const started = this.#started;
    // Those that get work from here on have their turn in the next step.
    const count = busy.length;
    if (count > 0) this.#looks = Math.max(FEWEST_LOOKS, this.#looks >> 1);
    else if (work > 0) this.#looks = Math.min(MOST_LOOKS, this.#looks << 1);
    const atWork = work > 0 ? count + 1 : count;
    if (atWork > 1) this.#stepsToAlone = STEPS_TO_ALONE;
    else if (this.#stepsToAlone > 0) this.#stepsToAlone -= atWork;
    const turnBytes = this.#turnBytes;
    for (let i = started; i < count; i++) work += turn(busy[i]!, nowNs, turnBytes);
    for (let i = 0; i < started; i++) {
      const index = this.#first + i;
      work += turn(busy[index < started ? index : index - started]!, nowNs, turnBytes);
    }
    this.#dropIdle(count);
    return work;
  }

  get #mostLooks(): number {
    return this.sharesCore ? FEWEST_LOOKS : this.#looks;
  }

  #spin(looks: number): number {
    const { compiled } = this.#network;
    return compiled === undefined ? 0 : compiled.spin(looks, this.#stepsToAlone > 0 ? SHARED_TURN_BYTES : ALONE_SPIN_BYTES);
  }

  get #turnBytes(): number {
    return this.#stepsToAlone > 0 ? SHARED_TURN_BYTES : ADAPTER_TURN_BYTES;
  }

  /** True while some QP waits for a time; the caller must not sleep long. */
  get isWaiting(): boolean {
    const busy = this.#busy;
    for (let i = 0; i < busy.length; i++) if (busy[i]!.waiting.length > 0) return true;
    return false;
  }

  /** Keeps, of the first `count`, those that have more to do, and all that have come since, in their order. */
  #dropIdle(count: number): void {
    const busy = this.#busy;
    let kept = 0;
    for (let i = 0; i < busy.length; i++) {
      const adapter = busy[i]!;
      if (i === count) this.#started = kept;
      if (i >= count || adapter.staysBusy()) busy[kept++] = adapter;
    }
    if (busy.length <= count) this.#started = kept;
    while (busy.length > kept) busy.pop();
    this.#first = this.#first + 1 < this.#started ? this.#first + 1 : 0;
  }
}

function turn(adapter: Adapter, nowNs: number, turnBytes: number): number {
  let work = 0;
  if (adapter.waiting.length > 0) work += visitWaiting(adapter, nowNs);
  adapter.retryHeldBack();
  if (adapter.replying.length > 0) work += runReplies(adapter);
  while (work < turnBytes) {
    const qp = adapter.takeActive();
    if (qp === undefined) break;
    // Who is the only one takes the whole turn at once: the less lies between two messages, the less of it has left the cache.
    work += runSendQueue(qp, nowNs, adapter.hasActive ? TURN_BYTES : turnBytes - work);
  }
  return work;
}

function visitWaiting(adapter: Adapter, nowNs: number): number {
  const { waiting } = adapter;
  let work = 0;
  for (let i = 0; i < WAITING_PER_TURN && waiting.length > 0; i++) {
    if (adapter.waitingCursor >= waiting.length) adapter.waitingCursor = 0;
    const qp = waiting[adapter.waitingCursor]!;
    adapter.waitingCursor++;
    work += runWaiting(qp, nowNs);
    if (i + 1 >= waiting.length) break;
  }
  return work;
}
