// Moving data between two guests by every operation, through rings, doorbells and completions.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { DriverSharedReceiveQueue } from "../../src/driver/shared-receive-queue.ts";
import { EventType, SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { Buffer64, connect, datagramQp, fill, TestBed } from "./pair.ts";

const sizes = [0, 1, 3, 8, 63, 64, 65, 2048, 4095, 4096, 4097, 65536, 65537, 300_001];

test("RC send: any size, any alignment, immediate, completions on both sides", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 400_000);
  const target = new Buffer64(bed[1], 400_000);
  fill(source.bytes, 1);
  for (const [i, size] of sizes.entries()) {
    target.bytes.fill(0);
    const receive = qpB.postReceive([target.sge(i, size + 8)]);
    const opcode = i % 2 === 0 ? SendOpcode.SEND : SendOpcode.SEND_IMM;
    const send = qpA.postSend({ opcode, sges: [source.sge(i * 3, size)], immediate: 0xdead0000 + i });
    bed.domain.settle();
    const [sent] = bed[0].cq.poll();
    const [received] = bed[1].cq.poll();
    assert.deepEqual([sent?.wqe, sent?.syndrome, sent?.isSend, sent?.qpn], [send, 0, true, qpA.number], `size ${size}`);
    assert.deepEqual([received?.wqe, received?.byteCount, received?.isSend], [receive, size, false]);
    assert.equal(received?.immediate, opcode === SendOpcode.SEND_IMM ? 0xdead0000 + i : 0);
    assert.ok(target.bytes.subarray(i, i + size).equals(source.bytes.subarray(i * 3, i * 3 + size)), `content, size ${size}`);
    assert.equal(target.bytes[i + size], 0);
  }
});

test("RDMA write and read: any size, scattered and gathered, high virtual addresses, large pages", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const local = new Buffer64(bed[0], 400_000, { virtualAddress: 0xffff_8880_0000_0123n - 0x123n + 0x1000n });
  const remote = new Buffer64(bed[1], 400_000, { virtualAddress: 0x7fff_ffff_0000n, pageBytes: 65536 });
  for (const [i, size] of sizes.entries()) {
    fill(local.bytes, i);
    remote.bytes.fill(0);
    const cut = Math.floor(size / 3);
    const sges = [local.sge(i, cut), local.sge(i + cut, 0), local.sge(i + cut, size - cut)];
    qpA.postSend({ opcode: SendOpcode.RDMA_WRITE, sges, ...remote.remote(i) });
    bed.domain.settle();
    assert.equal(bed[0].cq.poll()[0]?.syndrome, 0, `write of ${size}`);
    assert.ok(remote.bytes.subarray(i, i + size).equals(local.bytes.subarray(i, i + size)), `write of ${size}`);
    local.bytes.fill(0);
    qpA.postSend({ opcode: SendOpcode.RDMA_READ, sges, ...remote.remote(i) });
    bed.domain.settle();
    const [read] = bed[0].cq.poll();
    assert.deepEqual([read?.syndrome, read?.byteCount], [0, size]);
    assert.ok(local.bytes.subarray(i, i + size).equals(remote.bytes.subarray(i, i + size)), `read of ${size}`);
  }
});

test("RDMA write with immediate takes a receive WQE; inline data come from the WQE", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, {}, { inlineBytes: 200 });
  const target = new Buffer64(bed[1], 4096);
  qpB.postReceive([]);
  const inline = Uint8Array.from({ length: 200 }, (_, i) => i);
  qpA.postSend({ opcode: SendOpcode.RDMA_WRITE_IMM, inline, immediate: 77, ...target.remote(5) });
  bed.domain.settle();
  const [received] = bed[1].cq.poll();
  assert.deepEqual([received?.immediate, received?.byteCount, (received?.opcode ?? 0) & 0x1f], [77, 200, 0x0b]);
  assert.ok(target.bytes.subarray(5, 205).equals(inline));
});

