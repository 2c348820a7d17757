// UAR pages. A doorbell word is a hint, the doorbell records are the truth: a hint names the QP or CQ to look at first, and a
// sweep of the records finds what two hints that overwrote each other have lost. Docs "infinihost" 3.5, 5.1, 5.3, P-34.

import { type Memory, swap32 } from "../base/bytes.ts";
import { UAR_PAGE_BYTES, UarDoorbell } from "../spec/hca/registers.ts";
import { QpState } from "../spec/ib/numbers.ts";
import type { Adapter } from "../transport/adapter.ts";
import type { CompletionQueue } from "../transport/completion-queue.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { type QueuePair, Waiting } from "../transport/queue-pair.ts";

/** Records of each kind looked at per UAR and poll, so that a lost hint costs little and is found soon: where there is time, … */
const RECORDS_PER_POLL = 8;
/** … and where others wait for the end of the sweep: one in so many polls. */
const RECORDS_PER_HASTY_LOOK = 1;
const HASTY_POLLS_PER_RECORD = 4;
/**
 * Hasty polls from one look at the hints to the next while they say nothing new. A look takes the words' cache line away from the
 * processor that rings, and waits for it, just when there is something to do.
 */
const POLLS_PER_LOOK = 32;
const WORDS_PER_PAGE_SHIFT = 10;
/** The dwords that name a QP and a CQ. A driver stores them last and first; the others say nothing that the records do not. */
const SEND_WORD = (UarDoorbell.SEND >> 2) + 1;
const CQ_WORD = UarDoorbell.CQ >> 2;

/** Who uses one UAR page. */
class Uar {
  readonly index: number;
  readonly qps: QueuePair[] = [];
  readonly cqs: CompletionQueue[] = [];
  qpCursor = 0;
  cqCursor = 0;
  /** The QP hinted at last: likely the next one too, so its record is looked at in every poll. */
  recent: QueuePair | undefined = undefined;
  /** A send hint that has been looked at and still stands in the page; 0 if there is none. */
  standingHint = 0;
  /** The last send hint named `recent`: its record had said as much before. */
  isHintRedundant = false;
  /** Hasty polls until the hints are looked at again, and until a record is. */
  pollsToLook = 0;
  pollsToRecord = 0;

  constructor(index: number) {
    this.index = index;
  }
}

export class Doorbells {
  readonly #memory: Memory;
  readonly #adapter: Adapter;
  readonly #uars: Uar[] = [];

  constructor(memory: Memory, adapter: Adapter) {
    this.#memory = memory;
    this.#adapter = adapter;
  }

  /** How many UAR pages the memory holds. */
  get pageCount(): number {
    return Math.floor(this.#memory.bytes.length / UAR_PAGE_BYTES);
  }

  reset(): void {
    for (const uar of this.#uars) {
      const at = uar.index * UAR_PAGE_BYTES;
      this.#memory.bytes.fill(0, at, at + UarDoorbell.CQ + 8);
    }
    this.#uars.length = 0;
  }

  watchQp(qp: QueuePair): void {
    this.#uarOf(qp.setup.uar).qps.push(qp);
  }

  unwatchQp(qp: QueuePair): void {
    const uar = this.#uarOf(qp.setup.uar);
    remove(uar.qps, qp);
    if (uar.recent === qp) uar.recent = undefined;
    this.#dropIfUnused(uar);
  }

  watchCq(cq: CompletionQueue): void {
    this.#uarOf(cq.uar).cqs.push(cq);
  }

  unwatchCq(cq: CompletionQueue): void {
    const uar = this.#uarOf(cq.uar);
    remove(uar.cqs, cq);
    this.#dropIfUnused(uar);
  }

  /**
   * Looks at the hints and at some records of every UAR in use. Returns how many hints there were.
   * @param isHasty look at few records only
   */
  poll(isHasty = false): number {
    const records = isHasty ? RECORDS_PER_HASTY_LOOK : RECORDS_PER_POLL;
    let hints = 0;
    for (let i = 0; i < this.#uars.length; i++) {
      const uar = this.#uars[i]!;
      if (uar.recent !== undefined) this.#look(uar.recent);
      if (isHasty && uar.pollsToLook > 0) uar.pollsToLook--;
      else hints += this.#pollHints(uar);
      if (isHasty && uar.pollsToRecord > 0) {
        uar.pollsToRecord--;
        continue;
      }
      uar.pollsToRecord = HASTY_POLLS_PER_RECORD - 1;
      this.#sweepQps(uar, records);
      this.#sweepCqs(uar, records);
    }
    return hints;
  }

  #pollHints(uar: Uar): number {
    const words = this.#memory.words;
    const base = uar.index << WORDS_PER_PAGE_SHIFT;
    const cq = base + CQ_WORD;
    let hints = 0;
    if (words[base + SEND_WORD] !== 0) {
      this.#pollSendHint(uar, base + SEND_WORD);
      hints++;
    }
    if (words[cq] !== 0) {
      const high = swap32(Atomics.exchange(words, cq, 0));
      this.#hintCq(uar, high & 0xffffff);
      hints++;
    }
    uar.pollsToLook = uar.isHintRedundant ? POLLS_PER_LOOK : 0;
    return hints;
  }

