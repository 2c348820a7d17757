// One channel adapter as the transport sees it: its tables, its ports, and the queue pairs that have work.
// The hca room creates and fills it by firmware commands; the engine drives it.

import type { AddressSpace } from "../base/address-space.ts";
import type { Memory } from "../base/bytes.ts";
import { newCounters } from "../base/counters.ts";
import type { CompletionQueue } from "./completion-queue.ts";
import { ContextStore } from "./context-store.ts";
import { AdapterCounter } from "./counters.ts";
import { Icm } from "./icm.ts";
import { RegionTable } from "./memory.ts";
import { MulticastTable } from "./multicast.ts";
import type { Network } from "./network.ts";
import { NumberTable } from "./number-table.ts";
import type { HcaWords } from "./plain/hca-words.ts";
import type { AdapterPort } from "./port.ts";
import type { QueuePair } from "./queue-pair.ts";
import { forgetParties } from "./scratch.ts";
import type { SharedReceiveQueue } from "./shared-receive-queue.ts";

/** What the transport tells the device's driver; the hca room turns it into EQEs and interrupts. */
export interface EventSink {
  completion(eqn: number, cqn: number): void;
  cqError(cqn: number, syndrome: number): void;
  /** `type` is an `EventType` that carries a QPN. */
  qpEvent(type: number, qpn: number): void;
  srqLimit(srqn: number): void;
  srqCatastrophic(srqn: number): void;
}

export class Adapter {
  readonly network: Network;
  readonly dma: AddressSpace;
  readonly icm: Icm;
  readonly regions: RegionTable;
  /** For compiled requests; undefined if there are none. */
  hcaWords: HcaWords | undefined;
  readonly noMemory: Memory;
  readonly events: EventSink;
  readonly counters: Float64Array;
  readonly qps = new NumberTable<QueuePair>();
  readonly cqs = new NumberTable<CompletionQueue>();
  readonly srqs = new NumberTable<SharedReceiveQueue>();
  readonly multicast = new MulticastTable();
  readonly contexts = new ContextStore();
  /** Port 1 first. */
  readonly ports: AdapterPort[] = [];
  /** INIT_HCA: refuse UD sends whose address vector names another port than the QP's. */
  checksAvPort = true;
  /** Called when the adapter gets something to do that had nothing; the engine then gives it turns. */
  onWork: () => void = () => {};
  /** True from then on until `staysBusy` says otherwise. */
  isBusy = false;
  /** Queue pairs with something to do, in the order they will get a turn. */
  #activeHead: QueuePair | undefined;
  #activeTail: QueuePair | undefined;
  /** Queue pairs that wait for a time or for somebody else, and those in an error state that still take posts. */
  readonly waiting: QueuePair[] = [];
  /** Queue pairs that owe their peers packets. */
  readonly replying: QueuePair[] = [];
  /** Queue pairs that have found a lane of the fabric full, in the order in which they tried, and the network's `roomEpoch` then. */
  readonly #heldBack: (QueuePair | undefined)[] = [];
  // Its length would give the memory back, and take it again, each time.
  #heldBackCount = 0;
  #heldBackSince = 0;
  /** Whose turn among `waiting` is next. */
  waitingCursor = 0;

  constructor(fields: { network: Network; dma: AddressSpace; noMemory: Memory; events: EventSink; counters?: Float64Array }) {
    this.network = fields.network;
    this.dma = fields.dma;
    this.noMemory = fields.noMemory;
    this.events = fields.events;
    this.counters = fields.counters ?? newCounters(AdapterCounter);
    this.icm = new Icm(this.dma);
    const { compiled } = fields.network;
    this.hcaWords = compiled?.newHca();
    this.regions = new RegionTable(this.dma, this.icm, this.hcaWords?.memory);
    if (this.hcaWords !== undefined) compiled?.serve(this.hcaWords, this.regions);
  }

  /** Gives back what it has beside itself, after `reset`. */
  destroy(): void {
    if (this.hcaWords === undefined) return;
    this.regions.leaveTlb();
    this.network.compiled?.forgetHca(this.hcaWords);
    this.hcaWords = undefined;
  }

