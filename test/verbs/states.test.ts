// States of queue pairs, errors of requests, asynchronous events, ports and groups.

import assert from "node:assert/strict";
import { bringUp, newEnds, newPair, piece, QKEY, refusal, tearDown, verbsTest } from "./worlds.ts";

verbsTest("what an HCA and its port are", async (world) => {
  const context = await world.open();
  const device = context.queryDevice();
  assert.deepEqual([device.vendorId, device.vendorPartId, device.physPortCnt], [0x2c9, 25204, 1]);
  assert.match(device.nodeGuid, /^[0-9a-f]{16}$/);
  assert.ok(device.maxQpWr >= 1024 && device.maxSge >= 4 && device.maxCqe >= 1024);
  const port = context.queryPort(1);
  assert.deepEqual([port.state, port.maxMtu, port.activeMtu], ["ACTIVE", 2048, 2048]);
  assert.ok(port.lid > 0 && port.smLid > 0 && port.gidTblLen > 0);
  const gid = context.queryGid(1, 0);
  assert.equal(Buffer.from(gid).toString("hex", 0, 8), "fe80000000000000");
  assert.equal(context.queryPkey(1, 0), 0xffff);
  assert.equal(context.queryPkey(1, 1), 0);
  assert.throws(() => context.queryPort(2), refusal("EINVAL", /port 2: the HCA has port 1 only/));
  assert.throws(() => context.queryGid(1, 4711), refusal("EINVAL", /GID index 4711: the port has 32/));
});

verbsTest("modify names what a transition lacks or does not take", async (world) => {
  const [a, b] = await newEnds(world);
  const { qp } = a;
  assert.throws(
    () => qp.modify({ qpState: "RTR" }),
    refusal("EINVAL", /RTR does not follow RESET; what follows is INIT, RESET, ERR/),
  );
  assert.throws(
    () => qp.modify({ qpState: "INIT", pkeyIndex: 0, qkey: 1 }),
    refusal("EINVAL", /RESET → INIT of a RC QP needs portNum, qpAccessFlags and does not take qkey/),
  );
  assert.throws(
    () => qp.modify({ qpState: "INIT", pkeyIndex: 200, portNum: 1, qpAccessFlags: 0 }),
    refusal("EINVAL", /pkeyIndex 200: must be 0 to 127/),
  );
  assert.throws(() => qp.postSend({ opcode: "SEND" }), refusal("EINVAL", /in state RESET no sends/));
  assert.throws(() => qp.postRecv({}), refusal("EINVAL", /in state RESET no receives/));
  bringUp(qp, b);
  const state = qp.query();
  assert.deepEqual(
    [state.qpState, state.destQpNum, state.pathMtu, state.timeout, state.retryCnt, state.rnrRetry, state.minRnrTimer],
    ["RTS", b.qp.qpNum, 2048, 14, 7, 7, 12],
  );
  assert.deepEqual([state.ahAttr?.dlid, state.maxRdAtomic, state.maxDestRdAtomic, state.qpAccessFlags], [b.lid, 4, 4, 14]);
  qp.modify({ qpAccessFlags: 0, minRnrTimer: 20 });
  assert.deepEqual([qp.query().qpAccessFlags, qp.query().minRnrTimer], [0, 20]);
  tearDown(a, b);
});

verbsTest("a queue pair is reset and used again", async (world) => {
  const [a, b] = await newPair(world);
  b.qp.postRecv({ sgList: [piece(b, 0, 8)] });
  a.qp.postSend({ opcode: "SEND", sgList: [piece(a, 0, 8)] });
  await b.cq.next();
  for (const end of [a, b]) end.qp.modify({ qpState: "RESET" });
  assert.equal(a.qp.query().qpState, "RESET");
  bringUp(a.qp, b);
  bringUp(b.qp, a);
  const received = b.qp.recv({ wrId: 77, sgList: [piece(b, 0, 8)] });
  assert.equal((await a.qp.send({ opcode: "SEND", wrId: 78, sgList: [piece(a, 0, 8)] })).wrId, 78);
  assert.equal((await received).wrId, 77);
  tearDown(a, b);
});

verbsTest("ERR flushes what was posted, in order", async (world) => {
  const [a, b] = await newPair(world);
  for (let i = 0; i < 3; i++) a.qp.postRecv({ wrId: i, sgList: [piece(a, 0, 8)] });
  a.qp.modify({ qpState: "ERR" });
  a.qp.postSend({ opcode: "SEND", wrId: 3, sgList: [piece(a, 0, 8)] });
  const ids: number[] = [];
  for (let i = 0; i < 4; i++) {
    const wc = await a.cq.next({ timeoutMs: 5000 });
    assert.equal(wc.status, "WR_FLUSH_ERR");
    ids.push(wc.wrId);
  }
  assert.deepEqual(
    ids.filter((id) => id < 3),
    [0, 1, 2],
  );
  assert.ok(ids.includes(3));
  tearDown(a, b);
});

