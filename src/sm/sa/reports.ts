// Report: forwards notices to those who have subscribed, again until they answer with ReportResp. IBA vol 1, 13.4.11. A subscriber that
// does not answer is given up after some reports, and one that is slow is sent only a few at a time; the rest is lost and counted.

import { NS_PER_MS } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import { bytesOf, newRequest } from "../../mad/mad.ts";
import { gmpAddress, type MadPacket } from "../../mad/packet.ts";
import { Transactions } from "../../mad/transactions.ts";
import { SA_DATA_AT } from "../../spec/mad/headers.ts";
import { Method, MgmtClass, SmAttribute } from "../../spec/mad/numbers.ts";
import { SaLimits } from "../options.ts";
import type { Subnet } from "../subnet.ts";
import type { Subscription, SubscriptionTable } from "./subscriptions.ts";

const FIRST_WAIT_NS = 250 * NS_PER_MS;
const TRIES = 5;
const MAX_OUTSTANDING = 128;
/** Reports in a row without an answer after which a subscriber is gone. */
const MAX_FAILURES = 2;

export interface ReportCounts {
  reports: number;
  /** Reports to subscribers that have too many unanswered ones. */
  lostReports: number;
  /** Subscriptions of those who do not answer. */
  droppedSubscriptions: number;
}

export class Reporter {
  readonly counts: ReportCounts = { reports: 0, lostReports: 0, droppedSubscriptions: 0 };
  readonly #subscriptions: SubscriptionTable;
  readonly #subnet: Subnet;
  readonly #lid: () => number;
  readonly #transactions: Transactions;

  constructor(
    subscriptions: SubscriptionTable,
    subnet: Subnet,
    lid: () => number,
    send: (packet: Uint8Array) => void,
    random: Random,
  ) {
    this.#subscriptions = subscriptions;
    this.#subnet = subnet;
    this.#lid = lid;
    const waits = { timeoutNs: FIRST_WAIT_NS, tries: TRIES, maxOutstanding: MAX_OUTSTANDING };
    this.#transactions = new Transactions({ send, random, ...waits, responseMethod: Method.REPORT_RESP });
  }

  /** Reports under way. */
  get pending(): number {
    return this.#transactions.pending;
  }

  /** Sends `notice` (80 bytes) to everybody who wants it. */
  report(notice: DataView, nowNs: number): void {
    for (const subscription of [...this.#subscriptions.matching(notice)]) this.#send(subscription, notice, nowNs);
  }

  /** A ReportResp. */
  receive(packet: MadPacket, nowNs: number): boolean {
    return this.#transactions.receive(packet, nowNs);
  }

  step(nowNs: number): void {
    this.#transactions.step(nowNs);
  }

  nextDeadlineNs(): number {
    return this.#transactions.nextDeadlineNs();
  }

  #send(subscription: Subscription, notice: DataView, nowNs: number): void {
    const port = this.#subnet.byGuid.get(subscription.owner);
    if (port === undefined || subscription.pending >= SaLimits.REPORTS_PER_SUBSCRIPTION) {
      this.counts.lostReports++;
      return;
    }
    const mad = newRequest(MgmtClass.SUBN_ADM, Method.REPORT, SmAttribute.NOTICE);
    bytesOf(mad).set(bytesOf(notice), SA_DATA_AT);
    subscription.pending++;
    this.counts.reports++;
    const address = { ...gmpAddress(this.#lid(), port.lid), destQp: subscription.qpn };
    const onDone = (reply: MadPacket | undefined): void => this.#done(subscription, reply !== undefined);
    this.#transactions.submit({ mad, address, group: 0, onDone }, nowNs);
  }

  #done(subscription: Subscription, isAnswered: boolean): void {
    subscription.pending--;
    subscription.failures = isAnswered ? 0 : subscription.failures + 1;
    if (subscription.failures < MAX_FAILURES || !this.#subscriptions.has(subscription)) return;
    this.counts.droppedSubscriptions++;
    this.#subscriptions.remove(subscription);
  }
}
