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
  #nextTid: number;
  readonly #outstanding: Map<number, Transaction> = new Map();
  #waiting: MadRequest[] = [];
  #waitingHead = 0;
  readonly #fresh: Map<number, number> = new Map();
  /** No deadline is earlier; it may be stale. */
  #earliestNs = Number.POSITIVE_INFINITY;

  constructor(options: TransactionOptions) {
    this.#options = options;
    this.#tidHi = options.random.u32();
    this.#nextTid = options.random.u32();
  }

  get maxOutstanding(): number {
    return this.#options.maxOutstanding;
  }

  /** Requests sent or waiting to be sent. */
  get pending(): number {
    return this.#outstanding.size + this.#waiting.length - this.#waitingHead;
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
    const tid = MadHeader.tid.lo.get(view, madAt);
    const transaction = this.#outstanding.get(tid);
    if (transaction === undefined || !this.#isResponseTo(transaction, view, madAt)) {
      this.counts.unmatched++;
      return false;
    }
    this.counts.completed++;
    this.#finish(tid, transaction);
    transaction.request.onDone(packet, nowNs);
    this.#sendWaiting(nowNs);
    return true;
  }

  /** Sends again what has timed out, gives up what has been tried often enough. */
  step(nowNs: number): void {
    if (nowNs < this.#earliestNs) return;
    const due: [number, Transaction][] = [];
    let earliestNs = Number.POSITIVE_INFINITY;
    for (const [tid, transaction] of this.#outstanding) {
      if (transaction.deadlineNs <= nowNs) due.push([tid, transaction]);
      else earliestNs = Math.min(earliestNs, transaction.deadlineNs);
    }
    this.#earliestNs = earliestNs;
    for (const [tid, transaction] of due) {
      if (transaction.tries < this.#options.tries) {
        this.#unfresh(transaction);
        this.counts.retried++;
        this.#transmit(transaction, this.#madFor(transaction.request, tid), nowNs);
        continue;
      }
      this.counts.timedOut++;
      this.#finish(tid, transaction);
      transaction.request.onDone(undefined, nowNs);
    }
    this.#sendWaiting(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#earliestNs;
  }

  #isResponseTo({ mgmtClass, attributeId, modifier }: Transaction, view: DataView, at: number): boolean {
    return (
      MadHeader.tid.hi.get(view, at) === this.#tidHi &&
      MadHeader.method.get(view, at) === Method.GET_RESP &&
      MadHeader.mgmtClass.get(view, at) === mgmtClass &&
      MadHeader.attributeId.get(view, at) === attributeId &&
      MadHeader.attributeModifier.get(view, at) === modifier
    );
  }

  #sendWaiting(nowNs: number): void {
    while (this.#waitingHead < this.#waiting.length && this.#outstanding.size < this.#options.maxOutstanding) {
      const request = this.#waiting[this.#waitingHead++];
      if (request === undefined) continue;
      const tid = this.#nextTid;
      this.#nextTid = (tid + 1) >>> 0;
      const mad = this.#madFor(request, tid);
      const transaction = newTransaction(request, mad);
      this.#outstanding.set(tid, transaction);
      this.#transmit(transaction, mad, nowNs);
    }
    // what has been sent must not stay: under load the queue may not be empty for long
    if (this.#waitingHead * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#waitingHead);
      this.#waitingHead = 0;
    }
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

  #finish(tid: number, transaction: Transaction): void {
    this.#outstanding.delete(tid);
    if (transaction.tries === 1) this.#unfresh(transaction);
  }

  /** The request no longer counts as fresh: answered, or about to be sent a second time. */
  #unfresh(transaction: Transaction): void {
    if (transaction.tries !== 1) return;
    const { group } = transaction.request;
    this.#fresh.set(group, this.freshCount(group) - 1);
  }
}

const newTransaction = (request: MadRequest, mad: DataView): Transaction => ({
  request,
  mgmtClass: MadHeader.mgmtClass.get(mad, 0),
  attributeId: MadHeader.attributeId.get(mad, 0),
  modifier: MadHeader.attributeModifier.get(mad, 0),
  tries: 0,
  deadlineNs: 0,
});
