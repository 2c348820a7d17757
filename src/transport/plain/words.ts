// Queue pairs and completion queues as the compiled requests see them: words in the window, filled before those run and read back after.
// Nothing else runs meanwhile, so neither side ever meets half of the other's values.

import { mtuBytes } from "../../spec/ib/numbers.ts";
import type { CompletionQueue } from "../completion-queue.ts";
import type { QueuePair } from "../queue-pair.ts";
import type { HcaWords } from "./hca-words.ts";
import * as Layout from "./layout.ts";

/** Words of one object, by byte offset. */
class Words {
  readonly at: number;
  protected readonly hca: HcaWords;
  readonly #words: Int32Array;

  constructor(hca: HcaWords, at: number, pd: number) {
    const { window, table, memory } = hca;
    this.hca = hca;
    this.at = at;
    this.#words = window.words;
    this.#words.fill(0, at >>> 2, (at + Layout.QUEUE_BYTES) >>> 2);
    this.set(Layout.TLB, memory.windowAt);
    this.set(Layout.TABLE, table);
    this.set(Layout.PD, pd);
  }

  get(offset: number): number {
    return this.#words[(this.at + offset) >>> 2]!;
  }

  set(offset: number, value: number): void {
    this.#words[(this.at + offset) >>> 2] = value;
  }

  /** The value of a counter, which is 0 from then on. */
  take(offset: number): number {
    const index = (this.at + offset) >>> 2;
    const value = this.#words[index]!;
    this.#words[index] = 0;
    return value;
  }
}

/** A completion queue's. */
export class CompletionQueueWords extends Words {
  readonly #cq: CompletionQueue;

  constructor(place: HcaWords, at: number, cq: CompletionQueue) {
    super(place, at, cq.pd);
    this.#cq = cq;
    this.place();
  }

  /** Where its entries go, which changes when it is resized. */
  place(): void {
    const cq = this.#cq;
    this.set(Layout.CQ_LKEY, cq.lkey);
    this.set(Layout.CQ_START_HI, cq.startHi);
    this.set(Layout.CQ_START_LO, cq.startLo);
    this.set(Layout.CQ_LOG_SIZE, cq.logSize);
    this.set(Layout.CQ_PAGE, 0);
  }

  load(): void {
    const cq = this.#cq;
    const { generation } = cq.adapter.regions;
    if (this.get(Layout.GENERATION) !== generation) {
      this.set(Layout.GENERATION, generation);
      this.set(Layout.CQ_CI_RECORD, cq.ciRecord.windowAt());
      this.set(Layout.CQ_PAGE, 0);
    }
    this.set(Layout.CQ_PRODUCER, cq.producer);
    this.set(Layout.CQ_CONSUMER, cq.consumerSeen);
    this.set(Layout.CQ_LAST_SOLICITED, cq.lastSolicited);
    this.set(Layout.CQ_IS_HELD, cq.isBroken ? 1 : cq.armed);
  }

  store(): void {
    const cq = this.#cq;
    cq.producer = this.get(Layout.CQ_PRODUCER);
    cq.consumerSeen = this.get(Layout.CQ_CONSUMER);
    cq.lastSolicited = this.get(Layout.CQ_LAST_SOLICITED);
  }
}

/** A queue pair's. */
export class QueuePairWords extends Words {
  readonly #qp: QueuePair;
  /** Of the network, when what the driver may modify was written down. */
  #epoch = -1;

  constructor(place: HcaWords, at: number, qp: QueuePair) {
    const { setup, pd } = qp;
    super(place, at, pd);
    this.#qp = qp;
    this.set(Layout.QP_NUMBER, setup.number);
    this.set(Layout.WQE_LKEY, setup.wqeLkey);
    this.set(Layout.WQE_BASE_HI, setup.wqeBaseHi);
    this.set(Layout.SQ_BASE, setup.sqBase);
    this.set(Layout.LOG_SQ_SIZE, setup.logSqSize);
    this.set(Layout.LOG_SQ_STRIDE, setup.logSqStride);
    this.set(Layout.RQ_BASE, setup.rqBase);
    this.set(Layout.LOG_RQ_SIZE, setup.logRqSize);
    this.set(Layout.LOG_RQ_STRIDE, setup.logRqStride);
  }

  /** What a message from it needs; `peer` is where that goes. */
  loadSender(peer: QueuePairWords, sendCq: CompletionQueueWords): void {
    const qp = this.#qp;
    this.#loadCommon();
    this.set(Layout.PEER, peer.at);
    this.set(Layout.SEND_CQ, sendCq.at);
    this.set(Layout.SQ_HEAD, qp.sqHead);
    this.set(Layout.SQ_POSTED, qp.sqPosted);
  }

  /** What a message to it needs. */
  loadReceiver(receiveCq: CompletionQueueWords): void {
    this.#loadCommon();
    this.set(Layout.RECEIVE_CQ, receiveCq.at);
    this.set(Layout.RQ_HEAD, this.#qp.rqHead);
  }

  #loadCommon(): void {
    const { adapter, setup } = this.#qp;
    const { epoch } = adapter.network;
    const { generation } = adapter.regions;
    if (this.#epoch !== epoch) this.#loadAttributes(epoch);
    if (this.get(Layout.GENERATION) === generation) return;
    this.set(Layout.GENERATION, generation);
    this.hca.refresh(adapter.regions);
    this.set(Layout.SQ_RECORD, setup.sqRecord.windowAt());
    this.set(Layout.RQ_RECORD, setup.rqRecord.windowAt());
    this.set(Layout.SQ_PAGE, 0);
    this.set(Layout.RQ_PAGE, 0);
  }

  #loadAttributes(epoch: number): void {
    const { setup, attributes } = this.#qp;
    this.#epoch = epoch;
    let flags = setup.signalAll ? Layout.FLAG_SIGNAL_ALL : 0;
    if (attributes.sendsWrites) flags |= Layout.FLAG_SENDS_WRITES;
    if (attributes.allowsRemoteWrite) flags |= Layout.FLAG_ALLOWS_REMOTE_WRITE;
    if (setup.srq !== undefined) flags |= Layout.FLAG_HAS_SRQ;
    this.set(Layout.FLAGS, flags);
    this.set(Layout.MOST_BYTES, attributes.maxMessageBytes);
    this.set(Layout.LOG_MTU, 31 - Math.clz32(mtuBytes(attributes.mtuCode)));
  }

  /** Whether its doorbell record is where it can be looked at. */
  get hasRecord(): boolean {
    return this.get(Layout.SQ_RECORD) !== 0;
  }

  /** The message at the head of its send queue begins anew: it is carried out elsewhere. */
  forgetPart(): void {
    this.set(Layout.DONE, 0);
  }

  /** Takes over how far its send queue has come. */
  storeSender(): void {
    this.#qp.sqHead = this.get(Layout.SQ_HEAD);
    this.#qp.sqPosted = this.get(Layout.SQ_POSTED);
  }

  storeReceiver(): void {
    this.#qp.rqHead = this.get(Layout.RQ_HEAD);
  }
}
