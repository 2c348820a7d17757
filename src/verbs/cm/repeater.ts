// A message that is sent again until it is answered, less and less often, and given up in the end. IBA vol 1, 12.9.8.

import { NS_PER_MS } from "../../base/clock.ts";
import type { Timer, Timers } from "../timers.ts";
import { CmTimes } from "./limits.ts";

/** How long a message is tried. */
export interface Patience {
  /** Nanoseconds from now. */
  readonly giveUpAfterNs: number;
  /** Whatever the peer asks for. */
  readonly isFirm: boolean;
}

/** @param timeoutMs what the program has said: that is firm */
export function patienceOf(timeoutMs: number | undefined, otherwiseNs: number): Patience {
  const isFirm = timeoutMs !== undefined;
  return { giveUpAfterNs: isFirm ? timeoutMs * NS_PER_MS : otherwiseNs, isFirm };
}

export interface RepeaterOptions {
  readonly send: () => void;
  readonly patience: Patience;
  readonly onGiveUp: () => void;
}

export class Repeater {
  /** Times it was sent. */
  sent = 0;
  readonly #timers: Timers;
  readonly #options: RepeaterOptions;
  readonly #startNs: number;
  #deadlineNs: number;
  #timer: Timer | undefined;

  /** Sends it for the first time. */
  constructor(timers: Timers, options: RepeaterOptions) {
    this.#timers = timers;
    this.#options = options;
    this.#startNs = timers.nowNs;
    this.#deadlineNs = timers.nowNs + options.patience.giveUpAfterNs;
    this.#transmit();
  }

  stop(): void {
    this.#timers.stop(this.#timer);
    this.#timer = undefined;
  }

  /** The peer has the message and asks for `ns` nanoseconds of patience; it gets them, up to a bound. */
  postpone(ns: number): void {
    if (this.#timer === undefined) return;
    const { nowNs } = this.#timers;
    const wanted = nowNs + ns + CmTimes.LONGEST_WAIT_NS;
    const most = this.#options.patience.isFirm ? this.#deadlineNs : this.#startNs + CmTimes.PATIENCE_NS;
    this.#deadlineNs = Math.max(this.#deadlineNs, Math.min(wanted, most));
    this.#wait(ns);
  }

  #transmit(): void {
    const waitNs = Math.min(CmTimes.FIRST_WAIT_NS * 2 ** this.sent, CmTimes.LONGEST_WAIT_NS);
    this.sent++;
    this.#options.send();
    this.#wait(waitNs);
  }

  #wait(ns: number): void {
    this.#timers.stop(this.#timer);
    const leftNs = this.#deadlineNs - this.#timers.nowNs;
    this.#timer = this.#timers.start(Math.max(0, Math.min(ns, leftNs)), () => this.#expire());
  }

  #expire(): void {
    this.#timer = undefined;
    if (this.#timers.nowNs < this.#deadlineNs) this.#transmit();
    else this.#options.onGiveUp();
  }
}
