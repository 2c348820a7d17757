// Where completion events arrive: one for each time that a CQ was asked. IBA vol 1, 11.4.2.2.

import type { CompletionQueue } from "./completion-queue.ts";
import type { Context } from "./context.ts";
import { VerbsObject } from "./object.ts";

export class CompletionChannel extends VerbsObject implements AsyncIterable<CompletionQueue> {
  readonly #context: Context;
  readonly #events: CompletionQueue[] = [];

  /** Use `context.createCompChannel`. */
  constructor(context: Context) {
    super([context]);
    this.#context = context;
    this.holdOwners();
  }

  get label(): string {
    return "completion channel";
  }

  /**
   * Waits for an event and returns its CQ. It need not be acknowledged: an event is consumed when it is returned.
   * @throws VerbsError ETIMEDOUT after `timeoutMs`
   */
  getEvent(options: { timeoutMs?: number } = {}): Promise<CompletionQueue> {
    return this.#context.until(() => this.#events.shift(), { ...options, what: "a completion event" });
  }

  /**
   * The same, blocking the thread.
   * @throws VerbsError ETIMEDOUT after `timeoutMs`
   */
  getEventSync(timeoutMs = Number.POSITIVE_INFINITY): CompletionQueue {
    return this.#context.untilSync(() => this.#events.shift(), timeoutMs, "a completion event");
  }

  /** Events for as long as the loop goes on. */
  async *[Symbol.asyncIterator](): AsyncIterator<CompletionQueue> {
    for (;;) yield await this.getEvent();
  }

  /** @internal */
  push(cq: CompletionQueue): void {
    this.#events.push(cq);
  }

  protected release(): void {
    this.#events.length = 0;
  }
}
