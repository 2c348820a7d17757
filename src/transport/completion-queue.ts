// A completion queue: writing CQEs, arming, and the rule when to raise an event. Docs "infinihost" 4.2, 5.6, 5.7;
// IBA vol 1, 11.4.2.

import { publishWord } from "../base/bytes.ts";
import { Access } from "../spec/hca/contexts.ts";
import { CQE_BYTES, CQE_SHIFT, CqErrorSyndrome, CqeErrorOpcode } from "../spec/hca/queues.ts";
import { CqArm } from "../spec/hca/registers.ts";
import type { Adapter } from "./adapter.ts";
import { AdapterCounter } from "./counters.ts";
import type { DoorbellRecord } from "./doorbell-record.ts";
import { QueueBuffer } from "./memory.ts";
import type { CompletionQueueWords } from "./plain/words.ts";

const IS_SEND = 0x8000;

export class CompletionQueue {
  readonly number: number;
  readonly adapter: Adapter;
  /** For compiled requests, if there have been some. */
  words: CompletionQueueWords | undefined = undefined;
  readonly uar: number;
  readonly pd: number;
  readonly eqn: number;
  readonly ciRecord: DoorbellRecord;
  readonly armRecord: DoorbellRecord;
  /** The context as the driver gave it, for queries. */
  logSize: number;
  /** CQEs written since creation; 32 bits, wraps. */
  producer = 0;
  /** Set by an overrun or a bad buffer: nothing is written any more. */
  isBroken = false;
  /** `CqArm`: what the next event waits for. */
  armed: number = CqArm.NONE;
  /** Events raised, modulo 4: tells a fresh arm from a stale one (5.7). */
  eventCount = 0;
  lastNotified = 0;
  /** Counter after the last CQE that was solicited or in error. */
  lastSolicited = 0;
  /** Arm record as last looked at, so that a sweep sees a change. */
  seenArmFirst = 0;
  seenArmSecond = 0;
  /** How often QPs name it: they fail with the queue, and it cannot be taken away before them. */
  userCount = 0;
  /** CQEs taken, as last seen. */
  consumerSeen = 0;
  // Where its entries are, as the driver names the place.
  lkey: number;
  startHi: number;
  startLo: number;
  #buffer: QueueBuffer;

  constructor(
    adapter: Adapter,
    fields: {
      number: number;
      logSize: number;
      uar: number;
      pd: number;
      lkey: number;
      startHi: number;
      startLo: number;
      eqn: number;
      ciRecord: DoorbellRecord;
      armRecord: DoorbellRecord;
    },
  ) {
    this.adapter = adapter;
    this.number = fields.number;
    this.logSize = fields.logSize;
    this.uar = fields.uar;
    this.pd = fields.pd;
    this.eqn = fields.eqn;
    this.ciRecord = fields.ciRecord;
    this.armRecord = fields.armRecord;
    this.lkey = fields.lkey;
    this.startHi = fields.startHi;
    this.startLo = fields.startLo;
    this.#buffer = this.#bufferOf();
  }

  /** Nothing completes here any more. */
  detach(): void {
    if (this.words !== undefined) this.adapter.hcaWords?.giveQueue(this.words.at);
    this.words = undefined;
  }

  /** Consumer counter as the driver last published it. */
  get consumer(): number {
    this.consumerSeen = this.ciRecord.isBacked() ? this.ciRecord.first() : this.consumerSeen;
    return this.consumerSeen;
  }

  /** Where the CQEs lie, for looking at them. */
  get buffer(): QueueBuffer {
    return this.#buffer;
  }

  /** Switches to another buffer; counters keep running, old entries are the driver's to copy (RESIZE_CQ, 2.8.12). */
  resize(logSize: number, lkey: number, startHi: number, startLo: number): void {
    this.logSize = logSize;
    this.lkey = lkey;
    this.startHi = startHi;
    this.startLo = startLo;
    this.#buffer = this.#bufferOf();
    this.words?.place();
  }

