// Messages of one queue pair to another, posted bit by bit while something happens to their way: what must come of them.

import assert from "node:assert/strict";
import type { SimClock } from "../../src/base/clock.ts";
import type { Random } from "../../src/base/random.ts";
import type { InProcessDomain } from "../../src/domain/in-process.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, type End } from "../in-process/pair.ts";
import type { Budget } from "./kit.ts";

const { SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA } = SendOpcode;
export const OPCODES = [SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA];
/** Several turns of the short path. */
export const LONG = 350_000;
const SHORT = 20_000;
export const MESSAGES = 12;
export const QKEY = 0x1234;

export type QueuePairs = [DriverQueuePair, DriverQueuePair];

interface Message {
  opcode: number;
  length: number;
  slot: number;
}

/** Messages of one queue pair to another: what is posted, what has completed, and what must come of it. */
export class Flow {
  readonly messages: Message[];
  readonly sent: { syndrome: number }[] = [];
  readonly received: { syndrome: number; byteCount: number; immediate: number }[] = [];
  readonly from: End;
  readonly to: End;
  readonly qp: DriverQueuePair;
  readonly peer: DriverQueuePair;
  readonly #address: object;
  readonly #isDatagram: boolean;
  /** Bytes for each message in the buffers. */
  readonly #slot: number;
  readonly #source: Buffer64;
  readonly #target: Buffer64;
  readonly #receives: Buffer64;
  readonly #counter: Buffer64;
  readonly #originals: Buffer;
  readonly #initial: Buffer;
  #posted = 0;
  #receivesPosted = 0;

