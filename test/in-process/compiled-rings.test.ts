// Send and receive rings of connections that the compiled program has taken over: where their entries lie, and what a driver may lie about.

import { assertPosted, asyncTypes, CompiledBed, registerRaw, stateOf, writers } from "./compiled-kit.ts";
import "./compiled.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { Command } from "../../src/spec/hca/commands.ts";
import { AddressPath, PRIMARY_PATH_AT, QpContext, QpOptional } from "../../src/spec/hca/contexts.ts";
import { EventType, SendOpcode } from "../../src/spec/hca/queues.ts";
import { QpState, Service } from "../../src/spec/ib/numbers.ts";
import { Buffer64, connect, type Guest, newQp } from "./pair.ts";

const inline = (byte: number) => ({ opcode: SendOpcode.SEND, inline: Uint8Array.of(byte) });

test("rings of several pages go round twice", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = connect(a, b, undefined, {}, { sendWqes: 128, receiveWqes: 128 });
  bed.heat(qp, a, b);
  const target = new Buffer64(b, 600);
  for (let i = 0; i < 600; i++) {
    const where = target.sge(i, 1);
    peer.postReceive([where]);
    assertPosted(bed, [a, b], qp, inline(i), { far: [0] });
  }
  assert.deepEqual(target.bytes, Buffer.from(Array.from({ length: 600 }, (_, i) => i & 0xff)));
});

test("rings above 4 GiB", () => {
  const bed = new CompiledBed();
  const ends: [Guest, Guest] = [bed[0], bed[1]];
  const pair = ends.map((guest) => newQp(guest, Service.RC)) as [DriverQueuePair, DriverQueuePair];
  for (const [i, qp] of pair.entries()) {
    const guest = ends[i as 0 | 1];
    const { length, mttAddress } = qp.region;
    const key = registerRaw(guest, { start: 2n ** 32n, length: BigInt(length), mttAddress });
    qp.transition(Command.RST2INIT_QP, QpState.INIT, QpOptional.PORT | QpOptional.PKEY_INDEX, (view, at) => {
      AddressPath.port.set(view, at + PRIMARY_PATH_AT, 1);
      QpContext.wqeBaseHi.set(view, at, 1);
      QpContext.wqeLkey.set(view, at, key!);
    });
  }
  for (const [i, qp] of pair.entries()) {
    const connection = { remoteQpn: pair[1 - i]!.number, dlid: ends[1 - i]!.wire.lid };
    qp.readyToReceive(connection);
    qp.readyToSend(connection);
  }
  bed.heat(pair[0], ...ends);
  const target = new Buffer64(ends[1], 8);
  pair[1].postReceive([target.sge()]);
  assertPosted(bed, ends, pair[0], inline(4), { far: [0] });
  assert.equal(target.bytes[0], 4);
});

test("16-bit counters of both rings wrap", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const [qp, peer] = bed.hotPair(a, b);
  const target = new Buffer64(b, 8);
  const carried = bed.messagesDuring(() => {
    for (let i = 0; i < 66_000; i += 33) {
      for (let j = 0; j < 33; j++) {
        peer.postReceive([target.sge()]);
        qp.postSend({ ...inline(i), isSignaled: false });
      }
      bed.domain.settle();
      b.cq.poll();
    }
  });
  assert.equal(carried, 66_000);
  peer.postReceive([target.sge()]);
  assertPosted(bed, [a, b], qp, inline(77), { far: [0] });
  assert.equal(b.node.hca.adapter.qps.find(peer.number)?.rqHead, 66_001 & 0xffff);
  assert.equal(target.bytes[0], 77);
});

test("doorbell records that lie, about rings that are full of good requests", () => {
  const sends = writers();
  for (let i = 0; i < sends.qp.sends.size; i++)
    assert.equal(
      sends.bed.messagesDuring(() => sends.write(i)),
      1,
    );
  sends.bed.syndromes(sends.a);
  sends.qp.sendPosted = (sends.qp.sendPosted + sends.qp.sends.size + 1) & 0xffff;
  assert.equal(
    sends.bed.messagesDuring(() => sends.qp.sends.publish()),
    0,
  );
  assert.equal(stateOf(sends.a, sends.qp), QpState.ERR);
  assert.deepEqual(asyncTypes(sends.a), [EventType.WQ_CATASTROPHIC]);

  const { bed, b, qp, peer, target } = writers();
  peer.postReceive([target.sge()]);
  peer.receivePosted = (peer.receives?.size ?? 0) + 1;
  peer.receives?.publish();
  target.bytes.fill(0);
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(1))),
    0,
  );
  assert.equal(target.bytes[0], 0);
  assert.equal(stateOf(b, peer), QpState.ERR);
  assert.deepEqual(asyncTypes(b), [EventType.WQ_CATASTROPHIC]);
});

test("nothing to receive, then a receive: the message waits for it", () => {
  const { bed, a, b, qp, peer } = writers();
  const target = new Buffer64(b, 8);
  assert.equal(
    bed.messagesDuring(() => qp.postSend(inline(5))),
    0,
  );
  assert.deepEqual(bed.syndromes(a), []);
  peer.postReceive([target.sge()]);
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [0]);
  assert.equal(target.bytes[0], 5);
});

test("receives of a shared queue are not the program's", () => {
  const bed = new CompiledBed();
  const [a, b] = [bed[0], bed[1]];
  const srq = new DriverSharedReceiveQueue(b.device, { pd: b.pd, wqes: 8, sges: 1 });
  const [qp, peer] = connect(a, b, undefined, {}, {}, { srq });
  bed.heat(qp, a, b);
  const [target, other] = [new Buffer64(b, 8), new Buffer64(b, 8)];
  // What stands where a ring of its own would be, and in that one's record, means nothing.
  const { view } = b.node.access.memory;
  const { address, length, lkey } = other.sge();
  for (const [i, word] of [length, lkey, 0, Number(address), 0, 0x100].entries())
    view.setUint32(peer.region.block.at + 16 + i * 4, word);
  view.setUint32(peer.rqRecord.at, 1);
  srq.postReceive([target.sge()]);
  assertPosted(bed, [a, b], qp, inline(6), { isByProgram: false, far: [0] });
  assert.equal(target.bytes[0], 6);
  assert.equal(other.bytes[0], 0);
});

test("a request that is not plain is found though nobody has rung for it", () => {
  const { bed, a, b, qp, peer } = writers();
  const target = new Buffer64(b, 8);
  peer.postReceive([target.sge()]);
  qp.writeSend({ ...inline(8), opcode: SendOpcode.SEND_IMM, immediate: 0x1234 });
  qp.sends.publish();
  bed.domain.settle();
  assert.deepEqual(bed.syndromes(a), [0]);
  assert.deepEqual(
    b.cq.poll().map(({ syndrome, immediate }) => [syndrome, immediate]),
    [[0, 0x1234]],
  );
});
