// Work requests of every opcode and service through the rings a driver writes, in bursts, to receivers with their own queue or a
// shared one. Right ones must lead to what the model (wqe-model.ts) says: completions, data, states. Ones with bytes changed may do
// anything that is legal: one completion at most for each, a syndrome of the specification, no byte outside what was registered.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { Completion } from "../../src/driver/completion-queue.ts";
import type { Region } from "../../src/driver/memory-region.ts";
import type { SendRequest } from "../../src/driver/queue-pair.ts";
import { CqeErrorOpcode, SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend, number32, number64, randomBytes } from "./values.ts";
import { type Expected, type Request, WqeModel } from "./wqe-model.ts";
import { assertUntouched, copyOf, lastPages, postOnLyingRing } from "./wqe-rings.ts";
import {
  PAIR_KINDS,
  type Pair,
  type Piece,
  QKEY,
  REGION_BYTES,
  REGION_KINDS,
  type Side,
  stateOf,
  WqeWorld,
} from "./wqe-world.ts";

const ROUNDS = 25;
const OPCODES = Object.values(SendOpcode);
/** WQEs of a burst and receives posted for it, at most. */
const BURST = 5;
const RECEIVES = 6;
const INLINE_BYTES_MAX = 60;
/** What one sweep may do: a turn of 128 KiB for each HCA and what overshoots it. */
const WORK_MAX = 2 * (2 * 65536 + 65536 + 4096);
const SYNDROMES: readonly number[] = Object.values(Syndrome);
/** Syndromes that no requester or responder of this HCA has a reason for. */
const NEVER: readonly number[] = [Syndrome.LOCAL_EEC_OPERATION, Syndrome.BAD_RESPONSE];
const REMOTE: readonly number[] = [
  Syndrome.REMOTE_ACCESS,
  Syndrome.REMOTE_INVALID_REQUEST,
  Syndrome.REMOTE_OPERATION,
  Syndrome.TRANSPORT_RETRY,
  Syndrome.RNR_RETRY,
];
const CONTROL_AT = 8;
const SIGNALED = 8;

function piece(random: Random): Piece {
  const region = random.chance(0.75) ? "all" : random.pick(REGION_KINDS);
  const length = random.chance(0.1) ? random.below(REGION_BYTES + 1) : random.pick([0, 1, 8, 63, 64, 65, random.below(300)]);
  const kind = random.below(40);
  if (kind === 0) return { region, offset: REGION_BYTES - length + 1 + random.below(3), length };
  if (kind === 1) return { region, offset: -1 - random.below(3), length };
  if (kind < 6) return { region, offset: REGION_BYTES - length, length };
  return { region, offset: random.below(REGION_BYTES - length + 1), length };
}

const pieces = (random: Random): Piece[] => Array.from({ length: random.below(4) }, () => piece(random));

function request(random: Random, pair: Pair, lids: readonly number[]): Request {
  const opcode = random.chance(0.97) ? random.pick(OPCODES) : random.below(32);
  const isAtomic = opcode === SendOpcode.ATOMIC_CS || opcode === SendOpcode.ATOMIC_FA;
  const remote = piece(random);
  if (isAtomic && random.chance(0.9)) remote.offset &= ~7;
  const isNop = opcode === SendOpcode.NOP;
  const local = isNop ? [] : isAtomic && random.chance(0.9) ? [{ ...piece(random), length: 8 }] : pieces(random);
  return {
    opcode,
    pieces: local.map((one) => ({ ...one, offset: Math.min(one.offset, REGION_BYTES + 3 - one.length) })),
    inline: random.chance(0.2) ? randomBytes(random, random.below(INLINE_BYTES_MAX + 1)) : undefined,
    remote,
    immediate: random.u32(),
    isSignaled: random.chance(0.7),
    swapAdd: number64(random),
    compare: number64(random),
    dlid: random.chance(0.9) ? (lids[1] ?? 0) : random.pick([...lids, 77]),
    remoteQpn: random.chance(0.9) ? pair.receiver.number : random.pick([pair.sender.number, 0, number32(random, 24)]),
    qkey: random.chance(0.8) ? QKEY : random.pick([0, 0x80001234, random.u32()]),
  };
}

/** The same for the driver. */
function forDriver(pair: Pair, near: Side, far: Side, one: Request): SendRequest {
  const base = { opcode: one.opcode, isSignaled: one.isSignaled, immediate: one.immediate };
  const data = one.inline === undefined ? { sges: one.pieces.map((p) => near.sge(p)) } : { inline: one.inline };
  if (pair.service === Service.UD) {
    return { ...base, ...data, address: { dlid: one.dlid }, remoteQpn: one.remoteQpn, qkey: one.qkey };
  }
  if (one.opcode === SendOpcode.SEND || one.opcode === SendOpcode.SEND_IMM) return { ...base, ...data };
  const { address, lkey } = far.sge(one.remote);
  return { ...base, ...data, remoteAddress: address, rkey: lkey, swapAdd: one.swapAdd, compare: one.compare };
}

