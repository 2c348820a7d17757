// The engine: gives every HCA its turn. No I/O, no clock; the caller says what time it is and decides when to sleep.

import type { Adapter } from "./adapter.ts";
import { runReplies } from "./packets/replies.ts";
import { runSendQueue, runWaiting } from "./requester.ts";

/** What one HCA may move before the next has its turn: two slices. */
const ADAPTER_TURN_BYTES = 128 * 1024;
/** Waiting QPs looked at in one turn of an HCA. */
const WAITING_PER_TURN = 16;

/** Carries the messages of a set of HCAs. */
export class Engine {
  readonly #adapters = new Set<Adapter>();
  /** Those with queue pairs that have something to do or that wait; the others cost nothing. */
  readonly #busy: Adapter[] = [];
  #first = 0;

  add(adapter: Adapter): void {
    this.#adapters.add(adapter);
    adapter.onWork = () => this.#busy.push(adapter);
    if (adapter.isBusy) this.#busy.push(adapter);
  }

  remove(adapter: Adapter): void {
    if (!this.#adapters.delete(adapter)) return;
    adapter.onWork = () => 0;
    const index = this.#busy.indexOf(adapter);
    if (index >= 0) this.#busy.splice(index, 1);
    this.#first = 0;
  }

  /** Gives every HCA one turn, starting with another one each time. Returns work done; 0 means idle. */
  step(nowNs: number): number {
    const busy = this.#busy;
    // Those that get work in this step have their turn in the next.
    const count = busy.length;
    let work = 0;
    for (let i = 0; i < count; i++) {
      let index = this.#first + i;
      if (index >= count) index -= count;
      work += turn(busy[index]!, nowNs);
    }
    this.#dropIdle();
    this.#first = this.#first + 1 < busy.length ? this.#first + 1 : 0;
    return work;
  }

  /** True while some QP waits for a time; the caller must not sleep long. */
  get isWaiting(): boolean {
    return this.#busy.some((adapter) => adapter.waiting.length > 0);
  }

  #dropIdle(): void {
    const busy = this.#busy;
    for (let i = busy.length - 1; i >= 0; i--) {
      if (busy[i]!.staysBusy()) continue;
      const last = busy.pop()!;
      if (i < busy.length) busy[i] = last;
    }
  }
}

function turn(adapter: Adapter, nowNs: number): number {
  let work = 0;
  if (adapter.waiting.length > 0) work += visitWaiting(adapter, nowNs);
  if (adapter.heldBack.length > 0) adapter.retryHeldBack();
  if (adapter.replying.length > 0) work += runReplies(adapter);
  while (work < ADAPTER_TURN_BYTES) {
    const qp = adapter.takeActive();
    if (qp === undefined) break;
    work += runSendQueue(qp, nowNs);
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
