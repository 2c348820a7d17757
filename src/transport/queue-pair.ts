// A queue pair: its decoded context, its two rings, and the state of the message in hand. Docs "infinihost" 4.1, 5.2, 5.5;
// IBA vol 1, 10.3 (states), 9.9 (errors). Behaviour lives in requester.ts, responder.ts, datagram.ts and special.ts.

import { Access, PathMigration } from "../spec/hca/contexts.ts";
import { EventType, Syndrome, WQE_NEXT_BYTES, WQE_UNIT_BYTES } from "../spec/hca/queues.ts";
import { QpState, Service } from "../spec/ib/numbers.ts";
import type { Adapter } from "./adapter.ts";
import type { CompletionQueue } from "./completion-queue.ts";
import { AdapterCounter } from "./counters.ts";
import type { DoorbellRecord } from "./doorbell-record.ts";
import { QueueBuffer } from "./memory.ts";
import type { Connection } from "./packets/connection.ts";
import type { QueuePairWords } from "./plain/words.ts";
import type { AdapterPort } from "./port.ts";
import { QueuePairAttributes } from "./queue-pair-attributes.ts";
import { ScatterList } from "./scatter-list.ts";
import type { SharedReceiveQueue } from "./shared-receive-queue.ts";

/** What is fixed when the QP leaves RESET. */
export interface QueuePairSetup {
  number: number;
  service: number;
  uar: number;
  pd: number;
  signalAll: boolean;
  wqeLkey: number;
  wqeBaseHi: number;
  sqBase: number;
  logSqSize: number;
  logSqStride: number;
  sqRecord: DoorbellRecord;
  rqBase: number;
  logRqSize: number;
  logRqStride: number;
  rqRecord: DoorbellRecord;
  srq: SharedReceiveQueue | undefined;
  sendCq: CompletionQueue;
  receiveCq: CompletionQueue;
}

/** Stands for a list that has not been needed yet. */
const NO_LIST = new ScatterList(0);

/** Reasons a requester waits. */
export const Waiting = { NO: 0, RNR: 1, NO_ANSWER: 2, ACK: 3 } as const;

export class QueuePair {
  readonly number: number;
  readonly adapter: Adapter;
  readonly setup: QueuePairSetup;
  readonly service: number;
  readonly pd: number;
  /** As the driver's transitions have filled it in; the live values are in the fields below. */
  readonly context: DataView;
  /** Where in `context` it starts. */
  readonly contextAt: number;
  readonly #contextPlace: number;
  readonly attributes = new QueuePairAttributes();
  /** `PathMigration`. */
  migration: number = PathMigration.MIGRATED;
  /** The other end asked to migrate to a path that is not the alternate one, and the driver has been told. */
  hasRefusedMigration = false;
  /** `QpState`. */
  state: number = QpState.INIT;
  port: AdapterPort;

  // Scheduling; owned by the adapter, and by the compiled requests.
  words: QueuePairWords | undefined = undefined;
  isHot = false;
  coldSpins = 0;
  isActive = false;
  nextActive: QueuePair | undefined = undefined;
  waitingIndex = -1;

  // Send queue: WQEs fetched and posted, modulo 2^16.
  sqHead = 0;
  sqPosted = 0;
  // The WQE in hand.
  isTransferring = false;
  wqeOpcode = 0;
  wqeControl = 0;
  wqeImmediate = 0;
  wqeOffset = 0;
  remoteHi = 0;
  remoteLo = 0;
  rkey = 0;
  atomicSwapHi = 0;
  atomicSwapLo = 0;
  atomicCompareHi = 0;
  atomicCompareLo = 0;
  wqeBytes = 0;
  done = 0;
  /** The data segments of the send WQE in hand; made when first needed, since most of a guest's thousands of QPs are idle. */
  sendList: ScatterList = NO_LIST;
  syndrome = 0;
  nextPsn = 0;
  // Waiting for the other side.
  waitsFor: number = Waiting.NO;
  deadlineNs = 0;
  retriesLeft = 0;
  rnrRetriesLeft = 0;
  /** SQ_DRAINED wanted when the queue has drained. */
  wantsDrainedEvent = false;

