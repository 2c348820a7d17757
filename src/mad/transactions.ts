// Requests and their responses: transaction ids, timeouts, retries, a bounded number outstanding (IBA vol 1, 13.4.6.3 and
// 13.5.1.1). A request that is sent again waits twice as long each time, so a slow node costs few duplicates and a node that
// has just come up is found at once.

import type { Random } from "../base/random.ts";
import { MadHeader } from "../spec/mad/headers.ts";
import { Method } from "../spec/mad/numbers.ts";
import { buildMadPacket, type MadAddress, type MadPacket } from "./packet.ts";

export interface TransactionOptions {
  readonly send: (packet: Uint8Array) => void;
  readonly random: Random;
  /** Requests under way at once; further ones wait. */
  readonly maxOutstanding: number;
  /** Wait for the first response; doubles with each try. */
  readonly timeoutNs: number;
  /** Times a request is sent in all. */
  readonly tries: number;
  /** Method of the responses; GetResp if nothing is said. */
  readonly responseMethod?: number;
}

export interface MadRequest {
  /**
   * The MAD, or what makes it whenever it is sent (in the same bytes as ever, if it likes): there may be many waiting, and a repeated Set must
   * not bring back what is out of date by then. Its transaction id is filled in here.
   */
  readonly mad: DataView | (() => DataView);
  readonly address: MadAddress;
  /** Requests of one group can be counted with `freshCount`. */
  readonly group: number;
  /** Called once: with the response (valid during the call), or undefined when all tries have timed out. */
  readonly onDone: (reply: MadPacket | undefined, nowNs: number) => void;
}

interface Transaction {
  readonly request: MadRequest;
  readonly tid: number;
  /** What a response must have in common with the request. */
  readonly mgmtClass: number;
  readonly attributeId: number;
  readonly modifier: number;
  tries: number;
  deadlineNs: number;
}

/** Counters of a transaction layer. */
export interface TransactionCounts {
  sent: number;
  retried: number;
  completed: number;
  timedOut: number;
  /** Responses that belong to no request (late duplicates, forgeries). */
  unmatched: number;
}

export class Transactions {
  readonly counts: TransactionCounts = { sent: 0, retried: 0, completed: 0, timedOut: 0, unmatched: 0 };
  readonly #options: TransactionOptions;
  readonly #tidHi: number;
  /** Requests under way, in the slots that the low bits of their ids say. (The tables that a growing Map leaves behind keep what was in them.) */
  readonly #slots: (Transaction | undefined)[];
  readonly #freeSlots: number[];
  readonly #slotBits: number;
  /** High bits of the next id. */
  #serial: number;
  /** From `#waitingHead`. */
  readonly #waiting: (MadRequest | undefined)[] = [];
  #waitingHead = 0;
  readonly #fresh: Map<number, number> = new Map();
  /** No deadline is earlier; it may be stale. */
  #earliestNs = Number.POSITIVE_INFINITY;

  constructor(options: TransactionOptions) {
    this.#options = options;
    this.#tidHi = options.random.u32();
    this.#serial = options.random.u32();
    this.#slots = new Array(options.maxOutstanding).fill(undefined);
    this.#freeSlots = Array.from({ length: options.maxOutstanding }, (_, i) => options.maxOutstanding - 1 - i);
    this.#slotBits = 32 - Math.clz32(options.maxOutstanding - 1);
  }

  get maxOutstanding(): number {
    return this.#options.maxOutstanding;
  }

  /** Requests sent or waiting to be sent. */
  get pending(): number {
    return this.#slots.length - this.#freeSlots.length + this.#waiting.length - this.#waitingHead;
  }

  /** Requests of `group` that have not been answered and have not timed out even once. */
  freshCount(group: number): number {
    return this.#fresh.get(group) ?? 0;
  }

  submit(request: MadRequest, nowNs: number): void {
    this.#fresh.set(request.group, this.freshCount(request.group) + 1);
    this.#waiting.push(request);
    this.#sendWaiting(nowNs);
  }

  /** Hands in a response; returns whether it belonged to a request. */
  receive(packet: MadPacket, nowNs: number): boolean {
    const { view, madAt } = packet;
    const transaction = this.#slots[this.#slotOf(MadHeader.tid.lo.get(view, madAt))];
    if (transaction === undefined || !this.#isResponseTo(transaction, view, madAt)) {
      this.counts.unmatched++;
      return false;
    }
    this.counts.completed++;
    this.#finish(transaction);
    transaction.request.onDone(packet, nowNs);
    this.#sendWaiting(nowNs);
    return true;
  }

