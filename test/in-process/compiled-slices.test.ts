// Long messages go slice by slice. Between two of them anything may happen, and then somebody else carries the message out, from its beginning.

import { CompiledBed } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { MTT_BYTES, MTT_PRESENT } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Buffer64, fill, type Guest } from "./pair.ts";

const PAGE = 4096;
const SLICE = 64 * 1024;
const LENGTH = 16 * SLICE;
const { SEND, RDMA_WRITE } = SendOpcode;

/** A message of sixteen slices, some of which have been carried out by the program. */
class HalfDone {
  readonly bed = new CompiledBed();
  readonly near: Guest = this.bed[0];
  readonly far: Guest = this.bed[1];
  readonly qp: DriverQueuePair;
  readonly peer: DriverQueuePair;
  readonly source = new Buffer64(this.near, LENGTH);
  readonly target = new Buffer64(this.far, LENGTH);

  constructor(opcode: number = RDMA_WRITE) {
    [this.qp, this.peer] = this.bed.hotPair(this.near, this.far);
    fill(this.source.bytes, 5);
    this.target.bytes.fill(0);
    if (opcode === SEND) this.peer.postReceive([this.target.sge()]);
    this.qp.postSend({
      opcode,
      sges: [this.source.sge()],
      isSignaled: true,
      ...(opcode === SEND ? {} : this.target.remote()),
    });
    while (this.arrived === 0) this.bed.domain.step();
    assert.ok(this.arrived < LENGTH, "some of it is left");
    assert.deepEqual(this.syndromes, [[], []]);
  }

  /** Slices whose first byte has arrived, in bytes. */
  get arrived(): number {
    let slices = 0;
    while (slices < LENGTH / SLICE && this.target.bytes.readUInt32LE(slices * SLICE) !== 0) slices++;
    return slices * SLICE;
  }

  get syndromes(): number[][] {
    return [this.near, this.far].map((guest) => this.bed.syndromes(guest));
  }

  /** Messages that the program has carried out since, when all is done. */
  finish(): number {
    return this.bed.messagesDuring(() => {});
  }

  assertWhole(): void {
    assert.ok(this.target.bytes.equals(this.source.bytes));
  }
}

for (const opcode of [RDMA_WRITE, SEND]) {
  test(`nothing happens: ${opcode === SEND ? "a send" : "a write"} is the program's to the end`, () => {
    const half = new HalfDone(opcode);
    assert.equal(half.finish(), 1);
    assert.deepEqual(half.syndromes, opcode === SEND ? [[0], [0]] : [[0], []]);
    half.assertWhole();
  });
}

test("somebody wants to be told: the message is begun anew, and completes once", () => {
  const half = new HalfDone();
  half.near.cq.arm(false);
  // What has arrived is moved once more.
  half.target.bytes.fill(0);
  assert.equal(half.finish(), 0);
  assert.deepEqual(half.syndromes, [[0], []]);
  half.assertWhole();
});

test("a page vanishes at either end: the message fails as it does without the program", () => {
  for (const end of ["source", "target"] as const) {
    const half = new HalfDone();
    const [guest, buffer] = end === "source" ? [half.near, half.source] : [half.far, half.target];
    const { view } = guest.device.access.memory;
    const entry = guest.device.icm.mttAt(buffer.region.mttAddress + (LENGTH / PAGE - 3) * MTT_BYTES) + 4;
    view.setUint32(entry, view.getUint32(entry) & ~MTT_PRESENT);
    assert.equal(half.finish(), 0);
    assert.deepEqual(half.syndromes[0], [end === "source" ? Syndrome.LOCAL_PROTECTION : Syndrome.REMOTE_ACCESS]);
    assert.ok(half.target.bytes.subarray(-3 * PAGE).every((byte) => byte === 0));
  }
});

test("the request is made shorter than what has been moved: it is moved from its beginning", () => {
  const half = new HalfDone();
  const { view } = half.near.node.access.memory;
  const segment = half.qp.sendSlotAt(half.qp.sendPosted - 1) + 32;
  assert.equal(view.getUint32(segment), LENGTH);
  view.setUint32(segment, 8);
  half.target.bytes.fill(0);
  assert.equal(half.finish(), 1);
  assert.deepEqual(half.syndromes, [[0], []]);
  assert.ok(half.target.bytes.subarray(0, 8).equals(half.source.bytes.subarray(0, 8)));
  assert.ok(half.target.bytes.subarray(8).every((byte) => byte === 0));
});

test("the region goes: nothing more arrives", () => {
  const half = new HalfDone();
  half.target.region.deregister();
  const before = half.arrived;
  assert.equal(half.finish(), 0);
  assert.deepEqual(half.syndromes[0], [Syndrome.REMOTE_ACCESS]);
  assert.equal(half.arrived, before);
});

test("the next message of the queue pair begins at its own beginning", () => {
  const half = new HalfDone();
  half.near.cq.arm(false);
  assert.equal(half.finish(), 0);
  half.target.bytes.fill(0);
  half.qp.postSend({ opcode: RDMA_WRITE, sges: [half.source.sge()], ...half.target.remote() });
  half.finish();
  assert.deepEqual(half.syndromes, [[0, 0], []]);
  half.assertWhole();
});