  /** @param address of datagrams; their receiver's own if left out */
  constructor(
    random: Random,
    [from, to]: [End, End],
    [qp, peer]: QueuePairs,
    opcodes: number[],
    longest = SHORT,
    address: object = { address: { dlid: to.wire.lid }, remoteQpn: peer.number },
  ) {
    [this.from, this.to, this.qp, this.peer] = [from, to, qp, peer];
    this.#isDatagram = qp.service === Service.UD;
    this.#slot = (longest + 63) & ~63;
    this.#address = this.#isDatagram ? { ...address, qkey: QKEY } : {};
    this.messages = Array.from({ length: MESSAGES }, (_, slot) => ({
      opcode: random.pick(opcodes),
      length: random.pick([0, 1, random.below(300), random.below(9000) % longest, random.below(longest)]),
      slot,
    }));
    [this.#source, this.#target] = [new Buffer64(from, this.#slot * MESSAGES), new Buffer64(to, this.#slot * MESSAGES)];
    [this.#receives, this.#counter] = [new Buffer64(to, this.#slot * MESSAGES), new Buffer64(to, 8)];
    const seed = random.u32();
    for (const { slot, length } of this.messages) {
      for (let i = 0; i < Math.max(length, 8); i++) {
        this.#source.bytes[slot * this.#slot + i] = seed + slot * 7 + i + (i >> 8);
        this.#target.bytes[slot * this.#slot + i] = seed + slot * 13 + 1 + i * 3;
      }
    }
    this.#originals = Buffer.from(this.#source.bytes);
    this.#initial = Buffer.from(this.#target.bytes);
  }

  get isDone(): boolean {
    return this.sent.length === MESSAGES || this.hasFailed;
  }

  get hasFailed(): boolean {
    return this.sent.some(({ syndrome }) => syndrome !== 0);
  }

  /** Posts the next message, or the next receive; those of services that lose messages all come first. */
  postSome(random: Random): void {
    while (this.#receivesPosted < MESSAGES && (this.qp.service !== Service.RC || random.chance(0.4))) this.#postReceive();
    if (this.#posted < MESSAGES && random.chance(0.5)) this.post(this.messages[this.#posted++]!);
  }

  post({ opcode, length, slot }: Message): void {
    const isAtomic = opcode === ATOMIC_FA;
    this.qp.postSend({
      opcode,
      sges: [this.#source.sge(slot * this.#slot, isAtomic ? 8 : length)],
      immediate: slot,
      ...(isAtomic ? this.#counter.remote() : this.#target.remote(slot * this.#slot)),
      swapAdd: BigInt(slot + 1),
      ...this.#address,
    });
  }

  /** Everything has completed: is it what was sent? */
  check(): void {
    const grh = this.#isDatagram ? 40 : 0;
    const whole = (buffer: Buffer, at: number, length: number, wanted: Buffer, from: number): void =>
      assert.ok(buffer.subarray(at, at + length).equals(wanted.subarray(from, from + length)), "contents");
    let sum = 0n;
    for (const { opcode, length, slot } of this.messages) {
      const at = slot * this.#slot;
      if (opcode === RDMA_WRITE || opcode === RDMA_WRITE_IMM) whole(this.#target.bytes, at, length, this.#originals, at);
      if (opcode === RDMA_READ) whole(this.#source.bytes, at, length, this.#initial, at);
      if (opcode !== ATOMIC_FA) continue;
      assert.equal(this.#source.bytes.readBigUInt64LE(at), sum, "each addition once, in order");
      sum += BigInt(slot + 1);
    }
    assert.equal(this.#counter.bytes.readBigUInt64LE(0), sum);
    const expected = this.messages.filter(({ opcode }) => opcode === SEND_IMM || opcode === RDMA_WRITE_IMM);
    const order = this.received.map(({ immediate }) => immediate);
    // Datagrams may overtake each other; nothing else may.
    if (this.#isDatagram) order.sort((a, b) => a - b);
    assert.deepEqual(
      order,
      expected.map(({ slot }) => slot),
    );
    for (const [taken, { syndrome, byteCount, immediate }] of this.received.entries()) {
      const { opcode, length, slot } = this.messages[immediate]!;
      assert.deepEqual([syndrome, byteCount], [0, length + grh]);
      if (opcode === SEND_IMM) whole(this.#receives.bytes, taken * this.#slot + grh, length, this.#originals, slot * this.#slot);
    }
  }

  /** Some of it may have got lost on the way: nothing came twice or in parts, or was not sent. */
  checkUnreliable(): void {
    const grh = this.#isDatagram ? 40 : 0;
    assert.equal(new Set(this.received.map(({ immediate }) => immediate)).size, this.received.length, "none twice");
    for (const [taken, { syndrome, byteCount, immediate }] of this.received.entries()) {
      const { length, slot } = this.messages[immediate]!;
      assert.deepEqual([syndrome, byteCount], [0, length + grh]);
      const at = taken * this.#slot + grh;
      const from = slot * this.#slot;
      assert.ok(this.#receives.bytes.subarray(at, at + length).equals(this.#originals.subarray(from, from + length)), "contents");
    }
  }

  #postReceive(): void {
    this.peer.postReceive([this.#receives.sge(this.#receivesPosted++ * this.#slot, this.#slot)]);
  }
}

/** Where flows run: their guests, the engine, and the time. */
export interface Bed {
  readonly guests: readonly End[];
  readonly domain: InProcessDomain;
  readonly clock: SimClock;
}

/** Takes completions and hands them to their flows. */
export function collect(bed: Bed, flows: readonly Flow[]): void {
  for (const guest of bed.guests) {
    for (const completion of guest.cq.poll()) {
      const flow = flows.find(({ from, to, qp, peer }) =>
        completion.isSend ? guest === from && qp.number === completion.qpn : guest === to && peer.number === completion.qpn,
      );
      assert.ok(flow !== undefined, "a completion of somebody");
      (completion.isSend ? flow.sent : flow.received).push(completion);
    }
  }
}

export const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 10, minRnrTimer: 3 };

export function run(bed: Bed, flows: readonly Flow[], random: Random, budget: Budget, turn: () => void): void {
  while (!flows.every(({ isDone }) => isDone)) {
    budget.step();
    turn();
    for (const flow of flows) flow.postSome(random);
    for (let i = random.below(4); i >= 0; i--) bed.domain.step();
    bed.clock.advanceNs(random.pick([100, 5000, 200_000]));
    collect(bed, flows);
  }
  for (let i = 0; i < 64; i++) bed.domain.step();
  collect(bed, flows);
}
