// Both sides at random: a driver that posts, connects and commands, and guest memory, doorbell pages and registers that change
// under the device, in two hostile guests; beside them two honest ones. After every step: nothing throws, no sweep does more
// than its share, what the honest guests move arrives whole, and what nobody may touch is untouched. At the end the hostile
// devices come back by a reset.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { Device } from "../../src/driver/device.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { BAR0_BYTES, Bar0, UarDoorbell } from "../../src/spec/hca/registers.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, datagramQp, fill, type Guest, TestBed } from "../in-process/pair.ts";
import { fuzz } from "./kit.ts";

const MEMORY_BYTES = 8 << 20;
const ACTIONS = 400;
const PAIR_KINDS = 5;
const FLOOD = 30;
const HONEST_EVERY = 8;
const HONEST_STEPS_MAX = 5_000;
/** What one sweep may do: two slices for each of four HCAs, and the slice that overshoots. */
const WORK_MAX = 4 * (2 * 65536 + 65536 + 4096);
const GO = 1 << 23;
const EVENT = 1 << 22;
const SEND_OPCODES = Object.values(SendOpcode);
const DEVICE_OPTIONS = { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 };

/** Opcodes in the order a driver would hardly choose; those that end everything come rarely. */
const FINAL: readonly number[] = [Command.CLOSE_HCA, Command.INIT_HCA, Command.UNMAP_ICM];
const OPCODES = Object.values(Command).filter((opcode) => !FINAL.includes(opcode));

class World {
  readonly random: Random;
  readonly bed = new TestBed(4, { memoryBytes: MEMORY_BYTES });
  readonly #qps: { guest: Guest; qp: DriverQueuePair; buffer: Buffer64; peerBuffer: Buffer64 }[] = [];
  #buffers!: [Buffer64, Buffer64];
  #srqs: DriverSharedReceiveQueue[] = [];
  readonly #honest: [DriverQueuePair, DriverQueuePair];
  readonly #source: Buffer64;
  readonly #target: Buffer64;
  readonly #canaries: Buffer64[];
  #rounds = 0;

  constructor(random: Random) {
    this.random = random;
    const [a, b, c, d] = this.bed.guests as [Guest, Guest, Guest, Guest];
    this.#prepareHostile(a, b);
    this.#honest = connect(c, d);
    this.#source = new Buffer64(c, 8192);
    this.#target = new Buffer64(d, 8192);
    this.#canaries = [c, d].map((guest) => new Buffer64(guest, 4096));
    for (const canary of this.#canaries) fill(canary.bytes, 99);
    for (const guest of [a, b]) {
      // A guest whose memory is garbage does not run its handlers; its commands poll GO.
      for (let vector = 0; vector < 3; vector++) guest.node.access.onInterrupt(vector, () => {});
      guest.device.commands.useEvents(false);
    }
  }

  #prepareHostile(a: Guest, b: Guest): void {
    this.#buffers = [new Buffer64(a, 70_000), new Buffer64(b, 70_000)];
    this.#srqs = [a, b].map(({ device, pd }) => new DriverSharedReceiveQueue(device, { pd, wqes: 63, sges: 2 }));
    for (let kind = 0; kind < PAIR_KINDS; kind++) this.#connectHostile(kind);
  }