  /** Sends again what has timed out, gives up what has been tried often enough. */
  step(nowNs: number): void {
    if (nowNs < this.#earliestNs) return;
    const due: Transaction[] = [];
    let earliestNs = Number.POSITIVE_INFINITY;
    for (const transaction of this.#slots) {
      if (transaction === undefined) continue;
      if (transaction.deadlineNs <= nowNs) due.push(transaction);
      else earliestNs = Math.min(earliestNs, transaction.deadlineNs);
    }
    this.#earliestNs = earliestNs;
    for (const transaction of due) {
      if (transaction.tries < this.#options.tries) {
        this.#unfresh(transaction);
        this.counts.retried++;
        this.#transmit(transaction, this.#madFor(transaction.request, transaction.tid), nowNs);
        continue;
      }
      this.counts.timedOut++;
      this.#finish(transaction);
      transaction.request.onDone(undefined, nowNs);
    }
    this.#sendWaiting(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#earliestNs;
  }

  #slotOf(tid: number): number {
    return tid & ((1 << this.#slotBits) - 1);
  }

  #isResponseTo({ tid, mgmtClass, attributeId, modifier }: Transaction, view: DataView, at: number): boolean {
    return (
      MadHeader.tid.lo.get(view, at) === tid &&
      MadHeader.tid.hi.get(view, at) === this.#tidHi &&
      MadHeader.method.get(view, at) === (this.#options.responseMethod ?? Method.GET_RESP) &&
      MadHeader.mgmtClass.get(view, at) === mgmtClass &&
      MadHeader.attributeId.get(view, at) === attributeId &&
      MadHeader.attributeModifier.get(view, at) === modifier
    );
  }

  #sendWaiting(nowNs: number): void {
    while (this.#waitingHead < this.#waiting.length && this.#freeSlots.length > 0) {
      const request = this.#waiting[this.#waitingHead];
      // what has been sent must not stay: under load the queue may not be empty for long
      this.#waiting[this.#waitingHead++] = undefined;
      if (request !== undefined) this.#send(request, nowNs);
    }
    if (this.#waitingHead * 2 < this.#waiting.length) return;
    this.#waiting.splice(0, this.#waitingHead);
    this.#waitingHead = 0;
  }

  #send(request: MadRequest, nowNs: number): void {
    const slot = this.#freeSlots.pop() ?? 0;
    this.#serial = (this.#serial + 1) >>> 0;
    const tid = ((this.#serial << this.#slotBits) | slot) >>> 0;
    const mad = this.#madFor(request, tid);
    const transaction = newTransaction(request, tid, mad);
    this.#slots[slot] = transaction;
    this.#transmit(transaction, mad, nowNs);
  }

  #madFor({ mad }: MadRequest, tid: number): DataView {
    const view = typeof mad === "function" ? mad() : mad;
    MadHeader.tid.hi.set(view, 0, this.#tidHi);
    MadHeader.tid.lo.set(view, 0, tid);
    return view;
  }

  #transmit(transaction: Transaction, mad: DataView, nowNs: number): void {
    transaction.deadlineNs = nowNs + this.#options.timeoutNs * 2 ** transaction.tries;
    transaction.tries++;
    this.#earliestNs = Math.min(this.#earliestNs, transaction.deadlineNs);
    this.counts.sent++;
    this.#options.send(buildMadPacket(transaction.request.address, mad));
  }

  #finish(transaction: Transaction): void {
    const slot = this.#slotOf(transaction.tid);
    this.#slots[slot] = undefined;
    this.#freeSlots.push(slot);
    if (transaction.tries === 1) this.#unfresh(transaction);
  }

  /** The request no longer counts as fresh: answered, or about to be sent a second time. */
  #unfresh(transaction: Transaction): void {
    if (transaction.tries !== 1) return;
    const { group } = transaction.request;
    this.#fresh.set(group, this.freshCount(group) - 1);
  }
}

const newTransaction = (request: MadRequest, tid: number, mad: DataView): Transaction => ({
  request,
  tid,
  mgmtClass: MadHeader.mgmtClass.get(mad, 0),
  attributeId: MadHeader.attributeId.get(mad, 0),
  modifier: MadHeader.attributeModifier.get(mad, 0),
  tries: 0,
  deadlineNs: 0,
});
