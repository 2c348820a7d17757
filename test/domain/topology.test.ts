// A device domain with a topology: HCAs are its hosts, the others answer for themselves, all in one subnet.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { ALL_ACCESS, connectQp, openDevice } from "../../src/verbs/index.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-topology-"));
const domain = new DomainHandle({ log: silentLog, topology: shapeTopology("fat-tree:4") });
after(async () => {
  await domain.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function open(name: string, home: DomainHandle = domain) {
  const socketPath = join(folder, home === domain ? name : `other-${name}`);
  await home.addHca({ name, socketPath });
  const context = await openDevice(socketPath, { memoryBytes: 16 << 20, mtts: 16384 });
  await context.portActive();
  const pd = context.allocPd();
  const cq = context.createCq(64);
  const memory = context.allocMemory(4096);
  const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const mr = pd.regMr(memory, ALL_ACCESS);
  const close = (): void => {
    for (const object of [qp, mr, memory, cq, pd]) object.destroy();
    context.close();
  };
  return { memory, qp, mr, lid: context.queryPort().lid, close };
}

test("two HCAs in different pods of a fat tree of phantoms: one subnet, data arrives", async () => {
  const a = await open("n1");
  const b = await open("n16");
  connectQp(a.qp, { lid: b.lid, qpNum: b.qp.qpNum });
  connectQp(b.qp, { lid: a.lid, qpNum: a.qp.qpNum });
  a.memory.bytes.fill(0x5a);
  const { addr, lkey } = a.mr;
  await a.qp.send({ opcode: "RDMA_WRITE", sgList: [{ addr, length: 4096, lkey }], remoteAddr: b.mr.addr, rkey: b.mr.rkey });
  assert.ok(b.memory.bytes.every((byte) => byte === 0x5a));
  const { fabric, hcas } = await domain.describe();
  assert.deepEqual([fabric.nodeCount, fabric.linkCount, fabric.linksUp, fabric.isCut], [36, 48, 48, false]);
  assert.deepEqual(
    hcas.map(({ portState }) => portState),
    [4, 4],
  );
  const { items, next } = await domain.fabric.nodes(0, 1000);
  assert.equal(next, undefined);
  assert.equal(items.filter(({ isPhantom }) => isPhantom).length, 14);
  for (const { description, ports } of items) {
    for (const { state } of ports) assert.equal(state, "ACTIVE", description);
  }
  const [second] = (await domain.fabric.nodes(1, 1)).items;
  assert.equal(second?.description, items[1]?.description);
  a.close();
  assert.equal(await domain.removeHca("n1"), true);
  assert.equal((await domain.describe()).fabric.linksUp, 48, "a phantom again");
  b.close();
});

const LANES = `
switches: { s1: { ports: 4 }, s2: { ports: 4 } }
hosts: { n1: { switch: s1 }, n2: { switch: s2 } }
links: [{ ends: [s1, s2], width: 1X, speed: SDR }]
lanes: true
qos: { vl: [0, 1], low: { 0: 64, 1: 64 } }
`;

test("a topology with lanes: data go hop by hop in the engine's own time, and the ports between say so", async () => {
  const other = new DomainHandle({ log: silentLog, topology: parseTopology(LANES, "lanes.yaml") });
  try {
    const a = await open("n1", other);
    const b = await open("n2", other);
    connectQp(a.qp, { lid: b.lid, qpNum: b.qp.qpNum, sl: 1 });
    connectQp(b.qp, { lid: a.lid, qpNum: a.qp.qpNum, sl: 1 });
    const { addr, lkey } = a.mr;
    for (let i = 1; i <= 50; i++) {
      a.memory.bytes.fill(i);
      const sgList = [{ addr, length: 4096, lkey }];
      const { status } = await a.qp.send({ opcode: "RDMA_WRITE", sgList, remoteAddr: b.mr.addr, rkey: b.mr.rkey });
      assert.equal(status, "SUCCESS");
      assert.ok(b.memory.bytes.every((byte) => byte === i));
    }
    const { items } = await other.fabric.links(0, 10);
    const cable = items.find(({ width }) => width === "1X");
    const words = (50 * 4096) / 4;
    assert.ok((cable?.a.counters.xmitDataSl1 ?? 0) > words, JSON.stringify(cable));
    assert.ok((cable?.b.counters.rcvDataSl1 ?? 0) > words);
    const host = items.find(({ a: end }) => end.node === "n1");
    assert.ok((host?.a.counters.xmitDataSl1 ?? 0) > words);
    assert.deepEqual(
      items.flatMap(({ a: one, b: two }) => [...one.lanes, ...two.lanes]),
      [],
      "nothing is under way",
    );
    a.close();
    b.close();
  } finally {
    await other.stop();
  }
});

test("what cannot be built is refused at once", () => {
  const topology = shapeTopology("pair");
  assert.throws(
    () => new DomainHandle({ log: silentLog, topology, engines: 2 }),
    /lives in one engine for now: expected 1, got 2/,
  );
  const nodes = topology.nodes.filter(({ kind }) => kind === "host");
  assert.throws(() => new DomainHandle({ log: silentLog, topology: { ...topology, nodes, links: [] } }), /there is no switch/);
});