  /** Queue pairs fail soon under such treatment; new ones keep the device busy. */
  #connectHostile(kind: number): void {
    const [a, b] = this.bed.guests as [Guest, Guest];
    const [srqA, srqB] = this.#srqs;
    if (kind === 0) this.#add(a, b, connect(a, b, Service.RC));
    else if (kind === 1) this.#add(a, b, connect(a, b, Service.UC));
    else if (kind === 2) this.#add(a, a, connect(a, a));
    else if (kind === 3) this.#add(a, b, [datagramQp(a), datagramQp(b)]);
    else if (srqA && srqB) this.#add(a, b, connect(a, b, Service.RC, {}, { srq: srqA }, { srq: srqB }));
  }

  #add(a: Guest, b: Guest, [qpA, qpB]: readonly [DriverQueuePair, DriverQueuePair]): void {
    const [bufferA, bufferB] = this.#buffers;
    this.#qps.push({ guest: a, qp: qpA, buffer: bufferA, peerBuffer: a === b ? bufferA : bufferB });
    this.#qps.push({ guest: b, qp: qpB, buffer: a === b ? bufferA : bufferB, peerBuffer: bufferA });
  }

  /** One random action and the checks after it. */
  act(): void {
    const { random, bed } = this;
    const guest = bed.guests[random.below(2)]!;
    const kind = random.below(100);
    if (kind < 35) asGuest(() => this.#post());
    else if (kind < 65) this.#corrupt(guest);
    else if (kind < 78) this.#ring(guest);
    else if (kind < 93) this.#command(guest);
    else if (kind < 95) this.#touchRegister(guest);
    else if (kind < 97) asGuest(() => this.#connectHostile(random.below(PAIR_KINDS)));
    else if (kind < 98) asGuest(() => this.#flood());
    else bed.clock.advanceNs(random.below(20_000_000));
    for (let i = random.below(4); i >= 0; i--) this.step();
    if (++this.#rounds % HONEST_EVERY === 0) this.#honestRound();
  }

  step(): void {
    const work = this.bed.domain.step();
    assert.ok(Number.isInteger(work) && work >= 0 && work <= WORK_MAX, `one sweep did ${work} of work`);
  }

  /** The hostile devices answer a reset as if nothing had happened. */
  end(): void {
    for (const guest of this.bed.guests.slice(0, 2)) {
      guest.node.access.writeRegister(Bar0.RESET, 1);
      this.step();
      const { qps, cqs, srqs, regions, icm } = guest.node.hca.adapter;
      assert.deepEqual([qps.count, cqs.count, srqs.count, regions.count, icm.mappedPages], [0, 0, 0, 0, 0]);
      guest.node.access.memory.bytes.fill(0);
      new Device(guest.node.access, DEVICE_OPTIONS);
    }
    this.#honestRound();
    for (const { node } of this.bed.guests) {
      assert.ok(node.hca.adapter.counters.every((count) => Number.isSafeInteger(count) && count >= 0));
    }
  }

  #post(): void {
    const { random } = this;
    const { qp, guest, buffer, peerBuffer } = this.#qps[random.below(this.#qps.length)]!;
    const length = random.below(random.chance(0.2) ? buffer.bytes.length : 300);
    const offset = random.below(buffer.bytes.length - length + 1);
    if (random.chance(0.1)) this.#srqs[random.below(2)]?.postReceive([buffer.sge(offset, length)]);
    else if (random.chance(0.4)) qp.postReceive([buffer.sge(offset, length)]);
    else {
      qp.postSend({
        opcode: SEND_OPCODES[random.below(SEND_OPCODES.length)] ?? 0,
        sges: [buffer.sge(offset, length)],
        ...peerBuffer.remote(random.below(8) * 8),
        swapAdd: 1n,
        compare: 0n,
        address: { dlid: random.below(6) },
        remoteQpn: random.chance(0.5) ? this.#anyQpn() : random.u32() & 0xffffff,
        qkey: 0x1234,
        isFenced: random.chance(0.2),
        isSolicited: random.chance(0.2),
      });
    }
    if (random.chance(0.5)) guest.cq.poll(16);
  }

  /** More large messages at once than a sweep may carry. */
  #flood(): void {
    const { qp, buffer, peerBuffer } = this.#qps[this.random.below(this.#qps.length)]!;
    const request = { opcode: SendOpcode.RDMA_WRITE, sges: [buffer.sge(0, 65536)], ...peerBuffer.remote() };
    for (let i = 0; i < FLOOD; i++) qp.postSend(request);
  }

  /** Changes a word of the guest's memory: mostly where rings, records, page tables and mailboxes are. */
  #corrupt(guest: Guest): void {
    const { random } = this;
    const { bytes, view } = guest.node.access.memory;
    const used = MEMORY_BYTES - guest.device.heap.freePages * 4096;
    for (let n = random.below(6); n >= 0; n--) {
      const at = random.below(used / 4) * 4;
      const choice = random.below(6);
      if (choice === 0) view.setUint32(at, random.u32());
      else if (choice === 1) view.setUint32(at, random.below(64));
      else if (choice === 2) view.setUint32(at, 0xffffffff);
      else if (choice === 3) bytes[at + random.below(4)]! ^= 1 << random.below(8);
      else if (choice === 4) view.setUint32(at, this.#anyQpn());
      else bytes.copyWithin(at, random.below(used - 64), Math.min(at + 64, used));
    }
  }

  #ring(guest: Guest): void {
    const { random } = this;
    const page = random.chance(0.8) ? guest.device.uar : random.below(2048);
    const offsets = [UarDoorbell.SEND, UarDoorbell.CQ, random.below(510) * 8];
    const number = random.chance(0.7) ? this.#anyQpn() : random.u32() & 0xffffff;
    const isSend = random.chance(0.5);
    const hi = isSend ? random.u32() : ((random.below(8) << 24) | random.below(300)) >>> 0;
    guest.node.access.writeDoorbell(page, offsets[random.below(3)] ?? 0, hi, isSend ? (number << 8) >>> 0 : random.u32());
  }

  /** A command with a mailbox somewhere in memory, often the one of the last good command with a few words changed. */
  #command(guest: Guest): void {
    const { random } = this;
    const { access } = guest.node;
    const opcode = random.chance(0.02) ? FINAL[random.below(FINAL.length)]! : OPCODES[random.below(OPCODES.length)]!;
    const mailbox = random.chance(0.8) ? 0 : random.below(MEMORY_BYTES / 4096) * 4096;
    for (let n = random.below(4); n > 0; n--) access.memory.view.setUint32(mailbox + random.below(80) * 4, random.u32());
    const address = random.chance(0.95) ? access.dmaBase + mailbox : random.u32();
    const modifiers = [this.#anyQpn(), random.below(256), random.below(4), random.u32()];
    const modifier = modifiers[random.below(modifiers.length)]!;
    const words = [random.chance(0.98) ? 0 : random.u32(), address, modifier, 0, access.dmaBase + 4096, random.u32()];
    for (const [i, word] of words.entries()) access.writeRegister(Bar0.HCR + 4 * i, word >>> 0);
    const last = GO | (random.chance(0.2) ? EVENT : 0) | (random.below(random.chance(0.8) ? 2 : 16) << 12) | opcode;
    access.writeRegister(Bar0.HCR + 24, last >>> 0);
  }

  #touchRegister(guest: Guest): void {
    const { random } = this;
    const near = random.chance(0.7) ? Bar0.MAPPED + random.below(Bar0.MAPPED_BYTES / 4) * 4 : random.below(BAR0_BYTES / 4) * 4;
    const { access } = guest.node;
    access.readRegister(near);
    if (near !== Bar0.RESET || random.chance(0.1))
      access.writeRegister(near, random.chance(0.5) ? random.below(8) : random.u32());
  }

  #anyQpn(): number {
    return this.#qps[this.random.below(this.#qps.length)]!.qp.number;
  }

  /** The honest guests write, send and read; everything arrives, and their other memory is as it was. */
  #honestRound(): void {
    const [qp, peer] = this.#honest;
    const [, , near, far] = this.bed.guests as [Guest, Guest, Guest, Guest];
    const seed = this.#rounds;
    const length = 1 + this.random.below(8192);
    const source = this.#source;
    const target = this.#target;
    fill(source.bytes, seed);
    target.bytes.fill(0);
    peer.postReceive([target.sge(0, 0)]);
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], ...target.remote() });
    qp.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of() });
    let done = 0;
    for (let i = 0; i < HONEST_STEPS_MAX && done < 2; i++) {
      this.step();
      for (const { syndrome } of near.cq.poll()) {
        assert.equal(syndrome, 0, "an honest request failed");
        done++;
      }
    }
    assert.equal(done, 2, "honest requests are not carried out");
    assert.deepEqual(
      far.cq.poll().map(({ syndrome }) => syndrome),
      [0],
    );
    assert.ok(target.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)), "honest data arrived wrong");
    assert.ok(target.bytes.subarray(length).every((byte) => byte === 0));
    const expected = Buffer.alloc(4096);
    fill(expected, 99);
    for (const canary of this.#canaries) assert.ok(canary.bytes.equals(expected), "memory that nobody may touch has changed");
  }
}

/** What the hostile guest's own code does to itself is its business. */
function asGuest(action: () => void): void {
  try {
    action();
  } catch {
    // a full ring, or a ring index it has overwritten itself
  }
}

// Two hostile guests, two honest ones.
fuzz("two-sided", (random) => {
  const world = new World(random);
  for (let i = 0; i < ACTIONS; i++) world.act();
  world.end();
});
