// What a connected queue pair remembers while it speaks in packets: the messages it has sent and that are not acknowledged, and what
// it owes its peer. Made when first needed: most queue pairs never leave their engine. IBA vol 1, 9.7.

import { SendOpcode } from "../../spec/hca/queues.ts";
import type { PacketLane } from "./ring.ts";

/** Messages under way at a time; a power of two. */
export const MESSAGES_MAX = 64;
/** Words of a message. */
const Word = { OFFSET: 0, COUNTER: 1, PSN: 2, PACKETS: 3, OPCODE: 4, CONTROL: 5, BYTES: 6 } as const;
const WORDS_SHIFT = 3;
/** Reads and atomics of the peer that may wait for their answers, and atomics whose answers are kept (9.7.5.1.5). */
export const RESOURCES_MAX = 16;

/** Which message is arriving. */
export const Arriving = { NOTHING: 0, SEND: 1, WRITE: 2 } as const;

/** Messages sent and not completed, oldest first. `cursor` is the one whose packets go out next; behind the last, there is none. */
export class MessageQueue {
  count = 0;
  cursor = 0;
  readonly #words = new Int32Array(MESSAGES_MAX << WORDS_SHIFT);
  #first = 0;

  get isFull(): boolean {
    return this.count === MESSAGES_MAX;
  }

  /** Appends a message. */
  push(offset: number, counter: number, psn: number, packets: number, opcode: number, control: number, bytes: number): void {
    const at = this.#at(this.count++);
    const words = this.#words;
    words[at + Word.OFFSET] = offset;
    words[at + Word.COUNTER] = counter;
    words[at + Word.PSN] = psn;
    words[at + Word.PACKETS] = packets;
    words[at + Word.OPCODE] = opcode;
    words[at + Word.CONTROL] = control;
    words[at + Word.BYTES] = bytes;
  }

  /** Forgets the oldest. */
  shift(): void {
    this.#first = (this.#first + 1) & (MESSAGES_MAX - 1);
    this.count--;
    if (this.cursor > 0) this.cursor--;
  }

  clear(): void {
    this.count = 0;
    this.cursor = 0;
  }

  /** Where its WQE lies. */
  offset(index: number): number {
    return this.#words[this.#at(index) + Word.OFFSET]!;
  }

  /** Number of its WQE. */
  counter(index: number): number {
    return this.#words[this.#at(index) + Word.COUNTER]!;
  }

  psn(index: number): number {
    return this.#words[this.#at(index) + Word.PSN]!;
  }

  /** PSNs it takes: packets sent, or answered for a read; 0 for one that sends nothing. */
  packets(index: number): number {
    return this.#words[this.#at(index) + Word.PACKETS]!;
  }

  opcode(index: number): number {
    return this.#words[this.#at(index) + Word.OPCODE]!;
  }

  control(index: number): number {
    return this.#words[this.#at(index) + Word.CONTROL]!;
  }

  bytes(index: number): number {
    return this.#words[this.#at(index) + Word.BYTES]!;
  }

  /** True if the message ends with an answer that carries data. */
  isAnswered(index: number): boolean {
    const opcode = this.opcode(index);
    return opcode === SendOpcode.RDMA_READ || opcode === SendOpcode.ATOMIC_CS || opcode === SendOpcode.ATOMIC_FA;
  }

  #at(index: number): number {
    return ((this.#first + index) & (MESSAGES_MAX - 1)) << WORDS_SHIFT;
  }
}

/** Answers owed to the peer, oldest first: reads to send, results of atomics. */
export class AnswerQueue {
  count = 0;
  readonly psn = new Int32Array(RESOURCES_MAX);
  /** Packets of the answer, and how many of them are sent. */
  readonly packets = new Int32Array(RESOURCES_MAX);
  readonly sent = new Int32Array(RESOURCES_MAX);
  readonly isAtomic = new Uint8Array(RESOURCES_MAX);
  /** A read's range, or an atomic's result in the address words. */
  readonly rkey = new Int32Array(RESOURCES_MAX);
  readonly hi = new Int32Array(RESOURCES_MAX);
  readonly lo = new Int32Array(RESOURCES_MAX);
  readonly bytes = new Int32Array(RESOURCES_MAX);
  #first = 0;

