// The queues of the reference engine: rings read from guest memory entry by entry, completions written to it. Docs "infinihost"
// 3.5 (records), 5.2 (WQEs), 5.4 (SRQs), 5.6 (CQEs), 5.7 (arming). Numbers are the document's, written out here once more.

import { lengthOf, type Range, type ReferenceMemory } from "./reference-memory.ts";

export const Opcode = { NOP: 0, WRITE: 8, WRITE_IMM: 9, SEND: 0xa, SEND_IMM: 0xb, READ: 0x10, SWAP: 0x11, ADD: 0x12, BIND: 0x18 };
/** QP states as QUERY_QP gives them. */
export const State = { RTR: 2, RTS: 3, SQE: 4, SQD: 5, ERR: 6 };

const ARM_SOLICITED = 1;
const ARM_NEXT = 2;
const CQE_BYTES = 32;
const COUNTS = 2 ** 16;
const WQE_HEAD_BYTES = 16;
const SEGMENT_BYTES = 16;
const UNIT_BYTES = 16;
const END_OF_LIST_KEY = 0x100;

/** A ring of WQEs in the region of its queue, which starts at address 0. */
export interface Ring {
  readonly key: number;
  readonly base: number;
  readonly strideBytes: number;
  readonly slots: number;
  /** Where the doorbell record lies in guest memory. */
  readonly recordAt: number;
}

const wqeRange = (key: number, offset: number, length: number): Range => ({ key, address: BigInt(offset), length });

/** Offset in its region of WQE number `counter`; WQE -1 is the last slot. */
export const slotOf = ({ base, strideBytes, slots }: Ring, counter: number): number =>
  base + (((counter % slots) + slots) % slots) * strideBytes;

/** WQEs posted beyond `done`, as the record says. */
export const postedBeyond = (memory: ReferenceMemory, recordAt: number, done: number): number =>
  (memory.bytes.readUInt16BE(recordAt + 2) + COUNTS - done) % COUNTS;

export const next16 = (counter: number): number => (counter + 1) % COUNTS;

/** A send WQE as it lies in the ring. */
export interface SendWqe {
  readonly offset: number;
  readonly opcode: number;
  readonly isSignaled: boolean;
  readonly isSolicited: boolean;
  readonly immediate: number;
  /** Everything behind the first 16 bytes. */
  readonly segments: Buffer;
}

/** Reads send WQE number `counter`: opcode and size stand in the slot before it (5.2.2). */
export function readSendWqe(memory: ReferenceMemory, ring: Ring, counter: number): SendWqe {
  const link = memory.read(wqeRange(ring.key, slotOf(ring, counter - 1), WQE_HEAD_BYTES));
  const offset = slotOf(ring, counter);
  const bytes = memory.read(wqeRange(ring.key, offset, (link.readUInt32BE(4) % 64) * UNIT_BYTES));
  const control = bytes.readUInt32BE(8);
  return {
    offset,
    opcode: link.readUInt32BE(0) % 32,
    isSignaled: (control & 8) !== 0,
    isSolicited: (control & 2) !== 0,
    immediate: bytes.readUInt32BE(12),
    segments: bytes.subarray(WQE_HEAD_BYTES),
  };
}

const segmentAt = (bytes: Buffer, at: number): Range => ({
  length: bytes.readUInt32BE(at) % 2 ** 31,
  key: bytes.readUInt32BE(at + 4),
  address: bytes.readBigUInt64BE(at + 8),
});

/** Data segments of a send: pointers up to the end of the WQE, or one inline segment. */
export function dataOf(bytes: Buffer): { ranges: Range[]; inline: Buffer | undefined } {
  if (bytes.length >= 4 && bytes.readUInt32BE(0) >= 2 ** 31) {
    return { ranges: [], inline: Buffer.from(bytes.subarray(4, 4 + (bytes.readUInt32BE(0) % 1024))) };
  }
  const ranges: Range[] = [];
  for (let at = 0; at + SEGMENT_BYTES <= bytes.length; at += SEGMENT_BYTES) ranges.push(segmentAt(bytes, at));
  return { ranges, inline: undefined };
}

/** A receive WQE that has been taken. */
export interface Receive {
  readonly offset: number;
  readonly ranges: Range[];
  readonly length: number;
}

/** Data segments of a receive: up to the end marker or the end of the stride (5.2.4). */
function readReceive(memory: ReferenceMemory, key: number, offset: number, strideBytes: number): Receive {
  const bytes = memory.read(wqeRange(key, offset, strideBytes));
  const ranges: Range[] = [];
  for (let at = WQE_HEAD_BYTES; at < strideBytes; at += SEGMENT_BYTES) {
    const range = segmentAt(bytes, at);
    if (range.length === 0 && range.key === END_OF_LIST_KEY) break;
    ranges.push(range);
  }
  return { offset, ranges, length: lengthOf(ranges) };
}

/** Where receives come from. */
export interface ReceiveSource {
  readonly isShared: boolean;
  /** WQEs taken, modulo 2^16. */
  readonly taken: number;
  /** Protection domain that receive buffers belong to. */
  readonly pd: number;
  available(): number;
  /** Takes the next one; there must be one. */
  take(): Receive;
  /** Gives the one taken last back. */
  giveBack(receive: Receive): void;
  /** Stands where `taken` have been taken and the next one of a list lies at `next`. */
  resume(taken: number, next: number): void;
}

/** The receive ring of one QP. */
export class ReceiveRing implements ReceiveSource {
  readonly isShared = false;
  readonly pd: number;
  taken: number;
  readonly #memory: ReferenceMemory;
  readonly #ring: Ring;