  /**
   * A new hint is followed at once. It is taken down by the next poll, when nobody waits for the exchange with the other processor's
   * cache that this is; its record is looked at again then, since it may have been rung once more.
   */
  #pollSendHint(uar: Uar, word: number): void {
    const words = this.#memory.words;
    const standing = words[word]!;
    if (standing !== uar.standingHint) {
      uar.standingHint = standing;
      const qp = this.#findHinted(uar, swap32(standing) >>> 8);
      uar.isHintRedundant = qp !== undefined && qp === uar.recent;
      if (qp !== undefined) this.#look(qp);
      return;
    }
    uar.standingHint = 0;
    // The exchange is also the fence: records stored before the doorbell are visible after it.
    this.#hintSend(uar, swap32(Atomics.exchange(words, word, 0)) >>> 8);
  }

  /** A doorbell works only from the UAR page of its QP. */
  #findHinted(uar: Uar, qpn: number): QueuePair | undefined {
    const qp = this.#adapter.qps.find(qpn);
    return qp !== undefined && qp.setup.uar === uar.index ? qp : undefined;
  }

  #hintSend(uar: Uar, qpn: number): void {
    const qp = this.#findHinted(uar, qpn);
    const counters = this.#adapter.counters;
    counters[AdapterCounter.doorbells]! += 1;
    if (qp === undefined) {
      counters[AdapterCounter.doorbellsIgnored]! += 1;
      return;
    }
    uar.isHintRedundant = qp === uar.recent;
    uar.recent = qp;
    if (!qp.setup.sqRecord.isBacked()) counters[AdapterCounter.recordsUnbacked]! += 1;
    this.#look(qp);
  }

  #hintCq(uar: Uar, cqn: number): void {
    const cq = this.#adapter.cqs.find(cqn);
    const counters = this.#adapter.counters;
    counters[AdapterCounter.doorbells]! += 1;
    if (cq === undefined || cq.uar !== uar.index) {
      counters[AdapterCounter.doorbellsIgnored]! += 1;
      return;
    }
    if (!cq.armRecord.isBacked()) counters[AdapterCounter.recordsUnbacked]! += 1;
    cq.checkArm();
  }

  #look(qp: QueuePair): boolean {
    // Who found no room has a turn when there is some, in order with others.
    if (qp.isHeldBack) return false;
    // The compiled requests look at it in each step (plain/compiled-requests.ts).
    if (qp.isHot) return false;
    if (qp.isActive || (qp.waitingIndex >= 0 && qp.waitsFor !== Waiting.ACK)) return false;
    if (qp.state !== QpState.RTS && qp.state !== QpState.SQE) return false;
    if (!qp.refreshPosted()) return false;
    this.#adapter.activate(qp);
    return true;
  }

  #sweepQps(uar: Uar, records: number): void {
    const { qps } = uar;
    const count = Math.min(qps.length, records);
    for (let i = 0; i < count; i++) {
      if (uar.qpCursor >= qps.length) uar.qpCursor = 0;
      const qp = qps[uar.qpCursor]!;
      uar.qpCursor++;
      if (this.#look(qp)) this.#adapter.counters[AdapterCounter.recordSweepHits]! += 1;
    }
  }

  #sweepCqs(uar: Uar, records: number): void {
    const { cqs } = uar;
    const count = Math.min(cqs.length, records);
    for (let i = 0; i < count; i++) {
      if (uar.cqCursor >= cqs.length) uar.cqCursor = 0;
      const cq = cqs[uar.cqCursor]!;
      uar.cqCursor++;
      cq.checkArm();
    }
  }

  #uarOf(index: number): Uar {
    let uar = this.#uars.find((u) => u.index === index);
    if (uar === undefined) {
      uar = new Uar(index);
      this.#uars.push(uar);
    }
    return uar;
  }

  #dropIfUnused(uar: Uar): void {
    if (uar.qps.length === 0 && uar.cqs.length === 0) remove(this.#uars, uar);
  }
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index >= 0) list.splice(index, 1);
}
