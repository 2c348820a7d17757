// Completion queues. Two ways to read one: `poll` into reused objects, and ibv_cq_ex' startPoll/nextPoll/endPoll, which copies
// nothing. Neither allocates. IBA vol 1, 11.4.2; docs "infinihost" 5.6, 5.7.

import { DriverCompletionQueue } from "../driver/completion-queue.ts";
import type { CompletionChannel } from "./completion-channel.ts";
import type { Context } from "./context.ts";
import { asVerb, VerbsError } from "./error.ts";
import { VerbsObject } from "./object.ts";
import type { QueuePair } from "./queue-pair.ts";
import {
  hasImmediate,
  isErrorOpcode,
  opcodeOf,
  statusOf,
  type WcOpcode,
  type WcStatus,
  WorkCompletion,
} from "./work-completion.ts";

const MAX_CQE = 131_071;
const QPN_MASK = 0xffffff;
const IS_SEND = 0x80;
const HAS_GRH = 0x80;
/** The low bits of a completion's WQE address are no address (5.6). */
const WQE_MASK = ~0x3f;

/** Somebody who waits for one request. */
interface Ticket {
  readonly qpNum: number;
  readonly isSend: boolean;
  readonly wqe: number;
  wc: WorkCompletion | undefined;
}

export interface CqOptions {
  /** Where events of this queue arrive. */
  readonly channel?: CompletionChannel;
}

export class CompletionQueue extends VerbsObject {
  readonly context: Context;
  readonly channel: CompletionChannel | undefined;
  /** Of the completion at hand, between `startPoll` or `nextPoll` and `endPoll`. */
  wrId = 0;
  status: WcStatus = "SUCCESS";
  readonly #cq: DriverCompletionQueue;
  readonly #view: DataView;
  #at = 0;
  #isSend = false;
  #opcode = 0;
  /** Completions that came while somebody waited for others. */
  readonly #kept: WorkCompletion[] = [];
  readonly #tickets: Ticket[] = [];
  #lastQp: QueuePair | undefined;
  #isArmed = false;

