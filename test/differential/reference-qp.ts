// Queue pairs and HCAs of the reference engine: their state, what they tell their driver, and the only places where they complete
// anything. IBA vol 1, 10.3 (states), 10.2.9 (SRQs), 9.9 (errors); docs "infinihost" 4.1, 5.5, 5.6, 5.8.

import type { ReferenceMemory } from "./reference-memory.ts";
import {
  next16,
  postedBeyond,
  type Receive,
  type ReceiveSource,
  type ReferenceCq,
  type Ring,
  type SendWqe,
  SharedReceives,
  State,
  slotOf,
} from "./reference-queues.ts";

export type Service = "RC" | "UC" | "UD";

/** Syndromes of error completions (5.6). */
export const Syndrome = {
  LENGTH: 0x01,
  OPERATION: 0x02,
  PROTECTION: 0x04,
  FLUSHED: 0x05,
  BIND: 0x06,
  LOCAL_ACCESS: 0x11,
  REMOTE_INVALID: 0x12,
  REMOTE_ACCESS: 0x13,
  REMOTE_OPERATION: 0x14,
  RETRY: 0x15,
  RNR_RETRY: 0x16,
};
/** Types of asynchronous events (5.8). */
export const Event = {
  ESTABLISHED: 0x02,
  DRAINED: 0x03,
  INVALID_REQUEST: 0x10,
  ACCESS_VIOLATION: 0x11,
  LAST_WQE: 0x13,
  SRQ_LIMIT: 0x14,
};
const SEND_ERROR = 0xff;
const RECEIVE_ERROR = 0xfe;

/** Why a request cannot be carried out now. */
export type Blocked = "not ready" | "no answer";

export interface ConnectionFacts {
  readonly lid: number;
  readonly qpn: number;
  readonly mtu: number;
  readonly messageMax: number;
  readonly rnrRetry: number;
  readonly mayRead: boolean;
  readonly allowsRead: boolean;
  readonly allowsWrite: boolean;
  readonly allowsAtomic: boolean;
}

export class ReferenceQp {
  readonly hca: ReferenceHca;
  readonly number: number;
  readonly service: Service;
  readonly pd: number;
  readonly sendRing: Ring;
  readonly sendCq: ReferenceCq;
  readonly receiveCq: ReferenceCq;
  readonly receives: ReceiveSource;
  readonly signalsAll: boolean;
  readonly connection: ConnectionFacts | undefined;
  readonly qkey: number;
  state: number;
  /** Send WQEs retired, modulo 2^16. */
  sent: number;
  /** Next PSN to send and next one expected. */
  psn: number;
  expectedPsn: number;
  messages = 0;
  /** A receive WQE whose message broke off at its source. */
  inHand: Receive | undefined;
  /** Why the WQE at the head does not get on. */
  waitsFor: Blocked | undefined;
  #isEstablished = false;
  #hasToldLastWqe = false;

  constructor(hca: ReferenceHca, facts: Omit<QpFacts, "hca">) {
    this.hca = hca;
    this.number = facts.number;
    this.service = facts.service;
    this.pd = facts.pd;
    this.sendRing = facts.sendRing;
    this.sendCq = facts.sendCq;
    this.receiveCq = facts.receiveCq;
    this.receives = facts.receives;
    this.signalsAll = facts.signalsAll;
    this.connection = facts.connection;
    this.qkey = facts.qkey;
    this.state = facts.state;
    this.sent = facts.sent;
    this.psn = facts.psn;
    this.expectedPsn = facts.expectedPsn;
    this.messages = facts.messages;
  }

  get posted(): number {
    return postedBeyond(this.hca.memory, this.sendRing.recordAt, this.sent);
  }

  get isConnected(): boolean {
    return this.service !== "UD";
  }

  get accepts(): boolean {
    return [State.RTR, State.RTS, State.SQE, State.SQD].includes(this.state);
  }

