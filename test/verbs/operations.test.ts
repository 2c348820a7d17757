// Every operation of every service, with its data and completions. IBA vol 1, 9.4, 11.4.1.

import assert from "node:assert/strict";
import { AccessFlag, SendFlag, WorkCompletion } from "../../src/verbs/index.ts";
import { bringUp, fill, newEnds, newPair, piece, QKEY, refusal, tearDown, verbsTest } from "./worlds.ts";

verbsTest("RC: send, write, read, with and without immediate data", async (world) => {
  const [a, b] = await newPair(world);
  fill(a.mr.bytes, 1);
  const received = b.qp.recv({ wrId: 1, sgList: [piece(b, 0, 100), piece(b, 1000, 5000)] });
  const sent = await a.qp.send({ opcode: "SEND", wrId: 2, sgList: [piece(a, 10, 60), piece(a, 500, 3000)] });
  assert.deepEqual([sent.wrId, sent.status, sent.opcode, sent.qpNum], [2, "SUCCESS", "SEND", a.qp.qpNum]);
  const wc = await received;
  assert.deepEqual([wc.wrId, wc.opcode, wc.byteLen, wc.hasImm, wc.qpNum], [1, "RECV", 3060, false, b.qp.qpNum]);
  const expected = Buffer.concat([a.mr.bytes.subarray(10, 70), a.mr.bytes.subarray(500, 3500)]);
  assert.deepEqual(Buffer.concat([b.mr.bytes.subarray(0, 100), b.mr.bytes.subarray(1000, 3960)]), expected);

  const immediate = b.qp.recv({ sgList: [piece(b, 0, 8)] });
  await a.qp.send({ opcode: "SEND_WITH_IMM", immData: 0xdeadbeef, sgList: [] });
  const withImm = await immediate;
  assert.deepEqual([withImm.hasImm, withImm.immData, withImm.byteLen], [true, 0xdeadbeef, 0]);

  const remote = { remoteAddr: b.mr.addr + 8192, rkey: b.mr.rkey };
  await a.qp.send({ opcode: "RDMA_WRITE", sgList: [piece(a, 0, 4000)], ...remote });
  assert.deepEqual(b.mr.bytes.subarray(8192, 12192), a.mr.bytes.subarray(0, 4000));
  const told = b.qp.recv({ wrId: 9, sgList: [] });
  await a.qp.send({ opcode: "RDMA_WRITE_WITH_IMM", immData: 7, sgList: [piece(a, 4000, 96)], ...remote });
  const write = await told;
  assert.deepEqual([write.opcode, write.immData, write.byteLen, write.wrId], ["RECV_RDMA_WITH_IMM", 7, 96, 9]);
  assert.deepEqual(b.mr.bytes.subarray(8192, 8288), a.mr.bytes.subarray(4000, 4096));

  fill(b.mr.bytes.subarray(20000, 30000), 3);
  const read = await a.qp.send({
    opcode: "RDMA_READ",
    sgList: [piece(a, 40000, 10000)],
    remoteAddr: BigInt(b.mr.addr + 20000),
    rkey: b.mr.rkey,
  });
  assert.deepEqual([read.opcode, read.byteLen], ["RDMA_READ", 10000]);
  assert.deepEqual(a.mr.bytes.subarray(40000, 50000), b.mr.bytes.subarray(20000, 30000));
  tearDown(a, b);
});

verbsTest("RC: atomics return what was there before", async (world) => {
  const [a, b] = await newPair(world);
  b.mr.bytes.writeBigUInt64LE(2n ** 63n + 5n, 64);
  const remote = { remoteAddr: b.mr.addr + 64, rkey: b.mr.rkey };
  const add = await a.qp.send({ opcode: "ATOMIC_FETCH_AND_ADD", compareAdd: 2n ** 40n, sgList: [piece(a, 0, 8)], ...remote });
  assert.equal(add.opcode, "FETCH_ADD");
  assert.equal(a.mr.bytes.readBigUInt64LE(0), 2n ** 63n + 5n);
  const swapped = 2n ** 63n + 5n + 2n ** 40n;
  for (const [compareAdd, after] of [
    [1n, swapped],
    [swapped, 42n],
  ] as const) {
    const swap = { opcode: "ATOMIC_CMP_AND_SWP", compareAdd, swap: 42n, sgList: [piece(a, 0, 8)], ...remote } as const;
    assert.equal((await a.qp.send(swap)).opcode, "COMP_SWAP");
    assert.equal(a.mr.bytes.readBigUInt64LE(0), swapped);
    assert.equal(b.mr.bytes.readBigUInt64LE(64), after);
  }
  tearDown(a, b);
});

verbsTest("UC: sends and writes arrive; reads are refused", async (world) => {
  const [a, b] = await newPair(world, { qpType: "UC" });
  fill(a.mr.bytes, 5);
  const received = b.qp.recv({ sgList: [piece(b, 0, 3000)] });
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 3000)] });
  assert.equal((await received).byteLen, 3000);
  assert.deepEqual(b.mr.bytes.subarray(0, 3000), a.mr.bytes.subarray(0, 3000));
  const remote = { remoteAddr: b.mr.addr, rkey: b.mr.rkey };
  await assert.rejects(
    a.qp.send({ opcode: "RDMA_READ", sgList: [piece(a, 0, 8)], ...remote }),
    refusal("COMPLETION", /RDMA_READ on QP 0x\w+: LOC_QP_OP_ERR/),
  );
  tearDown(a, b);
});

