// A device domain with several engine threads: HCAs on different ones are on one subnet and exchange packets; nobody sees a difference.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { silentLog } from "../../src/base/log.ts";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import type { NodeView, PortView } from "../../src/fabric/inspect.ts";
import { ALL_ACCESS, type Context, connectQp, openDevice, type QueuePair } from "../../src/verbs/index.ts";

/** Of data only: management has service level 0. */
const DATA_SL = 3;
const SENT = `xmitDataSl${DATA_SL}`;
const RECEIVED = `rcvDataSl${DATA_SL}`;
const folder = mkdtempSync(join(tmpdir(), "vhca-engines-"));
const domain = new DomainHandle({ log: silentLog, engines: 2 });
after(async () => {
  await domain.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function open(name: string): Promise<Context> {
  const socketPath = join(folder, name);
  await domain.addHca({ name, socketPath });
  const context = await openDevice(socketPath, { memoryBytes: 16 << 20, mtts: 16384 });
  await context.portActive();
  return context;
}

/** Each end of a cable has received what the other one has sent, and each switch has sent what it has received. */
function compareCounters(nodes: readonly NodeView[]): void {
  const counted = ({ counters }: PortView): number[] => [counters[SENT] ?? 0, counters[RECEIVED] ?? 0];
  for (const { name, type, ports } of nodes) {
    for (const port of ports) {
      const far = nodes.find(({ guid }) => guid === port.peer?.node)?.ports.find(({ number }) => number === port.peer?.port);
      if (far !== undefined) assert.deepEqual(counted(port), counted(far).reverse(), `${name}:${port.number}`);
    }
    const sums = [0, 1].map((i) => ports.reduce((sum, port) => sum + counted(port)[i]!, 0));
    assert.ok(sums[0]! >= 1e6 / 4, `${name} counts`);
    if (type === "SWITCH") assert.equal(sums[0], sums[1], `${name} sends what it receives`);
  }
}

interface End {
  qp: QueuePair;
  lid: number;
  bytes: Uint8Array;
  addr: number;
  lkey: number;
  rkey: number;
  destroy(): void;
}

function end(context: Context, length: number): End {
  const pd = context.allocPd();
  const cq = context.createCq(64);
  const memory = context.allocMemory(length);
  const mr = pd.regMr(memory, ALL_ACCESS);
  const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
  const destroy = (): void => {
    for (const object of [qp, mr, memory, cq, pd]) object.destroy();
  };
  const { addr, lkey, rkey } = mr;
  return { qp, addr, lkey, rkey, bytes: memory.bytes, lid: context.queryPort().lid, destroy };
}

test("HCAs on two engines: one subnet, every operation, sleepers woken", async () => {
  const contexts = [];
  for (const name of ["h1", "h2", "h3", "h4"]) contexts.push(await open(name));
  const lids = contexts.map((context) => context.queryPort().lid);
  assert.equal(new Set(lids).size, 4);
  const length = 1 << 20;
  for (const [from, to] of [
    [0, 1],
    [1, 2],
    [0, 2],
    [3, 0],
  ] as const) {
    const a = end(contexts[from]!, length);
    const b = end(contexts[to]!, length);
    connectQp(a.qp, { lid: b.lid, qpNum: b.qp.qpNum, sl: DATA_SL });
    connectQp(b.qp, { lid: a.lid, qpNum: a.qp.qpNum, sl: DATA_SL });
    for (let i = 0; i < length; i++) a.bytes[i] = (i * 7 + from) & 0xff;
    const remote = { remoteAddr: b.addr, rkey: b.rkey };
    await a.qp.send({ opcode: "RDMA_WRITE", sgList: [{ addr: a.addr, length, lkey: a.lkey }], ...remote });
    assert.ok(Buffer.from(b.bytes).equals(Buffer.from(a.bytes)), `write from ${from} to ${to}`);
    // Both engines are asleep by now; each message has to wake one.
    await setTimeout(60);
    b.bytes.reverse();
    await a.qp.send({ opcode: "RDMA_READ", sgList: [{ addr: a.addr, length, lkey: a.lkey }], ...remote });
    assert.ok(Buffer.from(b.bytes).equals(Buffer.from(a.bytes)), `read by ${from} from ${to}`);
    const received = b.qp.recv({ sgList: [{ addr: b.addr, length: 5000, lkey: b.lkey }] });
    await a.qp.send({ opcode: "SEND", sgList: [{ addr: a.addr + 1, length: 4999, lkey: a.lkey }] });
    assert.equal((await received).byteLen, 4999);
    a.destroy();
    b.destroy();
  }
  // Duplicates of what was slow may still be under way.
  await setTimeout(60);
  const { hcas, fabric, engine } = await domain.describe();
  assert.deepEqual([engine.packetsMalformed, engine.packetsUnroutable, engine.managementWithoutRoom], [0, 0, 0]);
  assert.deepEqual(
    hcas.map(({ name }) => name),
    ["h1", "h2", "h3", "h4"],
  );
  assert.equal(fabric.nodes.filter(({ type }) => type === "SWITCH").length, 2);
  const switches = fabric.nodes.filter(({ type }) => type === "SWITCH").map(({ guid }) => guid);
  assert.ok(fabric.links.some(({ a, b, isUp }) => a === switches[0] && b === switches[1] && isUp));
  // The third pair is on one engine.
  const packets = hcas.map(({ counters }) => counters.packetsReceived ?? 0);
  assert.ok(
    packets.every((count) => count > 0),
    packets.join(),
  );
  assert.equal(hcas[2]?.counters.packetsSent, undefined);
  compareCounters(fabric.nodes);
  for (const context of contexts) context.close();
  assert.equal(await domain.removeHca("h2"), true);
  await assert.rejects(domain.tree("h2"), /there is no HCA named h2; there are: h1, h3, h4/);
});

test("names and GUIDs are taken on all engines; the number of engines is checked", async () => {
  const guid = 0x0002c90200009990n;
  await domain.addHca({ name: "x1", socketPath: join(folder, "x1"), nodeGuid: guid });
  await assert.rejects(
    domain.addHca({ name: "x2", socketPath: join(folder, "x2"), nodeGuid: guid }),
    /GUID .* is already in the fabric/,
  );
  await assert.rejects(domain.addHca({ name: "x1", socketPath: join(folder, "x3") }), /already an HCA named x1/);
  assert.equal(await domain.removeHca("x1"), true);
  assert.equal(await domain.removeHca("x1"), false);
  assert.throws(() => new DomainHandle({ log: silentLog, engines: 0 }), /expected 1 to 16, got 0/);
});