  /** Forgets everything (device reset, CLOSE_HCA). Nothing of the old state touches guest memory afterwards. */
  reset(): void {
    for (const qp of this.qps.values()) qp.detach();
    this.qps.clear();
    this.contexts.clear();
    for (const cq of this.cqs.values()) cq.detach();
    this.cqs.clear();
    this.srqs.clear();
    this.multicast.reset(0, 0);
    this.regions.clear();
    this.icm.clear();
    this.hcaWords?.clear();
    forgetParties();
    this.waiting.length = 0;
    this.replying.length = 0;
    this.#heldBack.length = 0;
    this.#heldBackCount = 0;
    this.#activeHead = undefined;
    this.#activeTail = undefined;
    this.network.connectionsChanged();
  }

  /** Gives a QP a turn, unless it already waits for one. */
  activate(qp: QueuePair): void {
    if (qp.isActive) return;
    qp.isActive = true;
    this.#getBusy();
    qp.nextActive = undefined;
    if (this.#activeTail === undefined) this.#activeHead = qp;
    else this.#activeTail.nextActive = qp;
    this.#activeTail = qp;
  }

  /** Takes the next QP off the list. */
  takeActive(): QueuePair | undefined {
    const qp = this.#activeHead;
    if (qp === undefined) return undefined;
    this.#activeHead = qp.nextActive;
    if (this.#activeHead === undefined) this.#activeTail = undefined;
    qp.nextActive = undefined;
    qp.isActive = false;
    return qp;
  }

  /** Puts a QP among those that are looked at now and then. */
  addWaiting(qp: QueuePair): void {
    if (qp.waitingIndex >= 0) return;
    qp.waitingIndex = this.waiting.length;
    this.waiting.push(qp);
    this.#getBusy();
  }

  removeWaiting(qp: QueuePair): void {
    const index = qp.waitingIndex;
    if (index < 0) return;
    const last = this.waiting.pop()!;
    if (last !== qp) {
      this.waiting[index] = last;
      last.waitingIndex = index;
    }
    qp.waitingIndex = -1;
  }

  /** A QP that has found no room has its next turn when there is some. */
  holdBack(qp: QueuePair): void {
    if (qp.isHeldBack) return;
    qp.isHeldBack = true;
    if (this.#heldBackCount === 0) this.#heldBackSince = this.network.roomEpoch;
    this.#heldBack[this.#heldBackCount++] = qp;
    this.#getBusy();
  }

  /** There may be room again: all that wait try, and who was first is last, so that each is the first in turn. */
  retryHeldBack(): void {
    const count = this.#heldBackCount;
    if (count === 0 || this.#heldBackSince === this.network.roomEpoch) return;
    for (let i = 1; i <= count; i++) {
      const qp = this.#heldBack[i < count ? i : 0]!;
      qp.isHeldBack = false;
      this.activate(qp);
    }
    this.#heldBack.fill(undefined, 0, count);
    this.#heldBackCount = 0;
  }

  removeHeldBack(qp: QueuePair): void {
    if (!qp.isHeldBack) return;
    qp.isHeldBack = false;
    this.#heldBack.splice(this.#heldBack.indexOf(qp), 1);
    this.#heldBackCount--;
  }

  /** Lets a QP send what it owes its peer. */
  addReplying(qp: QueuePair): void {
    this.replying.push(qp);
    this.#getBusy();
  }

  removeReplying(qp: QueuePair): void {
    const index = this.replying.indexOf(qp);
    if (index >= 0) this.replying.splice(index, 1);
  }

  get hasActive(): boolean {
    return this.#activeHead !== undefined;
  }

  /** Whether any QP has something to do or waits; if not, `onWork` is called when that changes. */
  staysBusy(): boolean {
    this.isBusy =
      this.#activeHead !== undefined || this.waiting.length > 0 || this.replying.length > 0 || this.#heldBackCount > 0;
    return this.isBusy;
  }

  #getBusy(): void {
    if (this.isBusy) return;
    this.isBusy = true;
    this.onWork();
  }
}