  /** A packet has come in RTR: the driver hears of it once (11.6.3.1). */
  noteArrival(): void {
    if (this.state !== State.RTR || this.#isEstablished) return;
    this.#isEstablished = true;
    this.hca.tell(Event.ESTABLISHED, this.number);
  }

  enterError(): void {
    if (this.state === State.ERR) return;
    this.state = State.ERR;
    if (!this.receives.isShared || this.#hasToldLastWqe) return;
    this.#hasToldLastWqe = true;
    this.hca.tell(Event.LAST_WQE, this.number);
  }

  /** To ERR, and the driver is told why: nothing else tells it at this end (10.10.2.3). */
  failWith(event: number): void {
    if (this.state === State.ERR) return;
    this.enterError();
    this.hca.tell(event, this.number);
  }

  /** The driver has the send queue drained, while it is idle (10.3.1.5). */
  drain(): void {
    this.state = State.SQD;
    this.hca.tell(Event.DRAINED, this.number);
  }

  // ---- completions ------------------------------------------------------------------------------------------------------

  completeSend({ offset, opcode, isSignaled }: SendWqe, byteCount = 0): void {
    if (isSignaled || this.signalsAll) {
      this.sendCq.write({ qpn: this.number, wqe: offset, opcode, isSend: true, byteCount }, false);
    }
    this.sent = next16(this.sent);
  }

  /** An error completes every WQE, signaled or not (5.5.1). */
  completeSendError(syndrome: number): void {
    const wqe = slotOf(this.sendRing, this.sent);
    this.sendCq.write({ qpn: this.number, wqe, opcode: SEND_ERROR, syndrome }, true);
    this.sent = next16(this.sent);
  }

  completeReceiveError({ offset }: Receive, syndrome: number): void {
    this.inHand = undefined;
    this.receiveCq.write({ qpn: this.number, wqe: offset, opcode: RECEIVE_ERROR, syndrome }, true);
  }

  /** The WQE a new message goes to: the one a broken message has left, or the next. */
  takeReceive(): Receive | undefined {
    if (this.inHand === undefined && this.receives.available() > 0) this.inHand = this.receives.take();
    return this.inHand;
  }

  /** What a dropped message did not use: an SRQ does not take it back (choice), its WQE completes in error. */
  refuseReceive(receive: Receive): void {
    if (this.receives.isShared) this.completeReceiveError(receive, Syndrome.LENGTH);
    else this.giveBack(receive);
  }

  giveBack(receive: Receive): void {
    this.inHand = undefined;
    this.receives.giveBack(receive);
  }
}

export interface QpFacts {
  readonly hca: ReferenceHca;
  readonly number: number;
  readonly service: Service;
  readonly pd: number;
  readonly sendRing: Ring;
  readonly sendCq: ReferenceCq;
  readonly receiveCq: ReferenceCq;
  readonly receives: ReceiveSource;
  readonly signalsAll: boolean;
  readonly connection: ConnectionFacts | undefined;
  readonly qkey: number;
  readonly state: number;
  readonly sent: number;
  readonly psn: number;
  readonly expectedPsn: number;
  readonly messages: number;
}

export class ReferenceHca {
  readonly memory: ReferenceMemory;
  readonly lid: number;
  readonly gid: Buffer;
  readonly cqs: ReferenceCq[] = [];
  readonly qps = new Map<number, ReferenceQp>();
  /** Asynchronous events: type and number. */
  events: string[] = [];
  /** Bytes that may hold anything: failed messages and the space of a GRH that is not there. */
  unspecified: Int32Array[] = [];

  constructor(memory: ReferenceMemory, lid: number, gid: Buffer) {
    this.memory = memory;
    this.lid = lid;
    this.gid = gid;
  }

  tell(type: number, number: number): void {
    this.events.push(`${type} ${number}`);
  }

  newSrq(ring: Ring, facts: { number: number; pd: number; taken: number; next: number }): SharedReceives {
    return new SharedReceives(this.memory, ring, facts, () => this.tell(Event.SRQ_LIMIT, facts.number));
  }
}
