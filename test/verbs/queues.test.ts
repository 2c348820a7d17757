// Queues: how requests are posted in batches, how completions are taken and announced, what a full queue says.

import assert from "node:assert/strict";
import { ALL_ACCESS, newWorkCompletions, SendFlag, type WorkCompletion, WrError } from "../../src/verbs/index.ts";
import { bringUp, type End, fill, newEnds, newPair, piece, refusal, tearDown, verbsTest } from "./worlds.ts";

/** Polls until `count` completions have come. */
async function takeAll(end: End, count: number): Promise<WorkCompletion[]> {
  const taken: WorkCompletion[] = [];
  while (taken.length < count) taken.push(await end.cq.next({ timeoutMs: 5000 }));
  return taken;
}

verbsTest("wr calls: a batch of every opcode, its completions read in place", async (world) => {
  const [a, b] = await newPair(world);
  const { qp, cq } = a;
  fill(a.mr.bytes, 2);
  const { rkey, addr } = b.mr;
  qp.wrStart();
  qp.wrFlags = SendFlag.SIGNALED;
  qp.wrId = 1;
  qp.wrRdmaWrite(rkey, addr);
  qp.wrSetSge(a.mr.lkey, a.mr.addr, 100);
  qp.wrSetSge(a.mr.lkey, a.mr.addr + 200, 50);
  qp.wrId = 2;
  qp.wrFlags = SendFlag.SIGNALED | SendFlag.FENCE;
  qp.wrRdmaRead(rkey, addr);
  qp.wrSetSge(a.mr.lkey, a.mr.addr + 1000, 150);
  qp.wrId = 3;
  qp.wrAtomicFetchAdd(rkey, addr + 4096, 0, 5);
  qp.wrSetSge(a.mr.lkey, a.mr.addr + 2000, 8);
  qp.wrId = 4;
  qp.wrAtomicCmpSwp(rkey, addr + 4096, 0, 5, 1, 2);
  qp.wrSetSge(a.mr.lkey, a.mr.addr + 2008, 8);
  assert.equal(qp.wrComplete(), WrError.NONE);
  const seen: unknown[] = [];
  while (seen.length < 4) {
    a.context.service();
    if (!cq.startPoll()) continue;
    do seen.push([cq.wrId, cq.status, cq.readOpcode(), cq.readQpNum()]);
    while (cq.nextPoll());
    cq.endPoll();
  }
  assert.deepEqual(seen, [
    [1, "SUCCESS", "RDMA_WRITE", qp.qpNum],
    [2, "SUCCESS", "RDMA_READ", qp.qpNum],
    [3, "SUCCESS", "FETCH_ADD", qp.qpNum],
    [4, "SUCCESS", "COMP_SWAP", qp.qpNum],
  ]);
  const written = Buffer.concat([a.mr.bytes.subarray(0, 100), a.mr.bytes.subarray(200, 250)]);
  assert.deepEqual(b.mr.bytes.subarray(0, 150), written);
  assert.deepEqual(a.mr.bytes.subarray(1000, 1150), written);
  assert.deepEqual([a.mr.bytes.readBigUInt64LE(2000), a.mr.bytes.readBigUInt64LE(2008)], [0n, 5n]);
  assert.equal(b.mr.bytes.readBigUInt64LE(4096), 0x1_0000_0002n);
  tearDown(a, b);
});

verbsTest("wr calls: sends with immediate and inline data, received by postRecvSge", async (world) => {
  const [a, b] = await newPair(world);
  for (let i = 0; i < 3; i++) assert.equal(b.qp.postRecvSge(i, b.mr.lkey, b.mr.addr + 100 * i, 100), WrError.NONE);
  a.qp.wrStart();
  a.qp.wrSend();
  a.qp.wrSetInlineData(Buffer.from("one"));
  a.qp.wrSendImm(0x80000001);
  a.qp.wrSetInlineData(Buffer.from("two"));
  a.qp.wrRdmaWriteImm(b.mr.rkey, b.mr.addr + 1000, 5);
  a.qp.wrSetInlineData(Buffer.from("three"));
  assert.equal(a.qp.wrComplete(), WrError.NONE);
  const [one, two, three] = await takeAll(b, 3);
  assert.deepEqual([one?.wrId, one?.byteLen, one?.hasImm], [0, 3, false]);
  assert.deepEqual([two?.wrId, two?.byteLen, two?.immData], [1, 3, 0x80000001]);
  assert.deepEqual([three?.wrId, three?.opcode, three?.immData, three?.byteLen], [2, "RECV_RDMA_WITH_IMM", 5, 5]);
  assert.equal(b.mr.bytes.toString("latin1", 100, 103), "two");
  assert.equal(b.mr.bytes.toString("latin1", 1000, 1005), "three");
  await takeAll(a, 3);
  tearDown(a, b);
});

