// RC over a network that loses, doubles, reorders and delays: every message arrives exactly once, in order and whole, or its request fails
// with "retries exceeded". UC loses whole messages and nothing else. IBA vol 1, 9.7, 9.8.2.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { FaultyLink } from "../in-process/faulty-link.ts";
import { Buffer64, connect, TestBed } from "../in-process/pair.ts";
import { type Budget, fuzz } from "./kit.ts";

const { SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA } = SendOpcode;
const OPCODES = [SEND, SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA];
const MESSAGE_MAX = 9000;
const SLOT = 9216;
const SLOTS = 32;
const MESSAGES = 30;
const STEP_NS = 200_000;

class World {
  readonly bed = new TestBed(2, { memoryBytes: 8 << 20 });
  readonly link: FaultyLink;
  readonly source: Buffer64;
  readonly target: Buffer64;
  readonly receives: Buffer64;
  readonly counter: Buffer64;
  readonly random: Random;
  readonly budget: Budget;

  constructor(random: Random, budget: Budget, faults = { loss: random.below(200) / 1000, duplicate: 0.05, reorder: 0.1 }) {
    this.random = random;
    this.budget = budget;
    this.link = new FaultyLink(this.bed, random, faults);
    this.source = new Buffer64(this.bed[0], SLOT * SLOTS);
    this.target = new Buffer64(this.bed[1], SLOT * SLOTS);
    this.receives = new Buffer64(this.bed[1], SLOT * SLOTS);
    this.counter = new Buffer64(this.bed[1], 8);
    for (let i = 0; i < this.source.bytes.length; i++) this.source.bytes[i] = random.below(256);
  }

  /** Lets the world go on until `isDone`, or as long as anything can still happen. */
  run(isDone: () => boolean): void {
    while (!isDone()) {
      this.budget.step();
      for (let i = 0; i < 8; i++) {
        const work = this.bed.domain.step();
        if (this.link.step() + work === 0) break;
      }
      this.bed.clock.advanceNs(STEP_NS);
    }
  }
}

interface Message {
  opcode: number;
  length: number;
  slot: number;
  immediate: number;
}

const takesReceive = ({ opcode }: Message): boolean => opcode === SEND || opcode === SEND_IMM || opcode === RDMA_WRITE_IMM;

function post(world: World, qp: DriverQueuePair, message: Message): void {
  const { opcode, length, slot, immediate } = message;
  const at = slot * SLOT;
  const isAtomic = opcode === ATOMIC_FA;
  qp.postSend({
    opcode,
    sges: [world.source.sge(at, isAtomic ? 8 : length)],
    immediate,
    ...(isAtomic ? world.counter.remote() : world.target.remote(at)),
    swapAdd: BigInt(slot + 1),
  });
}

fuzz(
  "packets/loss",
  (random, budget) => {
    const world = new World(random, budget);
    const { bed } = world;
    const psn = random.pick([0, 0xfffff0, random.below(1 << 24)]);
    const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, {
      ...{ retryCount: 7, rnrRetry: 7, ackTimeout: 8, minRnrTimer: 5, mtuCode: 1 + random.below(4) },
      ...{ sendPsn: psn, receivePsn: psn },
    });
    const messages = Array.from({ length: MESSAGES }, (_, slot): Message => {
      const length = random.pick([0, 1, 8, random.below(300), random.below(MESSAGE_MAX)]);
      return { opcode: random.pick(OPCODES), length, slot, immediate: random.u32() >>> 0 };
    });
    // Reads bring what lies in their slots, and change their source; the rest leaves it alone.
    const originals = Buffer.from(world.source.bytes);
    world.target.bytes.set(Buffer.from(originals).reverse());
    const initial = Buffer.from(world.target.bytes);
    const wanted = messages.filter(takesReceive).length;
    const late = random.below(wanted + 1);
    for (let i = 0; i < wanted - late; i++) qpB.postReceive([world.receives.sge(i * SLOT, SLOT)]);
    for (const message of messages) post(world, qpA, message);
    const sent: { syndrome: number }[] = [];
    const received: { syndrome: number; byteCount: number; immediate: number; opcode: number }[] = [];
    let rounds = 0;
    world.run(() => {
      if (++rounds === 5) for (let i = wanted - late; i < wanted; i++) qpB.postReceive([world.receives.sge(i * SLOT, SLOT)]);
      sent.push(...bed[0].cq.poll());
      received.push(...bed[1].cq.poll());
      return sent.length === MESSAGES;
    });
    received.push(...bed[1].cq.poll());
    const failed = sent.findIndex(({ syndrome }) => syndrome !== 0);
    const good = failed < 0 ? MESSAGES : failed;
    if (failed >= 0) assert.equal(sent[failed]!.syndrome, Syndrome.TRANSPORT_RETRY);
    for (const { syndrome } of sent.slice(good + 1)) assert.equal(syndrome, Syndrome.WR_FLUSHED);
    check(world, messages.slice(0, good), received, originals, initial, failed >= 0);
    budget.note(`${failed < 0 ? "all" : "failed"} ${world.link.counts.lost > 0} ${world.link.counts.doubled > 0}`);
    for (const each of messages) budget.note(`${each.opcode} ${Math.ceil(each.length / 256)}`);
  },
  { steps: 20_000 },
);

