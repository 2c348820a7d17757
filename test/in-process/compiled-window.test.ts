// Where in the window guests lie must not matter: above 2 GiB, where addresses are negative as int32, or outside, where there is no room left.

import { assertPosted, CompiledBed, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { newMemory, OUTSIDE } from "../../src/base/bytes.ts";
import type { Window } from "../../src/base/window.ts";
import { workshop } from "../../src/domain/in-process.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { HcaWords } from "../../src/transport/plain/hca-words.ts";
import { Buffer64, connect, fill, type Guest } from "./pair.ts";

const PAGE = 4096;
const TWO_GIB = 2 ** 31;

const windowOf = ({ node }: Guest): Window => {
  const { hcaWords } = node.hca.adapter;
  assert.ok(hcaWords);
  return hcaWords.window;
};

/** Every kind of message, on a hot connection. */
function exchange(bed: CompiledBed, a: Guest, b: Guest): void {
  const [qp, peer] = bed.hotPair(a, b);
  const [source, target] = [new Buffer64(a, 4 * PAGE), new Buffer64(b, 4 * PAGE)];
  fill(source.bytes, 6);
  for (const length of [1, 64, 65, PAGE, PAGE + 1, 4 * PAGE]) {
    target.bytes.fill(0);
    const sges = [source.sge(0, length)];
    assertPosted(bed, [a, b], qp, { opcode: SendOpcode.RDMA_WRITE, sges, ...target.remote() });
    assert.ok(target.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    target.bytes.fill(0);
    peer.postReceive([target.sge()]);
    assertPosted(bed, [a, b], qp, { opcode: SendOpcode.SEND, sges }, { far: [0] });
    assert.ok(target.bytes.subarray(0, length).equals(source.bytes.subarray(0, length)));
    assert.ok(target.bytes.subarray(length).every((byte) => byte === 0));
  }
}

test("below 2 GiB, above, and from one to the other", () => {
  const low = new CompiledBed();
  const window = windowOf(low[0]);
  const at = window.take(TWO_GIB);
  assert.notEqual(at, OUTSIDE);
  const high = low.addGuest();
  const other = low.addGuest();
  window.give(at, TWO_GIB);
  assert.ok(high.node.access.memory.windowAt < OUTSIDE, "above 2 GiB");
  exchange(low, low[0], low[1]);
  exchange(low, low[0], high);
  exchange(low, high, low[0]);
  exchange(low, high, other);
});

/** Takes all that is left of the window; returns what gives it back. */
function exhaust(window: Window): () => void {
  const taken: [number, number][] = [];
  for (let length = TWO_GIB; length >= PAGE; length /= 2) {
    for (let at = window.take(length); at !== OUTSIDE; at = window.take(length)) taken.push([at, length]);
  }
  return () => {
    for (const [at, length] of taken) window.give(at, length);
  };
}

test("no room for the words of more queues: the others go the other way", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  bed.hotPair(a, b);
  const giveBack = exhaust(windowOf(a));
  const target = new Buffer64(b, 64);
  const pairs = Array.from({ length: 40 }, () => connect(a, b));
  let carried = 0;
  for (let round = 0; round < 3; round++) {
    for (const [i, [qp]] of pairs.entries()) {
      const write = { opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(i + round), ...target.remote(i) };
      carried += bed.messagesDuring(() => qp.postSend(write));
    }
    assert.deepEqual(
      [...target.bytes.subarray(0, 40)],
      pairs.map((_, i) => i + round),
    );
    assert.deepEqual(
      bed.syndromes(a),
      pairs.map(() => 0),
    );
  }
  assert.ok(carried > 0 && carried < 2 * pairs.length, `${carried}`);
  giveBack();
});

test("no room for a guest: it is served all the same, with others that are in the window", () => {
  const bed = new CompiledBed();
  const [a] = [bed[0]];
  const giveBack = exhaust(windowOf(a));
  const outside = bed.addGuest();
  giveBack();
  assert.equal(outside.node.access.memory.windowAt, OUTSIDE);
  assert.equal(outside.node.hca.adapter.hcaWords, undefined);
  for (const [near, far] of [
    [a, outside],
    [outside, a],
  ] as const) {
    const [qp, peer] = connect(near, far);
    const target = new Buffer64(far, 64);
    for (let i = 1; i < 5; i++) {
      peer.postReceive([target.sge()]);
      assertPosted(bed, [near, far], qp, { opcode: SendOpcode.SEND, inline: Uint8Array.of(i) }, { isByProgram: false, far: [0] });
      assert.equal(target.bytes[0], i);
    }
  }
});

test("an HCA's tables are empty, whoever had the place before", () => {
  const bed = new CompiledBed();
  const window = windowOf(bed[0]);
  const bytes = 64 * PAGE;
  const at = window.take(bytes);
  window.memoryAt(at, bytes).bytes.fill(0xff);
  window.give(at, bytes);
  const words = HcaWords.take(window, 99);
  assert.ok(words !== undefined && words.memory.windowAt >>> 0 === at);
  assert.ok(words.memory.bytes.every((byte) => byte === 0));
  words.giveBack();
});

test("memory of one guest outside the window, and in the middle of a mapping", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [outside, inside] = [newMemory(4 * PAGE), workshop.newGuestMemory(4 * PAGE)];
  assert.equal(b.node.dma.map(0x4000_0000, 2 * PAGE, outside, 2 * PAGE, true), undefined);
  assert.equal(b.node.dma.map(0x5000_0000, 2 * PAGE, inside, 2 * PAGE, true), undefined);
  const [qp] = bed.hotPair(a, b);
  const source = new Buffer64(a, 2 * PAGE);
  fill(source.bytes, 8);
  for (const [dma, memory, isByProgram] of [
    [0x4000_0000, outside, false],
    [0x5000_0000, inside, true],
  ] as const) {
    const mttAddress = b.device.icm.writeMtts([dma, dma + PAGE]);
    const rkey = registerRaw(b, { start: 0n, length: BigInt(2 * PAGE), mttAddress });
    for (const length of [16, 6000, 16, 6000]) {
      memory.bytes.fill(0);
      const request = { opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], remoteAddress: 0n, rkey: rkey! };
      assertPosted(bed, [a, b], qp, request, { isByProgram });
      assert.ok(memory.bytes.subarray(2 * PAGE, 2 * PAGE + length).equals(source.bytes.subarray(0, length)));
      assert.ok(memory.bytes.subarray(0, 2 * PAGE).every((byte) => byte === 0));
    }
  }
});
