// A device domain with a topology: HCAs are its hosts, the others answer for themselves, all in one subnet.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { ALL_ACCESS, connectQp, openDevice } from "../../src/verbs/index.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-topology-"));
const domain = new DomainHandle({ log: silentLog, topology: shapeTopology("fat-tree:4") });
after(async () => {
  await domain.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function open(name: string) {
  const socketPath = join(folder, name);
  await domain.addHca({ name, socketPath });
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

test("what cannot be built is refused at once", () => {
  const topology = shapeTopology("pair");
  assert.throws(
    () => new DomainHandle({ log: silentLog, topology, engines: 2 }),
    /lives in one engine for now: expected 1, got 2/,
  );
  const nodes = topology.nodes.filter(({ kind }) => kind === "host");
  assert.throws(() => new DomainHandle({ log: silentLog, topology: { ...topology, nodes, links: [] } }), /there is no switch/);
});
