// Who waits for whom: a small message beside another guest's long one. docs/limits.md, "Fairness".

import assert from "node:assert/strict";
import { test } from "node:test";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Buffer64, connect, TestBed, usesPackets } from "./pair.ts";

const SLICE = 64 * 1024;
const LONG = 64 * SLICE;
const SMALL = 8;
const POSTS = 16;

/** One sweep of the engine, as the device domain makes it. */
function sweep({ clock, domain: { nodes, engine } }: TestBed): void {
  for (const { hca } of nodes) hca.poll(clock.nowNs());
  engine.step(clock.nowNs());
}

test("a small write is the first in the sweep that finds it; a long one of another guest then moves by one slice", {
  skip: usesPackets,
}, () => {
  const bed = new TestBed(3);
  const [a, b, c] = bed.guests;
  assert.ok(a && b && c);
  const source = new Buffer64(a, LONG);
  const target = new Buffer64(b, LONG);
  const seen = new Buffer64(c, SMALL);
  source.bytes.fill(1);
  target.bytes.fill(0);
  const [long] = connect(a, b);
  const [small] = connect(b, c);
  long.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  sweep(bed);
  const start = target.bytes.indexOf(0);
  assert.equal(start, 2 * SLICE, "alone, a turn is two slices");
  for (let i = 0; i < POSTS; i++) {
    seen.bytes.fill(2);
    // It takes along what the long one has not reached yet.
    const next = start + i * SLICE;
    small.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [target.sge(next, SMALL)], ...seen.remote() });
    sweep(bed);
    assert.deepEqual(seen.bytes, Buffer.alloc(SMALL), `small write ${i}`);
    assert.equal(target.bytes.indexOf(0), next + SLICE, `small write ${i}`);
  }
  bed.domain.settle();
  assert.ok(target.bytes.equals(source.bytes));
});

test("queue pairs of one HCA move by a slice in turn", { skip: usesPackets }, () => {
  const bed = new TestBed(2);
  const [a, b] = bed.guests;
  assert.ok(a && b);
  const source = new Buffer64(a, LONG);
  source.bytes.fill(1);
  const targets = [new Buffer64(b, LONG), new Buffer64(b, LONG)];
  const qps = targets.map(() => connect(a, b)[0]);
  for (const [i, target] of targets.entries()) {
    target.bytes.fill(0);
    qps[i]?.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  }
  for (let slices = 1; slices < LONG / SLICE; slices++) {
    sweep(bed);
    const moved = targets.map(({ bytes }) => bytes.indexOf(0));
    assert.deepEqual(moved, [slices * SLICE, slices * SLICE], `sweep ${slices}`);
  }
  bed.domain.settle();
  assert.ok(targets.every(({ bytes }) => bytes.equals(source.bytes)));
});
