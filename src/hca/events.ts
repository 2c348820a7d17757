// From what happened to EQEs and interrupts: which queue an event goes to, and when the guest is told. Docs "infinihost"
// 5.8 (types), 5.9 (arming), 2.8.11 (MAP_EQ).

import { loadBig32, type Memory } from "../base/bytes.ts";
import { EventType, PortChange } from "../spec/hca/queues.ts";
import { EQ_SET_CI_STRIDE } from "../spec/hca/registers.ts";
import type { EventSink } from "../transport/adapter.ts";
import { AdapterCounter } from "../transport/counters.ts";
import { type EventQueue, Posted } from "./event-queue.ts";
import { MAX_EQS } from "./limits.ts";

/** Event types that MAP_EQ can route: one bit each. */
const EVENT_TYPES = 64;
const NOT_MAPPED = -1;

/** Where interrupts go. */
export interface InterruptSink {
  /** Sends MSI-X message `vector`. */
  msix(vector: number): void;
  /** Level of the INTx line. */
  intx(isAsserted: boolean): void;
}

export class Events implements EventSink {
  readonly queues: (EventQueue | undefined)[] = new Array<EventQueue | undefined>(MAX_EQS).fill(undefined);
  readonly #route = new Int32Array(EVENT_TYPES).fill(NOT_MAPPED);
  readonly #interrupts: InterruptSink;
  readonly #counters: Float64Array;
  /** With mapped registers arming is a store that may be overwritten before it is seen: then every event signals. */
  readonly #alwaysSignals: boolean;
  /** Called when `flush` gets something to do. */
  onDue: () => void = () => {};
  /** An event could not be written: the device must stop (see `Hca.stopForError`). */
  hasFault = false;
  /** Vectors to signal and whether INTx is to rise, gathered until `flush`. */
  #dueVectors = 0;
  #isIntxDue = false;
  #isIntxAsserted = false;

  constructor(interrupts: InterruptSink, counters: Float64Array, alwaysSignals: boolean) {
    this.#interrupts = interrupts;
    this.#counters = counters;
    this.#alwaysSignals = alwaysSignals;
  }

  reset(): void {
    this.queues.fill(undefined);
    this.#route.fill(NOT_MAPPED);
    this.hasFault = false;
    this.#dueVectors = 0;
    this.#isIntxDue = false;
    this.clearIntx();
  }

  /** MAP_EQ: binds or unbinds the event types whose bits are set. */
  map(maskHi: number, maskLo: number, eqn: number, isUnmap: boolean): void {
    for (let type = 0; type < EVENT_TYPES; type++) {
      const word = type < 32 ? maskLo : maskHi;
      if (((word >>> (type & 31)) & 1) === 0) continue;
      if (!isUnmap) this.#route[type] = eqn;
      else if (this.#route[type] === eqn) this.#route[type] = NOT_MAPPED;
    }
  }

  completion(eqn: number, cqn: number): void {
    this.#post(eqn, EventType.COMPLETION << 16, cqn, 0, 0, 0);
  }

  cqError(cqn: number, syndrome: number): void {
    this.#postRouted(EventType.CQ_ERROR, 0, cqn, syndrome);
  }

  qpEvent(type: number, qpn: number): void {
    this.#postRouted(type, 0, qpn, 0);
  }

  srqLimit(srqn: number): void {
    this.#postRouted(EventType.SRQ_LIMIT, 0, srqn, 0);
  }

  srqCatastrophic(srqn: number): void {
    this.#postRouted(EventType.SRQ_CATASTROPHIC, 0, srqn, 0);
  }

  /** The device itself has failed; the driver polls the catastrophic-error buffer too. */
  localCatastrophic(): void {
    this.#postRouted(EventType.LOCAL_CATASTROPHIC, 0, 0, 0);
  }

  portChange(port: number, isActive: boolean): void {
    this.#postRouted(EventType.PORT_CHANGE, isActive ? PortChange.ACTIVE : PortChange.DOWN, 0, port << 28);
  }

  /** Completion of a command in event mode; false if no queue takes it. */
  commandDone(token: number, status: number, outHi: number, outLo: number): boolean {
    const eqn = this.#route[EventType.COMMAND]!;
    this.#post(eqn, EventType.COMMAND << 16, token, 0, status, outHi, outLo);
    return eqn !== NOT_MAPPED;
  }

  /** Reads the consumer indices and arm bits that the driver has stored in the registers (5.9). */
  pollRegisters(registers: Memory, consumerIndicesAt: number, armMask: number): void {
    for (let eqn = 0; eqn < MAX_EQS; eqn++) {
      const queue = this.queues[eqn];
      if (queue === undefined) continue;
      queue.consumer = loadBig32(registers, consumerIndicesAt + eqn * EQ_SET_CI_STRIDE);
      if (queue.pendingEvents > 0) this.#flush(queue);
      if (((armMask >>> eqn) & 1) !== 0) this.#arm(queue);
    }
  }

  /** CLR_INT: the driver's INTx handler has taken note. */
  clearIntx(): void {
    if (this.#isIntxAsserted) this.#interrupts.intx(false);
    this.#isIntxAsserted = false;
  }

  /** Sends the interrupts that have become due since the last call. */
  flush(): void {
    if (this.#isIntxDue && !this.#isIntxAsserted) {
      this.#isIntxAsserted = true;
      this.#counters[AdapterCounter.interrupts]! += 1;
      this.#interrupts.intx(true);
    }
    this.#isIntxDue = false;
    let due = this.#dueVectors;
    this.#dueVectors = 0;
    for (let vector = 0; due !== 0; vector++, due >>>= 1) {
      if ((due & 1) === 0) continue;
      this.#counters[AdapterCounter.interrupts]! += 1;
      this.#interrupts.msix(vector);
    }
  }

  get hasDueInterrupts(): boolean {
    return this.#dueVectors !== 0 || this.#isIntxDue;
  }

  #flush(queue: EventQueue): void {
    const flushed = queue.flushPending();
    if (flushed < 0) this.hasFault = true;
    if (flushed > 0) this.#signal(queue);
  }

  #postRouted(type: number, subType: number, number: number, d3: number): void {
    this.#post(this.#route[type]!, (type << 16) | subType, number, 0, d3, 0);
  }

  #post(eqn: number, d0: number, d1: number, d2: number, d3: number, d4: number, d5 = 0): void {
    const queue = this.queues[eqn];
    this.#counters[AdapterCounter.events]! += 1;
    if (queue === undefined) {
      this.#counters[AdapterCounter.eventsUnrouted]! += 1;
      return;
    }
    const posted = queue.post(d0, d1, d2, d3, d4, d5);
    if (posted === Posted.OK) this.#signal(queue);
    else if (posted === Posted.LOST) this.#counters[AdapterCounter.eqOverflows]! += 1;
    else this.hasFault = true;
  }

  #signal(queue: EventQueue): void {
    if (!queue.isArmed && !(this.#alwaysSignals && queue.usesMsix)) return;
    queue.isArmed = false;
    if (!this.hasDueInterrupts) this.onDue();
    if (queue.usesMsix) this.#dueVectors |= 1 << queue.vector;
    else this.#isIntxDue = true;
  }

  #arm(queue: EventQueue): void {
    queue.isArmed = true;
    if (queue.producer !== queue.consumer) this.#signal(queue);
  }
}