  /**
   * Writes a good completion. All values as in the CQE table of 5.6; `flags` is the dword at +0x0c (SL, GRH, path bits, LID).
   * @param isSolicited whether an arm for solicited events counts it
   */
  writeGood(
    qpn: number,
    remoteQpn: number,
    flags: number,
    immediate: number,
    byteCount: number,
    wqe: number,
    opcode: number,
    isSend: boolean,
    isSolicited: boolean,
  ): void {
    if (!this.#locateNext()) return;
    const view = this.#buffer.memory.view;
    const at = this.#buffer.at;
    view.setInt32(at, qpn, false);
    view.setInt32(at + 4, 0, false);
    view.setInt32(at + 8, remoteQpn, false);
    view.setInt32(at + 12, flags, false);
    view.setInt32(at + 16, immediate, false);
    view.setInt32(at + 20, byteCount, false);
    view.setInt32(at + 24, wqe, false);
    this.#commit(isSend ? opcode | IS_SEND : opcode, isSolicited);
  }

  /** Writes an error completion; errors count as solicited. */
  writeError(qpn: number, syndrome: number, vendorError: number, wqe: number, isSend: boolean): void {
    if (!this.#locateNext()) return;
    const view = this.#buffer.memory.view;
    const at = this.#buffer.at;
    view.setInt32(at, qpn, false);
    view.setInt32(at + 4, 0, false);
    view.setInt32(at + 8, 0, false);
    view.setInt32(at + 12, 0, false);
    view.setInt32(at + 16, (syndrome << 24) | (vendorError << 16), false);
    view.setInt32(at + 20, 0, false);
    view.setInt32(at + 24, wqe, false);
    this.#commit(isSend ? CqeErrorOpcode.SEND : CqeErrorOpcode.RECEIVE, true);
  }

  /** Looks at the arm record; called when a doorbell or a sweep says it may have changed. */
  checkArm(): void {
    const second = this.armRecord.second();
    const first = this.armRecord.first();
    if (first === this.seenArmFirst && second === this.seenArmSecond) return;
    this.seenArmFirst = first;
    this.seenArmSecond = second;
    const command = second & 7;
    // A request that carries another sequence number was made before software saw the last event: it is stale.
    if (((second >>> 3) & 3) !== ((this.eventCount + 1) & 3)) return;
    if (command !== CqArm.NEXT && command !== CqArm.SOLICITED) {
      this.adapter.counters[AdapterCounter.armsIgnored]! += 1;
      return;
    }
    // A pending request for any completion is not narrowed by one for solicited ones (IBA 11.4.2.2).
    if (this.armed !== CqArm.NEXT) this.armed = command;
    // Completions that an earlier event already announced do not raise another one.
    const announced = (first - this.lastNotified) | 0;
    const from = announced > 0 ? first : this.lastNotified;
    const latest = this.armed === CqArm.NEXT ? this.producer : this.lastSolicited;
    if (((latest - from) | 0) > 0) this.#fire();
  }

  /** The queue can no longer be written: tells the driver and every QP that completes here. */
  fail(syndrome: number): void {
    if (this.isBroken) return;
    this.isBroken = true;
    const isOverrun = syndrome === CqErrorSyndrome.OVERRUN;
    this.adapter.counters[isOverrun ? AdapterCounter.cqOverruns : AdapterCounter.cqAccessErrors]! += 1;
    this.adapter.events.cqError(this.number, syndrome);
    for (const qp of this.adapter.qps.values()) {
      if (qp.setup.sendCq === this || qp.setup.receiveCq === this) qp.cqFailed();
    }
  }

  #bufferOf(): QueueBuffer {
    const { adapter, lkey, pd, startHi, startLo } = this;
    return new QueueBuffer(adapter.regions, adapter.noMemory, lkey, pd, Access.LOCAL_WRITE, startHi, startLo);
  }

  #locateNext(): boolean {
    if (this.isBroken) return false;
    const size = 1 << this.logSize;
    // The consumer index is read again only when the last one seen says "full".
    if (((this.producer - this.consumerSeen) | 0) >= size && ((this.producer - this.consumer) | 0) >= size) {
      this.fail(CqErrorSyndrome.OVERRUN);
      return false;
    }
    if (this.#buffer.locate((this.producer & (size - 1)) << CQE_SHIFT, CQE_BYTES)) return true;
    this.fail(CqErrorSyndrome.ACCESS_VIOLATION);
    return false;
  }

  /** Hands the entry over: the dword with the owner byte goes last (P-27). */
  #commit(lastWord: number, isSolicited: boolean): void {
    publishWord(this.#buffer.memory, this.#buffer.at + 28, lastWord);
    this.producer = (this.producer + 1) | 0;
    if (isSolicited) this.lastSolicited = this.producer;
    if (this.armed === CqArm.NONE) return;
    if (this.armed === CqArm.NEXT || isSolicited) this.#fire();
  }

  #fire(): void {
    this.armed = CqArm.NONE;
    this.eventCount = (this.eventCount + 1) & 3;
    this.lastNotified = this.producer;
    this.adapter.events.completion(this.eqn, this.number);
  }
}