verbsTest("a receiver that is not ready, a receiver that is gone", async (world) => {
  const [a, b] = await newPair(world);
  a.qp.modify({ qpState: "RESET" });
  a.qp.modify({ qpState: "INIT", pkeyIndex: 0, portNum: 1, qpAccessFlags: 0 });
  const path = { ahAttr: { dlid: b.lid }, pathMtu: 2048, destQpNum: b.qp.qpNum, rqPsn: 0 } as const;
  a.qp.modify({ qpState: "RTR", ...path, maxDestRdAtomic: 1, minRnrTimer: 1 });
  a.qp.modify({ qpState: "RTS", sqPsn: 0, timeout: 8, retryCnt: 1, rnrRetry: 1, maxRdAtomic: 1 });
  const send = { opcode: "SEND", sgList: [piece(a, 0, 8)] } as const;
  await assert.rejects(a.qp.send(send, { timeoutMs: 5000 }), refusal("COMPLETION", /SEND on QP 0x\w+: RNR_RETRY_EXC_ERR/));
  const late = b.qp.recv({ sgList: [piece(b, 0, 8)] }, { timeoutMs: 20 });
  await assert.rejects(late, refusal("ETIMEDOUT", /waited 20 ms in vain for RECV on QP/));
  tearDown(a, b);
});

verbsTest("the send queue drains, and says so if asked", async (world) => {
  const [a, b] = await newPair(world);
  await a.qp.send({ opcode: "RDMA_WRITE", sgList: [piece(a, 0, 8)], remoteAddr: b.mr.addr, rkey: b.mr.rkey });
  a.qp.modify({ qpState: "SQD", enSqdAsyncNotify: true });
  for await (const event of a.context.asyncEvents()) {
    if (event.eventType !== "SQ_DRAINED") continue;
    assert.equal(event.qp, a.qp);
    break;
  }
  a.qp.postSend({ opcode: "RDMA_WRITE", wrId: 5, sgList: [piece(a, 0, 8)], remoteAddr: b.mr.addr, rkey: b.mr.rkey });
  await assert.rejects(a.cq.next({ timeoutMs: 20 }), refusal("ETIMEDOUT", /a completion of CQ/));
  a.qp.modify({ qpState: "RTS" });
  assert.equal((await a.cq.next({ timeoutMs: 5000 })).wrId, 5);
  tearDown(a, b);
});

verbsTest("asynchronous events name their object", async (world) => {
  const [a, b] = await newPair(world);
  const foreign = { remoteAddr: b.mr.addr, rkey: b.mr.rkey ^ 0x100 };
  const write = a.qp.send({ opcode: "RDMA_WRITE", sgList: [piece(a, 0, 8)], ...foreign });
  await assert.rejects(write, refusal("COMPLETION", /RDMA_WRITE on QP 0x\w+: REM_ACCESS_ERR/));
  for await (const event of b.context.asyncEvents()) {
    if (event.eventType === "COMM_EST" || event.eventType === "PORT_ACTIVE") continue;
    assert.ok(event.eventType === "QP_ACCESS_ERR" && event.qp === b.qp, event.eventType);
    break;
  }
  tearDown(a, b);
});

verbsTest("multicast: members get what is sent to their group", async (world) => {
  const [a, b] = await newEnds(world, { qpType: "UD" });
  bringUp(a.qp, b);
  const others = [0, 1].map(() => a.pd.createQp({ qpType: "UD", sendCq: a.cq, recvCq: a.cq }));
  for (const qp of others) bringUp(qp, b);
  const mgid = Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 9]);
  for (const qp of others) qp.attachMcast(mgid);
  others[0]?.attachMcast(mgid);
  // Members of the same HCA get it from their own port, so no switch need know the group.
  others.forEach((qp, i) => {
    qp.postRecv({ wrId: i, sgList: [piece(a, 1000 * (i + 1), 40 + 8)] });
  });
  const ah = a.pd.createAh({ dlid: 0xc001, grh: { dgid: mgid, hopLimit: 1 } });
  await a.qp.send({ opcode: "SEND", sgList: [piece(a, 0, 8)], ah, remoteQpn: 0xffffff, remoteQkey: QKEY });
  const got = [await a.cq.next({ timeoutMs: 5000 }), await a.cq.next({ timeoutMs: 5000 })];
  assert.deepEqual(got.map(({ qpNum }) => qpNum).sort(), others.map(({ qpNum }) => qpNum).sort());
  others[0]?.detachMcast(mgid);
  assert.throws(() => others[0]?.detachMcast(mgid), refusal("EINVAL", /is not attached/));
  assert.throws(() => a.pd.createAh({ dlid: 0xc001 }), refusal("EINVAL", /multicast LID, which needs a grh/));
  ah.destroy();
  for (const qp of others) qp.destroy();
  tearDown(a, b);
});