class Run {
  readonly random: Random;
  readonly budget: Budget;
  readonly world: WqeWorld;
  #pair: Pair;
  #model: WqeModel;
  #ring: Region | undefined;

  constructor(random: Random, budget: Budget) {
    this.random = random;
    this.budget = budget;
    this.world = new WqeWorld(random.seed);
    this.#pair = this.world.newPair(random.pick(PAIR_KINDS));
    this.#model = new WqeModel(this.world, this.#pair);
  }

  #renew(): void {
    this.world.destroy(this.#pair);
    this.#pair = this.world.newPair(this.random.pick(PAIR_KINDS));
    this.#model = new WqeModel(this.world, this.#pair);
  }

  #settle(): void {
    const { domain } = this.world.bed;
    for (let work = 1; work !== 0; ) {
      work = domain.step();
      this.budget.step();
      assert.ok(work >= 0 && work <= WORK_MAX, `one sweep did ${work} of work`);
    }
    this.world.settle();
  }

  #postReceive(posted: readonly Piece[]): number {
    const { receiver, srq } = this.#pair;
    const sges = posted.map((p) => this.world.far.sge(p));
    return srq === undefined ? receiver.postReceive(sges) : srq.postReceive(sges);
  }

  // ---- requests the model knows -----------------------------------------------------------------------------------------

  burst(): void {
    const { random, world } = this;
    const model = this.#model;
    const { sender, receiver, service } = this.#pair;
    for (let n = random.below(RECEIVES - model.receives.length + 1); n > 0; n--) {
      const posted = pieces(random);
      if (service === Service.UD && random.chance(0.8)) posted.unshift({ region: "all", offset: random.below(4000), length: 40 });
      this.budget.trace("receive", posted);
      model.receives.push({ wqe: this.#postReceive(posted), pieces: posted });
    }
    const lids = world.bed.wires.map(({ lid }) => lid);
    for (let n = 1 + random.below(BURST); n > 0; n--) {
      const one = request(random, this.#pair, lids);
      const driverRequest = forDriver(this.#pair, world.near, world.far, one);
      // The queue flushes what is posted behind a failure, so nothing is posted once it has been seen to fail.
      this.budget.trace(this.#pair.kind, one);
      model.send(one, sender.postSend(driverRequest));
      this.budget.note(`${this.#pair.kind} ${one.opcode} ${model.sent.at(-1)?.syndrome} ${model.received.at(-1)?.syndrome}`);
    }
    model.end();
    this.#settle();
    this.#compare(world.near, model.sent, sender.number, true);
    this.#compare(world.far, model.received, receiver.number, false);
    world.near.check();
    world.far.check();
    assert.deepEqual([stateOf(sender), stateOf(receiver)], [model.nearState, model.farState], "states after the burst");
    model.sent = [];
    model.received = [];
    this.#goOn();
  }

  /** A queue of UC or UD that stopped starts again with the same receiver; after other errors there is a new pair. */
  #goOn(): void {
    const model = this.#model;
    if (model.nearState === QpState.SQE && model.farState === QpState.RTS) {
      this.world.restart(this.#pair.sender);
      model.nearState = QpState.RTS;
    }
    if (model.nearState !== QpState.RTS || model.farState !== QpState.RTS || this.random.chance(0.2)) this.#renew();
  }

  #compare(side: Side, expected: readonly Expected[], qpn: number, isSend: boolean): void {
    const found = side.guest.cq.poll();
    this.#recycle(found);
    assert.deepEqual(
      found.map(({ syndrome, wqe }) => ({ syndrome, wqe })),
      expected.map(({ syndrome, wqe }) => ({ syndrome, wqe })),
      `${this.#pair.kind}: completions of the ${isSend ? "sender" : "receiver"}`,
    );
    for (const [i, completion] of found.entries()) {
      assert.deepEqual([completion.qpn, completion.isSend], [qpn, isSend]);
      const { wqe: _wqe, syndrome, ...rest } = expected[i]!;
      if (syndrome !== 0) continue;
      for (const [name, value] of Object.entries(rest)) assert.equal(completion[name as keyof Completion], value, name);
    }
  }

  #recycle(completions: readonly Completion[]): void {
    const { srq } = this.#pair;
    for (const { isSend, wqe } of completions) if (!isSend && srq !== undefined) srq.recycle(wqe);
  }

  // ---- requests with bytes changed ----------------------------------------------------------------------------------------

  /** One WQE, its link and its receiver's WQE bent before the doorbell: whatever comes of it is legal and stays in bounds. */
  bent(): void {
    const { random, world } = this;
    const { sender, receiver, service } = this.#pair;
    const { memory } = world.near.guest.node.access;
    const one = request(random, this.#pair, [1, 2]);
    this.#postReceive([{ region: "all", offset: 0, length: 4096 }]);
    const offset = sender.writeSend(forDriver(this.#pair, world.near, world.far, one));
    const at = sender.sendSlotAt(sender.sendPosted - 1);
    const before = sender.sendSlotAt(sender.sendPosted - 2);
    bend(random, memory.bytes.subarray(at + 8, at + (1 << sender.logSqStride)), 64);
    if (random.chance(0.3)) bend(random, memory.bytes.subarray(before, before + 8), 8);
    const isSignaled = (memory.view.getUint32(at + CONTROL_AT) & SIGNALED) !== 0;
    const ring = Buffer.from(memory.bytes.subarray(sender.region.block.at, sender.region.block.at + sender.region.block.bytes));
    sender.publishSends();
    this.#settle();
    const rings = memory.bytes.subarray(sender.region.block.at, sender.region.block.at + sender.region.block.bytes);
    assert.ok(rings.equals(ring), "the device wrote into a ring");
    const sent = world.near.guest.cq.poll();
    this.#checkLegal(sent, sender.number, service);
    this.#checkLegal(world.far.guest.cq.poll(), receiver.number, service);
    const [nearState] = [stateOf(sender), stateOf(receiver)];
    const isFailed = nearState === QpState.ERR || nearState === QpState.SQE;
    assert.equal(sent.length, isFailed || isSignaled ? 1 : 0, `completions of one WQE, state ${nearState}`);
    if (sent[0] !== undefined) assert.equal(sent[0].wqe, offset);
    assert.equal(
      sent.some(({ syndrome }) => syndrome !== 0),
      isFailed,
      "a failed request stops its queue",
    );
    this.#acceptBent();
    this.#renew();
  }

  /** Remote writes may have gone to any region that allows them, reads to local ones; all else is as it was. */
  #acceptBent(): void {
    const { near, far } = this.world;
    near.accept(["all", "local", "noAtomic", "holey"]);
    far.accept(["all", "local", "noAtomic", "holey"]);
    near.check();
    far.check();
  }

  #checkLegal(completions: readonly Completion[], qpn: number, service: number): void {
    for (const { syndrome, opcode, isSend, qpn: of, byteCount } of completions) {
      assert.equal(of, qpn);
      assert.ok(byteCount <= 0x7fffffff);
      if (syndrome === 0) {
        if (isSend) assert.ok((OPCODES as readonly number[]).includes(opcode), `opcode ${opcode} completed`);
        continue;
      }
      assert.equal(opcode, isSend ? CqeErrorOpcode.SEND : CqeErrorOpcode.RECEIVE);
      assert.ok(SYNDROMES.includes(syndrome) && !NEVER.includes(syndrome), `syndrome ${syndrome}`);
      // Only RC hears of what happens at the other end.
      assert.ok(service === Service.RC || !REMOTE.includes(syndrome), `syndrome ${syndrome} of service ${service}`);
    }
  }

  // ---- rings that are not where they should be ------------------------------------------------------------------------------

  lie(): void {
    const { world, random } = this;
    const { guest } = world.near;
    this.#ring ??= lastPages(guest);
    const qp = postOnLyingRing(random, world, this.#ring);
    const before = copyOf(guest, this.#ring);
    this.#settle();
    const completions = guest.cq.poll();
    this.#checkLegal(completions, qp.number, qp.service);
    for (const { syndrome } of completions) this.budget.note(`${qp.service} ${syndrome} ${stateOf(qp)}`);
    qp.destroy();
    assertUntouched(guest, this.#ring, before);
    world.near.accept(["all"]);
    world.near.check();
    world.far.check();
  }

  act(): void {
    if (this.random.chance(0.75)) this.burst();
    else this.bent();
  }
}

fuzz(
  "wqe/requests",
  (random, budget) => {
    const run = new Run(random, budget);
    for (let i = 0; i < ROUNDS; i++) run.act();
  },
  { share: 0.75 },
);

fuzz(
  "wqe/rings",
  (random, budget) => {
    const run = new Run(random, budget);
    for (let i = 0; i < ROUNDS; i++) run.lie();
  },
  { share: 0.25 },
);