/** What must have happened once `messages` completed well; if another one failed, it may have arrived as well. */
function check(
  world: World,
  messages: readonly Message[],
  received: readonly { syndrome: number; byteCount: number; immediate: number }[],
  originals: Buffer,
  initial: Buffer,
  hasFailed: boolean,
): void {
  let sum = 0n;
  let taken = 0;
  for (const message of messages) {
    const { opcode, length, slot, immediate } = message;
    const at = slot * SLOT;
    const written = world.target.bytes.subarray(at, at + length);
    if (opcode === RDMA_WRITE || opcode === RDMA_WRITE_IMM)
      assert.ok(written.equals(originals.subarray(at, at + length)), "write");
    if (opcode === RDMA_READ) {
      assert.ok(world.source.bytes.subarray(at, at + length).equals(initial.subarray(at, at + length)), "read");
    }
    if (opcode === ATOMIC_FA) {
      assert.equal(world.source.bytes.readBigUInt64LE(at), sum, "fetch & add gave the value before it, once");
      sum += BigInt(slot + 1);
    }
    if (!takesReceive(message)) continue;
    const completion = received[taken];
    assert.ok(completion !== undefined && completion.syndrome === 0, "a receive for each message");
    if (opcode !== SEND) assert.equal(completion.immediate >>> 0, immediate);
    assert.equal(completion.byteCount, length);
    const landed = world.receives.bytes.subarray(taken * SLOT, taken * SLOT + length);
    if (opcode !== RDMA_WRITE_IMM) assert.ok(landed.equals(originals.subarray(at, at + length)), "send");
    taken++;
  }
  if (hasFailed) return;
  assert.equal(world.counter.bytes.readBigUInt64LE(0), sum, "every addition once");
  assert.equal(received.length, taken, "no receive completes twice");
}

fuzz("packets/unreliable", (random, budget) => {
  const world = new World(random, budget);
  const { bed, link } = world;
  const [qpA, qpB] = connect(bed[0], bed[1], Service.UC, { mtuCode: 1 });
  for (let i = 0; i < SLOTS; i++) qpB.postReceive([world.receives.sge(i * SLOT, SLOT)]);
  const lengths = Array.from({ length: MESSAGES }, () => random.below(3000));
  for (const [slot, length] of lengths.entries()) {
    qpA.postSend({ opcode: SEND_IMM, immediate: slot, sges: [world.source.sge(slot * SLOT, length)] });
  }
  let rounds = 0;
  world.run(() => ++rounds > 60);
  assert.deepEqual(
    bed[0].cq.poll().map(({ syndrome }) => syndrome),
    lengths.map(() => 0),
  );
  const received = bed[1].cq.poll();
  for (const [index, { syndrome, immediate, byteCount, ...rest }] of received.entries()) {
    assert.deepEqual([syndrome, byteCount], [0, lengths[immediate]], JSON.stringify(rest));
    const landed = world.receives.bytes.subarray(index * SLOT, index * SLOT + byteCount);
    const sent = world.source.bytes.subarray(immediate * SLOT, immediate * SLOT + byteCount);
    assert.ok(landed.equals(sent), `message ${immediate}`);
  }
  if (link.counts.lost === 0 && link.counts.held === 0) assert.ok(received.length >= MESSAGES);
  budget.note(`${received.length}`);
});