verbsTest("a full queue and a request that does not fit are said, and nothing is posted", async (world) => {
  const [a, b] = await newPair(world, { cap: { maxSendWr: 4, maxRecvWr: 4, maxSendSge: 1, maxRecvSge: 1 } });
  const { qp } = a;
  const remote = { remoteAddr: b.mr.addr, rkey: b.mr.rkey };
  assert.deepEqual([qp.cap.maxSendWr, qp.cap.maxRecvWr], [4, 4]);
  const write = { opcode: "RDMA_WRITE", sgList: [piece(a, 0, 8)], ...remote } as const;
  assert.throws(() => qp.postSend(write, write, write, write, write), refusal("ENOMEM", /send queue holds 4 requests; poll CQ/));
  assert.equal(qp.sendRoom, 4);
  qp.postSend(write, write, write, write);
  qp.wrStart();
  qp.wrSend();
  assert.equal(qp.wrComplete(), WrError.ENOMEM);
  assert.equal((await takeAll(a, 4)).length, 4);
  qp.wrStart();
  qp.wrSend();
  for (let i = 0; i < 8; i++) qp.wrSetSge(a.mr.lkey, a.mr.addr, 1);
  assert.equal(qp.wrComplete(), WrError.EINVAL);
  qp.wrStart();
  qp.wrSend();
  qp.wrAbort();
  assert.equal(qp.sendRoom, 4);
  qp.postSend(write);
  assert.equal((await a.cq.next()).status, "SUCCESS");
  for (let i = 0; i < 4; i++) assert.equal(qp.postRecvSge(i, a.mr.lkey, a.mr.addr, 1), WrError.NONE);
  assert.equal(qp.postRecvSge(4, a.mr.lkey, a.mr.addr, 1), WrError.ENOMEM);
  assert.throws(() => qp.postRecv({}), refusal("ENOMEM", /receive queue holds 4 requests/));
  tearDown(a, b);
});

verbsTest("poll writes into the objects it is given, as many as there are", async (world) => {
  const [a, b] = await newPair(world);
  const write = { opcode: "RDMA_WRITE", sgList: [piece(a, 0, 8)], remoteAddr: b.mr.addr, rkey: b.mr.rkey } as const;
  for (let i = 0; i < 10; i++) a.qp.postSend({ ...write, wrId: i });
  await a.qp.send({ ...write, wrId: 10 });
  const into = newWorkCompletions(4);
  const first = into[0];
  const ids: number[] = [];
  for (let count = a.cq.poll(into); count > 0; count = a.cq.poll(into)) ids.push(...into.slice(0, count).map(({ wrId }) => wrId));
  assert.equal(into[0], first);
  assert.deepEqual(ids, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  tearDown(a, b);
});

verbsTest("completion events: one for each time that the CQ was asked", async (world) => {
  const [a, b] = await newEnds(world);
  const channel = b.context.createCompChannel();
  const cq = b.context.createCq(16, { channel });
  const qp = b.pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const end = { ...b, cq, qp };
  bringUp(a.qp, end);
  bringUp(qp, a);
  for (let i = 0; i < 4; i++) qp.postRecv({ wrId: i, sgList: [piece(b, 0, 8)] });
  cq.reqNotify();
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 8)] });
  assert.equal(await channel.getEvent({ timeoutMs: 5000 }), cq);
  assert.equal((await cq.next()).wrId, 0);
  cq.reqNotify(true);
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 8)] });
  await assert.rejects(channel.getEvent({ timeoutMs: 30 }), refusal("ETIMEDOUT", /waited 30 ms in vain for a completion event/));
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 8)], sendFlags: SendFlag.SOLICITED });
  for await (const event of channel) {
    assert.equal(event, cq);
    break;
  }
  cq.reqNotify();
  a.qp.postSend({ opcode: "SEND", sgList: [piece(a, 0, 8)] });
  assert.equal(channel.getEventSync(5000), cq);
  assert.throws(() => channel.getEventSync(20), refusal("ETIMEDOUT", /completion event/));
  assert.throws(() => channel.destroy(), refusal("EBUSY", /completion channel is still held by CQ \d+: destroy/));
  qp.destroy();
  cq.destroy();
  channel.destroy();
  tearDown(a, b);
});