verbsTest("UD: a datagram, and the answer by the address it came from", async (world) => {
  const [a, b] = await newEnds(world, { qpType: "UD" });
  bringUp(a.qp, b);
  bringUp(b.qp, a);
  const there = a.pd.createAh({ dlid: b.lid, grh: { dgid: b.context.queryGid(), hopLimit: 1 } });
  const received = b.qp.recv({ sgList: [piece(b, 0, 40 + 256)] });
  a.mr.bytes.write("to whom it may concern");
  const to = { ah: there, remoteQpn: b.qp.qpNum, remoteQkey: QKEY };
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 22)], ...to });
  const wc = await received;
  assert.deepEqual([wc.byteLen, wc.srcQp, wc.slid, wc.hasGrh], [40 + 22, a.qp.qpNum, a.lid, true]);
  assert.equal(b.mr.bytes.toString("latin1", 40, 62), "to whom it may concern");

  const back = b.pd.createAhFromWc(wc, b.mr.bytes.subarray(0, 40));
  const answered = a.qp.recv({ sgList: [piece(a, 1000, 40 + 64)] });
  const answer = { ah: back, remoteQpn: wc.srcQp, remoteQkey: QKEY };
  await b.qp.send({ opcode: "SEND_WITH_IMM", immData: 3, sgList: [piece(b, 40, 2)], ...answer });
  const last = await answered;
  assert.deepEqual([last.immData, last.srcQp, last.byteLen], [3, b.qp.qpNum, 42]);
  assert.throws(() => a.qp.postSend({ opcode: "SEND", sgList: [] }), refusal("EINVAL", /QP 0x/));
  there.destroy();
  back.destroy();
  tearDown(a, b);
});

verbsTest("inline data are copied at once, from bytes or from a list", async (world) => {
  const [a, b] = await newPair(world);
  const remote = { remoteAddr: b.mr.addr, rkey: b.mr.rkey };
  const bytes = Buffer.from("first");
  const first = a.qp.send({ opcode: "RDMA_WRITE", inlineData: bytes, ...remote });
  bytes.write("wrong");
  a.mr.bytes.write("second", 100);
  const list = { sgList: [piece(a, 100, 3), piece(a, 103, 3)], sendFlags: SendFlag.INLINE };
  const second = a.qp.send({ opcode: "RDMA_WRITE", ...list, ...remote, remoteAddr: b.mr.addr + 5 });
  a.mr.bytes.write("wrong!", 100);
  await Promise.all([first, second]);
  assert.equal(b.mr.bytes.toString("latin1", 0, 11), "firstsecond");
  assert.throws(
    () => a.qp.postSend({ opcode: "RDMA_WRITE", inlineData: Buffer.alloc(101), ...remote }),
    refusal("EINVAL", /takes 4 SGEs or 100 bytes of inline data/),
  );
  tearDown(a, b);
});

verbsTest("unsignaled requests complete with the next signaled one, and make room", async (world) => {
  const [a, b] = await newPair(world, { cap: { maxSendWr: 8, maxInlineData: 8 } });
  const remote = { remoteAddr: b.mr.addr, rkey: b.mr.rkey };
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 7; i++) {
      const wr = { opcode: "RDMA_WRITE", wrId: i, inlineData: Buffer.of(round), sendFlags: 0 } as const;
      a.qp.postSend({ ...wr, ...remote, remoteAddr: b.mr.addr + i });
    }
    const wc = await a.qp.send({ opcode: "RDMA_READ", wrId: 99, sgList: [piece(a, 0, 8)], ...remote });
    assert.equal(wc.wrId, 99);
    assert.equal(a.qp.sendRoom, 8);
    assert.deepEqual([...a.mr.bytes.subarray(0, 7)], new Array(7).fill(round));
  }
  assert.equal(a.cq.poll([new WorkCompletion()]), 0);
  tearDown(a, b);
});

verbsTest("a region grants what it says, where it lies, to its domain only", async (world) => {
  const [a, b] = await newPair(world);
  const memory = b.context.allocMemory(8192);
  const readOnly = b.pd.regMr(memory, AccessFlag.REMOTE_READ, { offset: 4096 + 100, length: 200 });
  const read = (offset: number, length: number, rkey = readOnly.rkey): Promise<unknown> =>
    a.qp.send({ opcode: "RDMA_READ", sgList: [piece(a, 0, length)], remoteAddr: readOnly.addr + offset, rkey });
  memory.bytes.write("here", 4096 + 100);
  await read(0, 200);
  assert.equal(a.mr.bytes.toString("latin1", 0, 4), "here");
  const iova = 0x7f00_1234_5000n + 100n;
  const elsewhere = b.pd.regMr(memory, AccessFlag.REMOTE_READ, { offset: 100, length: 50, iova });
  memory.bytes.write("else", 100);
  await a.qp.send({ opcode: "RDMA_READ", sgList: [piece(a, 0, 50)], remoteAddr: iova, rkey: elsewhere.rkey });
  assert.equal(a.mr.bytes.toString("latin1", 0, 4), "else");
  await assert.rejects(read(1, 200), refusal("COMPLETION", /REM_ACCESS_ERR/));
  assert.equal(a.qp.query().qpState, "ERR");
  assert.throws(() => b.pd.regMr(memory, 0, { offset: 8000, length: 193 }), refusal("EINVAL", /outside memory of 8192 bytes/));
  assert.throws(() => b.pd.regMr(memory, 0, { iova: 1n }), refusal("EINVAL", /iova 0x1: not at byte 0 of a page/));
  readOnly.destroy();
  elsewhere.destroy();
  memory.destroy();
  tearDown(a, b);
});
