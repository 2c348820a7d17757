// The subnet administration's client: paths and multicast groups. IBA vol 1, 15.2.5.16, 15.2.5.17, 15.4.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MadHeader, SaHeader } from "../../src/spec/mad/headers.ts";
import { MadStatus, Method, MgmtClass } from "../../src/spec/mad/numbers.ts";
import { type Context, gidText } from "../../src/verbs/index.ts";
import { SimulatedFabric } from "./simulated.ts";
import { bringUp, newEnds, piece, refusal, tearDown, verbsTest } from "./worlds.ts";

const MGID = Uint8Array.of(0xff, 0x12, 0xa0, 0x1c, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42);
const GROUP_QKEY = 0x11111111;
const isSa = (mad: DataView): boolean => MadHeader.mgmtClass.get(mad, 0) === MgmtClass.SUBN_ADM;

verbsTest("paths by GID and by LID; none to who is not there", async (world) => {
  const [a, b] = [await world.open(), await world.open()];
  const dgid = b.queryGid();
  const byGid = await a.queryPath({ dgid });
  assert.equal(byGid.dlid, b.queryPort().lid);
  assert.equal(byGid.slid, a.queryPort().lid);
  assert.deepEqual([byGid.mtu, byGid.pkey, byGid.sl, byGid.hopLimit], [2048, 0xffff, 0, 0]);
  assert.equal(gidText(byGid.sgid), gidText(a.queryGid()));
  assert.deepEqual(await a.queryPath({ dlid: byGid.dlid }), byGid);
  const stranger = Uint8Array.from([...dgid.subarray(0, 8), 0, 2, 0xc9, 3, 0, 0, 0, 1]);
  await assert.rejects(
    a.queryPath({ dgid: stranger }),
    refusal("EHOSTUNREACH", /path to GID fe80::2:c903:0:1: .* answered REQ_INVALID_GID \(status 0x0500\)/),
  );
  await assert.rejects(a.queryPath({ dlid: 999 }), refusal("EHOSTUNREACH", /path to LID 999: .*NO_RECORDS/));
  await assert.rejects(a.queryPath({ dlid: 0 }), refusal("EINVAL", /dlid 0 is no LID/));
  await assert.rejects(a.queryPath({ dgid: dgid.subarray(1) }), refusal("EINVAL", /16 bytes, not 15/));
});

verbsTest("a multicast group: created, joined, heard, left", async (world) => {
  const [a, b] = await newEnds(world, { qpType: "UD" });
  bringUp(a.qp, b);
  bringUp(b.qp, a);
  await assert.rejects(
    a.context.joinMulticast(MGID),
    refusal("EINVAL", /joining multicast group ff12:a01c:ffff::2a: .*REQ_INSUFFICIENT_COMPONENTS/),
  );
  const made = await a.context.joinMulticast(MGID, { qkey: 0x1234 });
  assert.ok(made.mlid >= 0xc000);
  assert.deepEqual([made.qkey, made.pkey, made.mtu], [0x1234, 0xffff, 2048]);
  const joined = await b.context.joinMulticast(MGID);
  assert.deepEqual([joined.mlid, joined.qkey], [made.mlid, 0x1234]);
  await assert.rejects(b.context.joinMulticast(MGID, { qkey: 1 }), refusal("EINVAL", /has Q_Key 4660, not 1/));

  b.qp.attachMcast(MGID);
  const ah = a.pd.createAh(made.address);
  const datagram = { opcode: "SEND", ah, remoteQpn: 0xffffff, remoteQkey: made.qkey, sgList: [piece(a, 0, 5)] } as const;
  const received = b.qp.recv({ sgList: [piece(b, 0, 100)] });
  a.mr.bytes.write("hello");
  await a.qp.send(datagram);
  assert.equal((await received).byteLen, 45);
  assert.equal(b.mr.bytes.toString("latin1", 40, 45), "hello");

  // two parts of the program are members: the port leaves with the second
  const again = await b.context.joinMulticast(MGID);
  await joined.leave();
  await joined.leave();
  const still = b.qp.recv({ sgList: [piece(b, 0, 100)] });
  await a.qp.send(datagram);
  assert.equal((await still).byteLen, 45);
  await again.leave();
  b.qp.postRecv({ wrId: 77, sgList: [piece(b, 0, 100)] });
  await a.qp.send(datagram);
  await made.leave();
  // nobody is left, so the group is gone: joining without a Q_Key makes none
  await assert.rejects(b.context.joinMulticast(MGID), refusal("EINVAL", /REQ_INSUFFICIENT_COMPONENTS/));
  assert.equal(b.qp.recvRoom, 63, "the last datagram was not for us");
  b.qp.detachMcast(MGID);
  ah.destroy();
  tearDown(a, b);
});