  /** Index of the oldest. */
  get first(): number {
    return this.#first;
  }

  /** Index for one more, or -1 if the peer has asked for more than there are resources. */
  push(): number {
    if (this.count === RESOURCES_MAX) return -1;
    const index = (this.#first + this.count++) & (RESOURCES_MAX - 1);
    this.sent[index] = 0;
    return index;
  }

  shift(): void {
    this.#first = (this.#first + 1) & (RESOURCES_MAX - 1);
    this.count--;
  }

  clear(): void {
    this.count = 0;
  }
}

/** Results of the peer's last atomics, in case it did not hear of them (9.7.5.1.5). */
export class AtomicResults {
  readonly #psn = new Int32Array(RESOURCES_MAX).fill(-1);
  readonly #hi = new Int32Array(RESOURCES_MAX);
  readonly #lo = new Int32Array(RESOURCES_MAX);
  #next = 0;

  keep(psn: number, hi: number, lo: number): void {
    this.#psn[this.#next] = psn;
    this.#hi[this.#next] = hi;
    this.#lo[this.#next] = lo;
    this.#next = (this.#next + 1) & (RESOURCES_MAX - 1);
  }

  /** Index of the result for the request with that PSN, or -1. */
  find(psn: number): number {
    return this.#psn.indexOf(psn);
  }

  hi(index: number): number {
    return this.#hi[index]!;
  }

  lo(index: number): number {
    return this.#lo[index]!;
  }
}

export class Connection {
  /** Where packets to the peer leave; looked up again when the network has changed. */
  lane: PacketLane | undefined = undefined;
  networkEpoch = -1;
  wireEpoch = -1;
  /** The short path leads to the peer as well: it is taken again once nothing is under way. */
  isLeaving = false;

  // Requester.
  /** Its messages go out as packets. */
  isRequesting = false;
  readonly messages = new MessageQueue();
  /** Number of the WQE to fetch next. */
  fetched = 0;
  /** The oldest PSN that is not acknowledged, and the first that has never been sent. */
  unackedPsn = 0;
  unsentPsn = 0;
  /** Packets sent of the message at the cursor. */
  sent = 0;
  /** Number of the WQE whose data segments the queue pair's send list holds, or -1. */
  inHand = -1;
  /** Why the last message cannot be sent; it fails when those before it have completed. */
  syndrome = 0;
  /** The receiver was not ready as often as the retry counter allows. */
  isLastTry = false;
  /** Packets that have come in answer to the last message. */
  answered = 0;
  /** The answer's gap has been noticed and the rest asked for again. */
  hasAskedAgain = false;

  // Responder.
  arriving: number = Arriving.NOTHING;
  /** Bytes that have arrived of the message, and the range they go to if it is a write. */
  arrived = 0;
  rkey = 0;
  remoteHi = 0;
  remoteLo = 0;
  length = 0;
  /** A NAK for the expected PSN is on its way: what follows in vain is not answered (9.7.5.2.5). */
  hasNaked = false;
  readonly answers = new AnswerQueue();
  readonly results = new AtomicResults();
  /** An ACK or NAK is owed: AETH syndrome and PSN. */
  owesAck = false;
  ackSyndrome = 0;
  ackPsn = 0;
  /** Is in the adapter's list of those that owe something. */
  isReplying = false;

  /** Messages go out as packets, from WQE number `counter` and PSN `psn` on. */
  startRequesting(counter: number, psn: number): void {
    this.isRequesting = true;
    this.fetched = counter;
    this.unackedPsn = psn;
    this.unsentPsn = psn;
    this.sent = 0;
    this.isLastTry = false;
  }

  /** The requester gives up what it has under way. */
  stopRequesting(): void {
    this.messages.clear();
    this.inHand = -1;
    this.syndrome = 0;
    this.isRequesting = false;
  }
}
