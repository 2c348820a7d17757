// Messages change between the short path and packets at any moment, as captures begin and end: every one still arrives once, in order and
// whole, whatever was under way. IBA vol 1, 9.7, 9.8.2.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { FaultyLink } from "../in-process/faulty-link.ts";
import { Buffer64, connect, datagramQp, type Guest, TestBed } from "../in-process/pair.ts";
import { type Budget, fuzz } from "./kit.ts";

const { SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA } = SendOpcode;
const OPCODES = [SEND_IMM, RDMA_WRITE, RDMA_WRITE_IMM, RDMA_READ, ATOMIC_FA];
/** Several turns of the short path. */
const LONG = 350_000;
const SHORT = 20_000;
const MESSAGES = 12;
const QKEY = 0x1234;

type QueuePairs = [DriverQueuePair, DriverQueuePair];

interface Message {
  opcode: number;
  length: number;
  slot: number;
}

/** Messages of one queue pair to another: what is posted, what has completed, and what must come of it. */
class Flow {
  readonly messages: Message[];
  readonly sent: { syndrome: number }[] = [];
  readonly received: { syndrome: number; byteCount: number; immediate: number }[] = [];
  readonly from: Guest;
  readonly to: Guest;
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

  constructor(random: Random, [from, to]: [Guest, Guest], [qp, peer]: QueuePairs, opcodes: number[], longest = SHORT) {
    [this.from, this.to, this.qp, this.peer] = [from, to, qp, peer];
    this.#isDatagram = qp.service === Service.UD;
    this.#slot = (longest + 63) & ~63;
    this.#address = this.#isDatagram ? { address: { dlid: to.wire.lid }, remoteQpn: peer.number, qkey: QKEY } : {};
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

  #postReceive(): void {
    this.peer.postReceive([this.#receives.sge(this.#receivesPosted++ * this.#slot, this.#slot)]);
  }
}

/** Takes completions and hands them to their flows. */
function collect(bed: TestBed, flows: readonly Flow[]): void {
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

const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 10, minRnrTimer: 3 };

function run(bed: TestBed, flows: readonly Flow[], random: Random, budget: Budget, turn: () => void): void {
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

const packetsSent = (bed: TestBed): number =>
  bed.guests.reduce((sum, { node }) => sum + node.hca.adapter.counters[AdapterCounter.packetsSent]!, 0);

/** Nobody looks any more: the next messages take the short path. */
function checkReturn(bed: TestBed, flows: readonly Flow[]): void {
  const before = packetsSent(bed);
  const done = flows.map(({ sent }) => sent.length);
  for (const flow of flows) flow.post({ opcode: flow.qp.service === Service.UD ? SEND_IMM : RDMA_WRITE, length: 700, slot: 0 });
  for (let i = 0; i < 64; i++) bed.domain.step();
  collect(bed, flows);
  assert.deepEqual(
    flows.map(({ sent }) => sent.length),
    done.map((count) => count + 1),
  );
  assert.equal(packetsSent(bed), before, "the short path again");
  for (const { from, qp } of flows) assert.notEqual(from.node.hca.adapter.qps.find(qp.number)?.connection?.isRequesting, true);
}

fuzz(
  "packets/switching",
  (random, budget) => {
    const bed = new TestBed(3, { memoryBytes: 24 << 20, packets: false });
    const [a, b, c] = bed.guests as [Guest, Guest, Guest];
    const [ab, ba] = connect(a, b, Service.RC, { ...RC, mtuCode: 1 + random.below(4) });
    const [bc, cb] = connect(b, c, Service.RC, RC);
    const unreliable = connect(a, c, Service.UC);
    const datagrams: QueuePairs = [datagramQp(a, QKEY), datagramQp(b, QKEY)];
    const flows = [
      new Flow(random, [a, b], [ab, ba], OPCODES, LONG),
      new Flow(random, [b, a], [ba, ab], OPCODES),
      new Flow(random, [c, b], [cb, bc], OPCODES),
      new Flow(random, [a, c], unreliable, [SEND_IMM, RDMA_WRITE]),
      new Flow(random, [a, b], datagrams, [SEND_IMM], 2000),
    ];
    const { network } = bed.domain;
    const rate = random.pick([0.02, 0.1, 0.5]);
    let seen = 0;
    run(bed, flows, random, budget, () => {
      for (const { node } of bed.guests) {
        const port = node.hca.adapter.ports[0]!;
        if (!random.chance(rate)) continue;
        if (port.tap === undefined) network.tap(port, { keep: () => seen++ });
        else network.untap(port);
      }
    });
    for (const flow of flows) {
      assert.equal(flow.hasFailed, false, "nothing fails");
      flow.check();
    }
    for (const { node } of bed.guests) network.untap(node.hca.adapter.ports[0]!);
    assert.equal(network.usesLoopback, false);
    checkReturn(bed, flows);
    budget.note(`${Math.ceil(Math.log2(seen + 1))}`);
  },
  { steps: 20_000 },
);

fuzz(
  "packets/switching-loss",
  (random, budget) => {
    const bed = new TestBed(2, { memoryBytes: 16 << 20, packets: false });
    const link = new FaultyLink(bed, random, { loss: random.below(60) / 1000, duplicate: 0.1, reorder: 0.1 });
    const [ab, ba] = connect(bed[0], bed[1], Service.RC, { ...RC, ackTimeout: 8 });
    const flows = [new Flow(random, [bed[0], bed[1]], [ab, ba], OPCODES), new Flow(random, [bed[1], bed[0]], [ba, ab], OPCODES)];
    const { network } = bed.domain;
    run(bed, flows, random, budget, () => {
      link.step();
      if (!random.chance(0.1)) return;
      network.setPath(network.path === "packets" ? "auto" : "packets");
    });
    const failed = flows.find(({ hasFailed }) => hasFailed);
    if (failed !== undefined) {
      // The other direction is flushed, if that was not the first.
      const syndromes = flows.flatMap(({ sent }) => sent.map(({ syndrome }) => syndrome));
      assert.ok(syndromes.includes(Syndrome.TRANSPORT_RETRY), String(syndromes));
    } else for (const flow of flows) flow.check();
    budget.note(`${failed !== undefined} ${link.counts.lost > 0}`);
  },
  { steps: 20_000 },
);