  // Receive queue.
  rqHead = 0;
  expectedPsn = 0;
  messageCount = 0;
  isReceiving = false;
  /** Whose message is arriving (connected services). */
  sender: QueuePair | undefined = undefined;
  receiveOffset = 0;
  /** The data segments of the receive WQE in hand, made when first needed. */
  receiveList: ScatterList = NO_LIST;
  #hasSentCommEstablished = false;
  #hasReportedLastWqe = false;

  // The other end of the connection, looked up again when the network has changed.
  peer: QueuePair | undefined = undefined;
  peerNetworkEpoch = -1;
  peerWireEpoch = -1;
  /** The peer is reached by packets only, as the last look has found. */
  needsPackets = false;
  /** Waits for room in a lane of the fabric. */
  isHeldBack = false;
  /** What is known of packets to and from the peer, made when there are any. */
  connection: Connection | undefined = undefined;

  readonly wqes: QueueBuffer;

  constructor(adapter: Adapter, port: AdapterPort, setup: QueuePairSetup) {
    this.adapter = adapter;
    this.port = port;
    this.setup = setup;
    this.number = setup.number;
    this.service = setup.service;
    this.pd = setup.pd;
    const none = adapter.noMemory;
    this.wqes = new QueueBuffer(adapter.regions, none, setup.wqeLkey, setup.pd, Access.LOCAL_READ, setup.wqeBaseHi);
    this.#contextPlace = adapter.contexts.allocate();
    this.context = adapter.contexts.view(this.#contextPlace);
    this.contextAt = adapter.contexts.at(this.#contextPlace);
    setup.sendCq.userCount++;
    setup.receiveCq.userCount++;
    if (setup.srq !== undefined) setup.srq.userCount++;
  }

  /** Takes the QP out of everything that points to it (RESET, destroy). */
  detach(): void {
    this.state = QpState.RST;
    this.adapter.removeWaiting(this);
    this.adapter.removeHeldBack(this);
    if (this.connection?.isReplying === true) this.adapter.removeReplying(this);
    this.adapter.contexts.release(this.#contextPlace);
    this.setup.sendCq.userCount--;
    this.setup.receiveCq.userCount--;
    if (this.setup.srq !== undefined) this.setup.srq.userCount--;
    this.adapter.network.compiled?.forgetQp(this);
    if (this.words !== undefined) this.adapter.hcaWords?.giveQueue(this.words.at);
    this.words = undefined;
    this.peer = undefined;
    this.sender = undefined;
    this.adapter.network.connectionsChanged();
  }

  /** True if packets for this QP are accepted (IBA vol 1, 10.3.1: RTR, RTS, SQD, SQE). */
  get canReceive(): boolean {
    return this.state >= QpState.RTR && this.state !== QpState.ERR;
  }

  /** Reads the send record; true if there are WQEs to fetch. A count that cannot be is the driver's mistake. */
  refreshPosted(): boolean {
    const posted = this.setup.sqRecord.counter(this.sqPosted);
    if (posted === this.sqPosted) return this.#nextToFetch !== posted;
    if (((posted - this.sqHead) & 0xffff) > 1 << this.setup.logSqSize) {
      this.adapter.counters[AdapterCounter.badIndices]! += 1;
      this.sqPosted = this.sqHead;
      this.fail(EventType.WQ_CATASTROPHIC);
      return false;
    }
    this.sqPosted = posted;
    return this.#nextToFetch !== posted;
  }

  /** First PSN of the oldest message that has not completed: what the peer expects next, or what its answer is on the way for. */
  get oldestPsn(): number {
    return this.connection?.isRequesting === true ? this.connection.unackedPsn : this.nextPsn;
  }

  /** Number of the next send WQE to fetch; by packets, several may be under way before the first completes. */
  get #nextToFetch(): number {
    return this.connection?.isRequesting === true ? this.connection.fetched : this.sqHead;
  }

  /** Makes the list that the next send WQE is decoded into. */
  prepareSendList(): void {
    if (this.sendList === NO_LIST) this.sendList = new ScatterList((1 << this.setup.logSqStride) / WQE_UNIT_BYTES);
  }

  /** MR offset of send WQE number `counter`. */
  sendOffset(counter: number): number {
    const { sqBase, logSqSize, logSqStride } = this.setup;
    return sqBase + ((counter & ((1 << logSqSize) - 1)) << logSqStride);
  }

  /**
   * Takes a receive WQE, decodes its segments into `receiveList` and sets `receiveOffset`.
   * @returns -1 if none is posted, else 0 or a syndrome of the WQE
   */
  takeReceive(): number {
    const { srq } = this.setup;
    if (this.receiveList === NO_LIST) {
      const logStride = srq === undefined ? this.setup.logRqStride : srq.logStride;
      this.receiveList = new ScatterList((1 << logStride) / WQE_UNIT_BYTES);
    }
    if (srq !== undefined) {
      const status = srq.take(this.receiveList);
      this.receiveOffset = srq.takenOffset;
      if (status >= 0) this.isReceiving = true;
      return status;
    }
    if (!this.hasReceive()) return -1;
    const { rqBase, logRqSize, logRqStride } = this.setup;
    const stride = 1 << logRqStride;
    this.receiveOffset = rqBase + ((this.rqHead & ((1 << logRqSize) - 1)) << logRqStride);
    this.rqHead = (this.rqHead + 1) & 0xffff;
    this.isReceiving = true;
    if (!this.wqes.locate(this.receiveOffset, stride)) return Syndrome.LOCAL_QP_OPERATION;
    return this.receiveList.decodeReceive(this.wqes.memory, this.wqes.at + WQE_NEXT_BYTES, this.wqes.at + stride);
  }

  /** Gives an untouched receive WQE back: the message was dropped (UC, UD without SRQ). */
  returnReceive(): void {
    if (this.setup.srq !== undefined) return;
    this.rqHead = (this.rqHead - 1) & 0xffff;
    this.isReceiving = false;
  }

  /** The same where the message could not be read at its source: an SRQ, too, has its WQE back, since it was taken just now. */
  giveBackReceive(): void {
    this.setup.srq?.giveBack();
    if (this.setup.srq !== undefined) this.isReceiving = false;
    else this.returnReceive();
  }

  /** True if a receive WQE is posted. The count comes from guest memory: more than the ring holds is the driver's mistake. */
  hasReceive(): boolean {
    const { srq, rqRecord, logRqSize } = this.setup;
    if (srq !== undefined) return !srq.isBroken && srq.available > 0;
    const available = (rqRecord.counter(this.rqHead) - this.rqHead) & 0xffff;
    if (available <= 1 << logRqSize) return available > 0;
    this.adapter.counters[AdapterCounter.badIndices]! += 1;
    this.fail(EventType.WQ_CATASTROPHIC);
    return false;
  }

  /** The first message in RTR tells the driver that the connection works (IBA vol 1, 11.6.3.1). */
  noteMessage(): void {
    if (this.state !== QpState.RTR || this.#hasSentCommEstablished) return;
    this.#hasSentCommEstablished = true;
    this.adapter.events.qpEvent(EventType.COMM_ESTABLISHED, this.number);
  }

  /** To the error state with an affiliated asynchronous event. */
  fail(eventType: number): void {
    if (this.state === QpState.ERR || this.state === QpState.RST) return;
    this.enterError();
    this.adapter.events.qpEvent(eventType, this.number);
  }

  /** To the error state: both queues flush from now on, also what is posted later (P-9). */
  enterError(): void {
    if (this.state === QpState.ERR) return;
    this.state = QpState.ERR;
    this.stopWaiting();
    this.connection?.stopRequesting();
    this.adapter.network.connectionsChanged();
    this.adapter.activate(this);
    this.adapter.addWaiting(this);
    if (this.setup.srq !== undefined && !this.#hasReportedLastWqe) {
      this.#hasReportedLastWqe = true;
      this.adapter.events.qpEvent(EventType.SRQ_LAST_WQE, this.number);
    }
  }

  /** A UC or UD send failed: the send queue stops and flushes, receiving goes on. */
  enterSendQueueError(): void {
    if (this.state !== QpState.RTS && this.state !== QpState.SQD && this.state !== QpState.SQ_DRAINING) return;
    this.state = QpState.SQE;
    this.stopWaiting();
    this.connection?.stopRequesting();
    this.adapter.activate(this);
  }

  cqFailed(): void {
    this.enterError();
  }

  srqFailed(): void {
    this.fail(EventType.WQ_CATASTROPHIC);
  }

  stopWaiting(): void {
    this.waitsFor = Waiting.NO;
    if (this.state !== QpState.ERR) this.adapter.removeWaiting(this);
  }

  get isDatagram(): boolean {
    return this.service === Service.UD || this.service === Service.MLX;
  }
}
