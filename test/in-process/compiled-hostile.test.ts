// What a hostile driver can hand over, on connections that the compiled program has taken over: nothing is written outside of what is
// registered, and nothing throws.

import { CompiledBed, registerRaw } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { AddressSpace } from "../../src/base/address-space.ts";
import { newMemory } from "../../src/base/bytes.ts";
import { newWindow } from "../../src/base/window.ts";
import { Command, ResizeCq } from "../../src/spec/hca/commands.ts";
import { MTT_BYTES } from "../../src/spec/hca/contexts.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { DoorbellRecord } from "../../src/transport/doorbell-record.ts";
import { Icm } from "../../src/transport/icm.ts";
import { Buffer64, connect, fill, type Guest, newQp } from "./pair.ts";

const ALL_ONES = 2n ** 64n - 1n;

/** Registers [start, + length), translated by the entries of `buffer` from number `skip` on; undefined if it is refused. */
const register = (guest: Guest, { region }: Buffer64, start: bigint, length: bigint, skip = 0): number | undefined =>
  registerRaw(guest, { start, length, mttAddress: region.mttAddress + skip * MTT_BYTES });

test("no region with a table is longer than distances are exact", () => {
  const bed = new CompiledBed();
  const [a] = [bed[0]];
  const buffer = new Buffer64(a, 4 * 4096);
  assert.equal(register(a, buffer, 0n, ALL_ONES), undefined);
  assert.equal(register(a, buffer, 0x800n, ALL_ONES), undefined);
  assert.equal(register(a, buffer, 0n, 2n ** 53n + 1n * 2048n), undefined);
  assert.notEqual(register(a, buffer, 0n, 2n ** 53n), undefined);
});

test("a region at the end of all addresses: its last bytes, and none behind them", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp] = bed.hotPair(a, b);
  const source = new Buffer64(a, 2 * 4096);
  fill(source.bytes, 1);
  const target = new Buffer64(b, 5 * 4096);
  const start = 2n ** 64n - 3n * 4096n;
  const rkey = register(b, target, start, 3n * 4096n, 1);
  assert.ok(rkey !== undefined);
  const write = (remoteAddress: bigint, length: number): void => {
    qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge(0, length)], remoteAddress, rkey });
  };
  target.bytes.fill(0);
  assert.equal(
    bed.messagesDuring(() => write(2n ** 64n - 6000n, 6000)),
    1,
  );
  assert.deepEqual(bed.syndromes(a), [0]);
  assert.deepEqual(target.bytes.subarray(4 * 4096 - 6000, 4 * 4096), source.bytes.subarray(0, 6000));
  assert.ok(target.bytes.subarray(0, 4 * 4096 - 6000).every((byte) => byte === 0));
  assert.ok(target.bytes.subarray(4 * 4096).every((byte) => byte === 0));
  assert.equal(
    bed.messagesDuring(() => write(2n ** 64n - 6000n, 6001)),
    0,
  );
  assert.deepEqual(bed.syndromes(a), [Syndrome.REMOTE_ACCESS]);
});

test("a completion queue that begins at no multiple of 4", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp] = bed.hotPair(a, b);
  const target = new Buffer64(b, 64);
  const queue = new Buffer64(a, 2 * 4096);
  for (const byte of [1, 2, 3]) {
    a.device.commands.run(Command.RESIZE_CQ, {
      modifier: a.cq.number,
      opcodeModifier: 1,
      input: (view, at) => {
        ResizeCq.logSize.set(view, at, 6);
        ResizeCq.lkey.set(view, at, queue.region.lkey);
        ResizeCq.startAddress.setBig(view, at, queue.region.virtualAddress + BigInt(byte));
      },
    });
    const write = (): void => {
      qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(byte), ...target.remote() });
    };
    assert.equal(bed.messagesDuring(write), 0);
    assert.equal(target.bytes[0], byte);
  }
});

test("a doorbell record at no multiple of 4 is none that the program could read", () => {
  const window = newWindow(2 ** 28);
  assert.ok(window);
  const dma = new AddressSpace(newMemory(8));
  const at = window.take(4096);
  assert.equal(dma.map(0, 4096, window.memoryAt(at, 4096), 0, true), undefined);
  const icm = new Icm(dma);
  icm.map(0, 0, 1);
  assert.equal(new DoorbellRecord(icm, 0, 8).windowAt(), at + 8);
  for (const odd of [1, 2, 3, 4094]) assert.equal(new DoorbellRecord(icm, 0, odd).windowAt(), 0);
});

test("a receive ring whose slots have no room for a segment: what lies behind a slot is no list", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qpA, qpB] = [newQp(a, 0), newQp(b, 0)];
  Object.assign(qpB, { logRqStride: 4 });
  for (const [qp, other, guest] of [
    [qpA, qpB, b],
    [qpB, qpA, a],
  ] as const) {
    qp.init();
    qp.readyToReceive({ remoteQpn: other.number, dlid: guest.wire.lid });
    qp.readyToSend({ remoteQpn: other.number, dlid: guest.wire.lid });
  }
  bed.heat(qpA, a, b);
  const target = new Buffer64(b, 64);
  target.bytes.fill(0);
  // What the program would take for the first slot's list lies in the second.
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SendOpcode.SEND, inline: Uint8Array.of(9) });
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [Syndrome.REMOTE_INVALID_REQUEST]);
  assert.deepEqual(bed.syndromes(b), [Syndrome.LOCAL_LENGTH]);
  assert.ok(target.bytes.every((byte) => byte === 0));
});

test("the connection of the tests above is one that the program serves", () => {
  const bed = new CompiledBed();
  const [qp] = connect(bed[0], bed[1]);
  bed.heat(qp, bed[0], bed[1]);
});