test("atomics: fetch & add carries, compare & swap swaps only on a match", () => {
  const bed = new TestBed(2);
  const [qpA] = connect(bed[0], bed[1]);
  const result = new Buffer64(bed[0], 8);
  const target = new Buffer64(bed[1], 4096);
  target.bytes.writeBigUInt64LE(0x1_ffff_ffffn, 16);
  const run = (opcode: number, swapAdd: bigint, compare: bigint): bigint => {
    qpA.postSend({ opcode, sges: [result.sge()], swapAdd, compare, ...target.remote(16) });
    bed.domain.settle();
    const [done] = bed[0].cq.poll();
    assert.deepEqual([done?.syndrome, done?.byteCount], [0, 8]);
    return result.bytes.readBigUInt64LE();
  };
  assert.equal(run(SendOpcode.ATOMIC_FA, 3n, 0n), 0x1_ffff_ffffn);
  assert.equal(target.bytes.readBigUInt64LE(16), 0x2_0000_0002n);
  assert.equal(run(SendOpcode.ATOMIC_CS, 5n, 1n), 0x2_0000_0002n);
  assert.equal(target.bytes.readBigUInt64LE(16), 0x2_0000_0002n);
  assert.equal(run(SendOpcode.ATOMIC_CS, 0xffff_ffff_ffff_ffffn, 0x2_0000_0002n), 0x2_0000_0002n);
  assert.equal(run(SendOpcode.ATOMIC_FA, 2n, 0n), 0xffff_ffff_ffff_ffffn);
  assert.equal(target.bytes.readBigUInt64LE(16), 1n);
});

test("UD: GRH space, source, Q_Key and P_Key checks, datagrams without a receiver vanish", () => {
  const bed = new TestBed(2);
  const [a, b] = [datagramQp(bed[0]), datagramQp(bed[1])];
  const source = new Buffer64(bed[0], 4096);
  const target = new Buffer64(bed[1], 4096);
  fill(source.bytes, 4);
  const send = (extra: object): void => {
    a.postSend({
      opcode: SendOpcode.SEND,
      sges: [source.sge(0, 100)],
      address: { dlid: 2 },
      remoteQpn: b.number,
      qkey: 0x1234,
      ...extra,
    });
    bed.domain.settle();
    assert.equal(bed[0].cq.poll()[0]?.syndrome, 0);
  };
  send({});
  assert.equal(bed[1].cq.poll().length, 0, "no receive WQE: dropped");
  b.postReceive([target.sge(0, 2088)]);
  send({ qkey: 0x999 });
  send({ remoteQpn: 0x7777 });
  send({ address: { dlid: 99 } });
  assert.equal(bed[1].cq.poll().length, 0);
  send({});
  const [plain] = bed[1].cq.poll();
  assert.deepEqual(
    [plain?.byteCount, plain?.remoteQpn, plain?.rlid, plain?.hasGrh, plain?.opcode],
    [140, a.number, 1, false, 0x64],
  );
  assert.ok(target.bytes.subarray(40, 140).equals(source.bytes.subarray(0, 100)));
  b.postReceive([target.sge(0, 2088)]);
  send({ address: { dlid: 2, dgid: bed.wires[1]!.gids.slice(0, 16), hopLimit: 3 }, opcode: SendOpcode.SEND_IMM, immediate: 9 });
  const [global] = bed[1].cq.poll();
  assert.deepEqual([global?.hasGrh, global?.immediate, global?.opcode], [true, 9, 0x65]);
  assert.equal(target.bytes[0], 0x60);
  assert.ok(target.bytes.subarray(8, 24).equals(bed.wires[0]!.gids.subarray(0, 16)));
});

test("an address vector for another port or protection domain fails the send, and the queue flushes until it is repaired", () => {
  const bed = new TestBed(2);
  const a = datagramQp(bed[0]);
  const source = new Buffer64(bed[0], 4096);
  const request = { opcode: SendOpcode.SEND, sges: [source.sge(0, 3000)], address: { dlid: 2 }, remoteQpn: 1, qkey: 1 };
  a.postSend(request);
  a.postSend({ ...request, sges: [] });
  bed.domain.settle();
  assert.deepEqual(
    bed[0].cq.poll().map((c) => c.syndrome),
    [Syndrome.LOCAL_LENGTH, Syndrome.WR_FLUSHED],
  );
});

test("UC: a message without a receive WQE is lost, the next one arrives", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.UC);
  const source = new Buffer64(bed[0], 8192);
  const target = new Buffer64(bed[1], 8192);
  fill(source.bytes, 2);
  const send = (size: number): void => {
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, size)] });
    bed.domain.settle();
    assert.equal(bed[0].cq.poll()[0]?.syndrome, 0);
  };
  send(8192);
  assert.equal(bed[1].cq.poll().length, 0);
  qpB.postReceive([target.sge()]);
  send(5000);
  assert.equal(bed[1].cq.poll()[0]?.byteCount, 5000);
  assert.ok(target.bytes.subarray(0, 5000).equals(source.bytes.subarray(0, 5000)));
});