  constructor(memory: ReferenceMemory, ring: Ring, pd: number, taken: number) {
    this.#memory = memory;
    this.#ring = ring;
    this.pd = pd;
    this.taken = taken;
  }

  available(): number {
    return postedBeyond(this.#memory, this.#ring.recordAt, this.taken);
  }

  take(): Receive {
    const offset = slotOf(this.#ring, this.taken);
    this.taken = next16(this.taken);
    return readReceive(this.#memory, this.#ring.key, offset, this.#ring.strideBytes);
  }

  giveBack(): void {
    this.taken = (this.taken + COUNTS - 1) % COUNTS;
  }

  resume(taken: number): void {
    this.taken = taken;
  }
}

/** A shared receive queue: WQEs in the order of their links (5.4). */
export class SharedReceives implements ReceiveSource {
  readonly isShared = true;
  readonly pd: number;
  taken: number;
  /** Tells the driver when fewer are left; 0 is off. */
  limit = 0;
  readonly number: number;
  readonly #memory: ReferenceMemory;
  readonly #ring: Ring;
  readonly #onLimit: () => void;
  #next: number;

  constructor(
    memory: ReferenceMemory,
    ring: Ring,
    facts: { number: number; pd: number; taken: number; next: number },
    onLimit: () => void,
  ) {
    this.#memory = memory;
    this.#ring = ring;
    this.number = facts.number;
    this.pd = facts.pd;
    this.taken = facts.taken;
    this.#next = facts.next;
    this.#onLimit = onLimit;
  }

  available(): number {
    return postedBeyond(this.#memory, this.#ring.recordAt, this.taken);
  }

  take(): Receive {
    const offset = this.#next;
    const link = this.#memory.read(wqeRange(this.#ring.key, offset, 4)).readUInt32BE(0);
    this.#next = link - (link % 64);
    this.taken = next16(this.taken);
    const receive = readReceive(this.#memory, this.#ring.key, offset, this.#ring.strideBytes);
    if (this.limit !== 0 && this.available() < this.limit) {
      this.limit = 0;
      this.#onLimit();
    }
    return receive;
  }

  giveBack(receive: Receive): void {
    this.resume((this.taken + COUNTS - 1) % COUNTS, receive.offset);
  }

  resume(taken: number, next: number): void {
    this.taken = taken;
    this.#next = next;
  }
}

export interface CqFacts {
  readonly number: number;
  readonly key: number;
  readonly slots: number;
  readonly armRecordAt: number;
}

/** The fields of a CQE that are not 0. */
export interface CqeFields {
  qpn: number;
  wqe: number;
  opcode: number;
  isSend?: boolean;
  syndrome?: number;
  immediate?: number;
  byteCount?: number;
  remoteQpn?: number;
  /** The dword at +0x0c: SL, GRH, path bits, LID. */
  path?: number;
}

export class ReferenceCq {
  readonly facts: CqFacts;
  /** CQEs written. */
  produced: number;
  /** Completion events raised. */
  events: number;
  #armed = 0;
  /** Index after the last CQE that counts for an arm for solicited ones. */
  #solicited: number;
  readonly #memory: ReferenceMemory;
  #seenArm = "";

  constructor(memory: ReferenceMemory, facts: CqFacts, produced: number, events: number) {
    this.#memory = memory;
    this.facts = facts;
    this.produced = produced;
    this.#solicited = produced;
    this.events = events;
  }

  /** Stands where so many have been written. */
  resume(produced: number): void {
    this.produced = produced;
    this.#solicited = produced;
  }

  /** Looks at the arm record: a request is taken once, and only if software has seen every event so far. */
  lookAtArm(): void {
    const at = this.facts.armRecordAt;
    const record = this.#memory.bytes.subarray(at, at + 8);
    const request = record.readUInt32BE(4);
    if (record.toString("hex") === this.#seenArm || ((request >>> 3) & 3) !== (this.events + 1) % 4) return;
    this.#seenArm = record.toString("hex");
    // A request for any completion is not narrowed by a later one for solicited ones (IBA vol 1, 11.4.2.2).
    if (this.#armed !== ARM_NEXT) this.#armed = request & 7;
    const consumed = record.readUInt32BE(0);
    if (this.#armed === ARM_NEXT && this.produced !== consumed) this.#fire();
    else if (this.#armed === ARM_SOLICITED && this.#solicited > consumed) this.#fire();
  }

  write(fields: CqeFields, isSolicited: boolean): void {
    const cqe = Buffer.alloc(CQE_BYTES);
    cqe.writeUInt32BE(fields.qpn, 0);
    cqe.writeUInt32BE(fields.remoteQpn ?? 0, 8);
    cqe.writeUInt32BE(fields.path ?? 0, 12);
    cqe.writeUInt32BE(fields.immediate ?? 0, 16);
    if (fields.syndrome !== undefined) cqe.writeUInt8(fields.syndrome, 16);
    cqe.writeUInt32BE(fields.byteCount ?? 0, 20);
    cqe.writeUInt32BE(fields.wqe, 24);
    cqe.writeUInt8(fields.opcode, 28);
    cqe.writeUInt8(fields.isSend === true ? 0x80 : 0, 29);
    const slot = this.produced % this.facts.slots;
    this.#memory.write(wqeRange(this.facts.key, slot * CQE_BYTES, CQE_BYTES), cqe);
    this.produced++;
    if (isSolicited) this.#solicited = this.produced;
    if (this.#armed === ARM_NEXT || (this.#armed === ARM_SOLICITED && isSolicited)) this.#fire();
  }

  #fire(): void {
    this.#armed = 0;
    this.events++;
  }
}