verbsTest("a CQ is resized while completions wait", async (world) => {
  const [a, b] = await newPair(world);
  assert.ok(a.cq.cqe >= 255);
  for (let i = 0; i < 40; i++) {
    a.qp.postSend({ opcode: "RDMA_WRITE", wrId: i, sgList: [piece(a, 0, 8)], remoteAddr: b.mr.addr, rkey: b.mr.rkey });
  }
  await a.context.until(() => (a.qp.query().sqPsn === 40 ? true : undefined), { what: "40 writes", timeoutMs: 5000 });
  assert.throws(() => a.cq.resize(20), refusal("EINVAL", /RESIZE_CQ|BAD_SIZE|completions/));
  a.cq.resize(1000);
  assert.ok(a.cq.cqe >= 1000);
  assert.deepEqual(
    (await takeAll(a, 40)).map(({ wrId }) => wrId),
    Array.from({ length: 40 }, (_, i) => i),
  );
  tearDown(a, b);
});

verbsTest("SRQ: receives of several QPs, and the limit event", async (world) => {
  const [a, b] = await newEnds(world);
  const srq = b.pd.createSrq({ maxWr: 10, maxSge: 2 });
  assert.ok(srq.maxWr >= 10);
  const qps = [0, 1].map(() => b.pd.createQp({ qpType: "RC", sendCq: b.cq, recvCq: b.cq, srq }));
  const senders = qps.map((qp) => {
    const sender = a.pd.createQp({ qpType: "RC", sendCq: a.cq, recvCq: a.cq });
    bringUp(sender, { qp, lid: b.lid });
    bringUp(qp, { qp: sender, lid: a.lid });
    return sender;
  });
  for (let i = 0; i < 6; i++) srq.postRecv({ wrId: 100 + i, sgList: [piece(b, 64 * i, 32), piece(b, 64 * i + 32, 32)] });
  srq.modify({ srqLimit: 4 });
  assert.equal(srq.query().srqLimit, 4);
  for (let i = 0; i < 4; i++) await senders[i % 2]?.send({ opcode: "SEND", sgList: [piece(a, 0, 40)] });
  for await (const event of b.context.asyncEvents()) {
    if (event.eventType !== "SRQ_LIMIT_REACHED") continue;
    assert.equal(event.srq, srq);
    break;
  }
  const received = await takeAll(b, 4);
  assert.deepEqual(received.map(({ wrId }) => wrId).sort(), [100, 101, 102, 103]);
  assert.equal(new Set(received.map(({ qpNum }) => qpNum)).size, 2);
  assert.throws(() => qps[0]?.postRecv({}), refusal("EINVAL", /takes its receives from SRQ \d+: post there/));
  assert.throws(
    () => srq.postRecv({ sgList: [piece(b, 0, 1), piece(b, 0, 1), piece(b, 0, 1)] }),
    refusal("EINVAL", /takes 2 SGEs/),
  );
  for (const qp of [...qps, ...senders]) qp.destroy();
  srq.destroy();
  tearDown(a, b);
});

verbsTest("objects go in order, or say what holds them", async (world) => {
  const context = await world.open();
  const pd = context.allocPd();
  const cq = context.createCq(1);
  const memory = context.allocMemory(100);
  const mr = pd.regMr(memory, ALL_ACCESS);
  const qp = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
  const ah = pd.createAh({ dlid: 1 });
  assert.throws(
    () => pd.destroy(),
    refusal("EBUSY", /^PD \d+ is still held by MR 0x\w+, QP 0x\w+, AH to LID 1: destroy them first$/),
  );
  assert.throws(() => cq.destroy(), refusal("EBUSY", /^CQ \d+ is still held by QP/));
  assert.throws(() => memory.destroy(), refusal("EBUSY", /memory of 100 bytes is still held by MR/));
  assert.throws(() => context.close(), refusal("EBUSY", /^HCA is still held by /));
  for (const object of [qp, ah, mr, memory, cq, pd]) object.destroy();
  qp.destroy();
  assert.throws(() => pd.regMr(memory), refusal("EINVAL", /PD \d+ has been destroyed/));
  assert.throws(() => qp.modify({ qpState: "INIT" }), refusal("EINVAL", /QP 0x\w+ has been destroyed: too late to modify it/));
  {
    using again = context.allocPd();
    using queue = context.createCq(7);
    using pair = again.createQp({ qpType: "RC", sendCq: queue, recvCq: queue });
    assert.equal(pair.state, "RESET");
  }
});