test("SRQ: receives are taken in list order and recycled out of order; the limit event comes once", () => {
  const bed = new TestBed(2);
  const srq = new DriverSharedReceiveQueue(bed[1].device, { pd: bed[1].pd, wqes: 7, sges: 2 });
  const [qpC, qpB] = connect(bed[0], bed[1], Service.RC, {}, {}, { srq });
  const source = new Buffer64(bed[0], 4096);
  const target = new Buffer64(bed[1], 4096);
  fill(source.bytes, 3);
  const posted = [0, 1, 2, 3].map((i) => srq.postReceive([target.sge(i * 64, 32), target.sge(i * 64 + 32, 32)]));
  srq.armLimit(2);
  const taken: number[] = [];
  for (let round = 0; round < 30; round++) {
    qpC.postSend({ opcode: SendOpcode.SEND, sges: [source.sge(0, 64)] });
    bed.domain.settle();
    const [received] = bed[1].cq.poll();
    assert.equal(received?.qpn, qpB.number);
    taken.push(received?.wqe ?? -1);
    if (round % 3 === 2) {
      for (const wqe of taken.splice(0).reverse()) {
        srq.recycle(wqe);
        srq.postReceive([target.sge(0, 64)]);
      }
    }
    bed[0].cq.poll();
  }
  assert.deepEqual(posted, [0, 64, 128, 192]);
  const limits = bed[1].device.asyncEvents.filter((e) => e.type === EventType.SRQ_LIMIT);
  assert.deepEqual([limits.length, limits[0]?.number, srq.query().limit], [1, srq.number, 0]);
});

test("completion events: one per arm, none for completions already announced, solicited ones only when asked", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 64);
  const target = new Buffer64(bed[1], 64);
  const { cq } = bed[1];
  const send = (isSolicited = false): void => {
    qpB.postReceive([target.sge()]);
    qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()], isSolicited });
    bed.domain.settle();
    bed[0].cq.poll();
  };
  send();
  assert.equal(cq.events, 0, "not armed");
  cq.arm();
  bed.domain.settle();
  assert.equal(cq.events, 1, "armed with a completion waiting: fires at once");
  cq.arm();
  bed.domain.settle();
  assert.equal(cq.events, 1, "that completion was announced already");
  send();
  assert.equal(cq.events, 2);
  send();
  assert.equal(cq.events, 2, "one event per arm");
  cq.poll();
  cq.arm(true);
  send();
  assert.equal(cq.events, 2, "unsolicited");
  send(true);
  assert.equal(cq.events, 3);
});

test("a CQ can be resized while completions are waiting, smaller only if they fit", () => {
  const bed = new TestBed(2);
  const cq = new DriverCompletionQueue(bed[1].device, 7, bed[1].pd);
  const [qpA, qpB] = connect(bed[0], bed[1], Service.RC, {}, {}, { receiveCq: cq });
  const source = new Buffer64(bed[0], 64);
  const target = new Buffer64(bed[1], 64);
  const send = (count: number): void => {
    for (let i = 0; i < count; i++) {
      qpB.postReceive([target.sge()]);
      qpA.postSend({ opcode: SendOpcode.SEND_IMM, sges: [source.sge()], immediate: i });
      bed.domain.settle();
      bed[0].cq.poll();
    }
  };
  send(6);
  assert.equal(cq.poll(2).length, 2);
  cq.resize(100);
  send(3);
  assert.deepEqual(
    cq.poll().map((c) => c.immediate),
    [2, 3, 4, 5, 0, 1, 2],
  );
  send(40);
  assert.throws(() => cq.resize(15), /BAD_SIZE/);
  assert.equal(cq.poll().length, 40);
});

test("traffic is counted at both ports in words and packets", () => {
  const bed = new TestBed(2);
  const [qpA, qpB] = connect(bed[0], bed[1]);
  const source = new Buffer64(bed[0], 5000);
  const target = new Buffer64(bed[1], 5000);
  qpB.postReceive([target.sge()]);
  qpA.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()] });
  bed.domain.settle();
  const sent = bed.wires[0]!.counters;
  const received = bed.wires[1]!.counters;
  assert.equal(sent[PortCounter.xmitPackets], 3);
  assert.equal(received[PortCounter.rcvPackets], 3);
  assert.equal(sent[PortCounter.xmitData], received[PortCounter.rcvData]);
  assert.ok((sent[PortCounter.xmitData] ?? 0) >= 1250);
});