verbsTest("what is no multicast GID is refused; joining, leaving and joining at once", async (world) => {
  const a = await world.open();
  await assert.rejects(a.joinMulticast(a.queryGid()), refusal("EINVAL", /is no multicast GID/));
  const first = await a.joinMulticast(MGID, { qkey: GROUP_QKEY });
  const leaving = first.leave();
  const [second, third] = await Promise.all([1, 2].map(() => a.joinMulticast(MGID, { qkey: GROUP_QKEY })));
  await leaving;
  await second?.leave();
  assert.equal((await a.joinMulticast(MGID)).qkey, GROUP_QKEY, "the third still holds it");
  await third?.leave();
});

/** Runs `work` with all SA traffic of `context` written down. */
function traced(context: Context, nowMs: () => number): string[] {
  const trace: string[] = [];
  const before = context.mads.filter;
  context.mads.filter = (mad, isSent) => {
    const lost = before(mad, isSent);
    if (isSa(mad)) {
      const method = MadHeader.method.get(mad, 0).toString(16);
      trace.push(`${nowMs()} ${isSent ? ">" : "<"} ${method} ${MadHeader.tid.getBig(mad, 0).toString(16)}${lost ? " lost" : ""}`);
    }
    return lost;
  };
  return trace;
}

test("requests and answers that are lost are sent again, at the same times in every run", async () => {
  const run = async (): Promise<string[]> => {
    const world = new SimulatedFabric(5);
    const [a, b] = await world.open(2);
    let toLose = 3;
    a!.mads.filter = (mad, isSent) => isSa(mad) && (isSent ? toLose > 1 : true) && toLose-- > 0;
    const startMs = world.nowMs;
    const trace = traced(a!, () => world.nowMs - startMs);
    const path = await world.during(a!.queryPath({ dgid: b!.queryGid() }));
    assert.equal(path.dlid, b!.queryPort().lid);
    assert.deepEqual([a!.sa.counts.retried, a!.sa.counts.timedOut], [3, 0]);
    return trace;
  };
  const first = await run();
  assert.deepEqual(first, await run());
  assert.deepEqual(
    first.map((line) => line.replace(/ [0-9a-f]{9,}/, "")),
    ["0 > 1 lost", "250 > 1 lost", "750 > 1", "750 < 81 lost", "1750 > 1", "1750 < 81"],
  );
});

test("an administration that is silent, busy, or not the one that was asked", async () => {
  const world = new SimulatedFabric();
  const [a, b] = await world.open(2);
  const { lid, smLid } = a!.queryPort();
  const query = (): Promise<unknown> => a!.queryPath({ dgid: b!.queryGid() });

  a!.mads.filter = (mad) => isSa(mad);
  const startMs = world.nowMs;
  await assert.rejects(world.during(query()), refusal("ETIMEDOUT", /path to GID .* has not answered 5 times/));
  assert.equal(world.nowMs - startMs, 250 + 500 + 1000 + 2000 + 4000);

  let isBusy = true;
  a!.mads.filter = (mad, isSent) => {
    if (!isSent && isBusy) MadHeader.status.set(mad, 0, MadStatus.BUSY);
    isBusy &&= isSent;
    return false;
  };
  await world.during(query());
  assert.equal(a!.sa.counts.retried, 4 + 1);

  // somebody else answers first, with the right transaction id
  const before = a!.sa.counts.unmatched;
  a!.mads.filter = (mad, isSent) => {
    if (!isSent || !isSa(mad)) return false;
    const forged = new DataView(mad.buffer.slice(0));
    MadHeader.method.set(forged, 0, Method.GET_RESP);
    MadHeader.status.set(forged, 0, 0x0300);
    SaHeader.componentMask.setBig(forged, 0, 0n);
    b!.mads.send(forged, { dlid: lid, sl: 0 });
    return false;
  };
  assert.notEqual(smLid, b!.queryPort().lid);
  await world.during(query());
  await world.elapse(5);
  assert.equal(a!.sa.counts.unmatched, before + 1);
});

test("without a subnet manager there is nobody to ask", async () => {
  const world = new SimulatedFabric();
  const context = world.fabric.openDevice({ memoryBytes: 16 << 20, mtts: 16384 });
  await assert.rejects(context.queryPath({ dlid: 1 }), refusal("EHOSTUNREACH", /no subnet manager has been here: the port is/));
});