  /** Use `context.createCq`. */
  constructor(context: Context, cqe: number, options: CqOptions) {
    super(options.channel === undefined ? [context] : [context, options.channel]);
    if (!(Number.isInteger(cqe) && cqe >= 1 && cqe <= MAX_CQE)) {
      throw new VerbsError("EINVAL", `createCq: cqe ${cqe} is not between 1 and ${MAX_CQE}`);
    }
    this.context = context;
    this.channel = options.channel;
    this.#cq = asVerb(() => new DriverCompletionQueue(context.device, cqe, context.internalPd));
    this.#view = this.#cq.view;
    this.#cq.onEvent = () => {
      this.#isArmed = false;
      this.channel?.push(this);
    };
    context.cqs.set(this.number, this);
    this.holdOwners();
  }

  get label(): string {
    return `CQ ${this.number}`;
  }

  get number(): number {
    return this.#cq.number;
  }

  /** Completions it holds: at least as many as asked for. */
  get cqe(): number {
    return this.#cq.capacity;
  }

  /** @internal */
  get driver(): DriverCompletionQueue {
    return this.#cq;
  }

  // ---- polling ----------------------------------------------------------------------------------------------------------

  /**
   * Takes completions, oldest first, as many as there are and fit.
   * @param into objects that are overwritten; make them once (`newWorkCompletions`)
   * @returns how many were written
   */
  poll(into: readonly WorkCompletion[]): number {
    let count = 0;
    while (this.#kept.length > 0 && count < into.length) Object.assign(into[count++] as WorkCompletion, this.#kept.shift());
    if (count === into.length || !this.startPoll()) return count;
    do {
      this.#copyTo(into[count] as WorkCompletion);
      count++;
    } while (count < into.length && this.nextPoll());
    this.endPoll();
    return count;
  }

  /** Looks for a completion. True: `wrId`, `status` and the `read…` methods speak of it, and `endPoll` is due in the end. */
  startPoll(): boolean {
    return this.nextPoll();
  }

  /** The one after it; false if there is none yet. */
  nextPoll(): boolean {
    while (this.#cq.peek()) {
      if (this.#accept()) return true;
    }
    return false;
  }

  /** Gives the places of all that was seen back to the device. */
  endPoll(): void {
    this.#cq.done();
  }

  /** Takes the entry over. False if its QP is gone: then it is nobody's. */
  #accept(): boolean {
    const view = this.#view;
    const at = this.#cq.at;
    this.#at = at;
    const qpn = view.getInt32(at, false) & QPN_MASK;
    const opcode = view.getUint8(at + 28);
    const isError = isErrorOpcode(opcode);
    this.#opcode = opcode;
    this.#isSend = isError ? (opcode & 1) !== 0 : (view.getUint8(at + 29) & IS_SEND) !== 0;
    this.status = isError ? statusOf(view.getUint8(at + 16)) : "SUCCESS";
    this.#cq.take();
    let qp = this.#lastQp;
    if (qp === undefined || qp.qpNum !== qpn) {
      qp = this.context.qps.get(qpn);
      this.#lastQp = qp;
    }
    if (qp === undefined) return false;
    const wqe = view.getInt32(at + 24, false) & WQE_MASK;
    this.wrId = this.#isSend ? qp.completeSend(wqe) : qp.completeReceive(wqe);
    return true;
  }

  /** @internal forgets a QP that goes */
  forget(qp: QueuePair): void {
    if (this.#lastQp === qp) this.#lastQp = undefined;
  }

  readOpcode(): WcOpcode {
    return opcodeOf(this.#isSend, this.#opcode);
  }

  readByteLen(): number {
    return this.#view.getUint32(this.#at + 20, false);
  }

  readImmData(): number {
    return this.#view.getUint32(this.#at + 16, false);
  }

  readHasImm(): boolean {
    return hasImmediate(this.#isSend, this.#opcode);
  }

  readQpNum(): number {
    return this.#view.getInt32(this.#at, false) & QPN_MASK;
  }

  readSrcQp(): number {
    return this.#view.getInt32(this.#at + 8, false) & QPN_MASK;
  }

  readSlid(): number {
    return this.#view.getUint16(this.#at + 14, false);
  }

  readSl(): number {
    return this.#view.getUint8(this.#at + 12) >>> 4;
  }

  readDlidPathBits(): number {
    return this.#view.getUint8(this.#at + 13) & 0x7f;
  }

  readHasGrh(): boolean {
    return !this.#isSend && (this.#view.getUint8(this.#at + 13) & HAS_GRH) !== 0;
  }

  readVendorErr(): number {
    return isErrorOpcode(this.#opcode) ? this.#view.getUint8(this.#at + 17) : 0;
  }

  #copyTo(wc: WorkCompletion): void {
    wc.wrId = this.wrId;
    wc.status = this.status;
    wc.vendorErr = this.readVendorErr();
    wc.qpNum = this.readQpNum();
    wc.opcode = this.readOpcode();
    wc.byteLen = this.readByteLen();
    wc.immData = this.readImmData();
    wc.hasImm = this.readHasImm();
    wc.srcQp = this.readSrcQp();
    wc.slid = this.readSlid();
    wc.sl = this.readSl();
    wc.dlidPathBits = this.readDlidPathBits();
    wc.hasGrh = this.readHasGrh();
  }

  // ---- waiting ----------------------------------------------------------------------------------------------------------

  /**
   * Asks for one event, at the next completion that comes, or the next solicited one or error.
   * Completions that are there already raise none: poll once more after asking.
   */
  reqNotify(solicitedOnly = false): void {
    this.#isArmed = true;
    this.#cq.arm(solicitedOnly);
  }

  /** Waits for the next completion. */
  async next(options: { timeoutMs?: number } = {}): Promise<WorkCompletion> {
    const wc = new WorkCompletion();
    const into = [wc];
    await this.context.until(() => (this.poll(into) === 1 ? wc : undefined), {
      ...options,
      arm: this.armOnce,
      what: `a completion of ${this.label}`,
    });
    return wc;
  }

  /** @internal arms unless it is armed */
  readonly armOnce = (): void => {
    if (!this.#isArmed) this.reqNotify();
  };

  /** @internal Waits for the completion of one request; others that come meanwhile are kept for `poll`. */
  async waitFor(
    qpNum: number,
    isSend: boolean,
    wqe: number,
    options: { timeoutMs?: number; what: string },
  ): Promise<WorkCompletion> {
    const ticket: Ticket = { qpNum, isSend, wqe, wc: undefined };
    this.#tickets.push(ticket);
    try {
      return await this.context.until(() => this.#serve(ticket), { ...options, arm: this.armOnce });
    } finally {
      this.#tickets.splice(this.#tickets.indexOf(ticket), 1);
    }
  }

  /** Hands what has completed to those who wait for it, or keeps it. */
  #serve(ticket: Ticket): WorkCompletion | undefined {
    while (ticket.wc === undefined && this.#cq.peek()) {
      const wqe = this.#view.getInt32(this.#cq.at + 24, false) & WQE_MASK;
      if (!this.#accept()) continue;
      const wc = new WorkCompletion();
      this.#copyTo(wc);
      this.endPoll();
      const owner = this.#tickets.find(
        (t) => t.wqe === wqe && t.qpNum === wc.qpNum && t.isSend === this.#isSend && t.wc === undefined,
      );
      if (owner === undefined) this.#kept.push(wc);
      else owner.wc = wc;
    }
    return ticket.wc;
  }

  // ---- the rest ---------------------------------------------------------------------------------------------------------

  /** Gives it room for at least `cqe` completions; those that wait are kept. */
  resize(cqe: number): void {
    asVerb(() => this.#cq.resize(cqe));
  }

  protected release(): void {
    asVerb(() => this.#cq.destroy());
    this.context.cqs.delete(this.number);
  }
}
