// The device domain as VMs meet it: its own thread, vfio-user sockets, shared memory, eventfds. This process plays the VMs.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { DomainHandle } from "../../src/domain/domain-handle.ts";
import { SocketAccess } from "../../src/driver/backends/socket-access.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Device } from "../../src/driver/device.ts";
import { ManagementAgent } from "../../src/driver/management-agent.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { addressOf } from "../../src/host/libc.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { PortState, Service } from "../../src/spec/ib/numbers.ts";
import { ALL_ACCESS } from "../in-process/pair.ts";

const quiet = { debug: (): void => {}, info: (): void => {}, warn: (): void => {} };
const MIB = 2 ** 20;
const MEMORY = 64 * MIB;
const TIMEOUT_MS = 20_000;

interface Machine {
  access: SocketAccess;
  device: Device;
  agent: ManagementAgent;
  lid: number;
}

async function startDomain(
  t: TestContext,
  names: readonly string[],
  doorbells: "mapped" | "trapped",
): Promise<{ domain: DomainHandle; path: (n: string) => string }> {
  const folder = mkdtempSync(join(tmpdir(), "vhca-domain-"));
  const domain = new DomainHandle({ log: quiet });
  t.after(async () => {
    await domain.stop();
    rmSync(folder, { recursive: true });
  });
  const path = (name: string): string => join(folder, `${name}.sock`);
  for (const name of names) await domain.addHca({ name, socketPath: path(name), doorbells });
  return { domain, path };
}

/** Connects as a VM would, loads the driver, and lets the subnet manager bring the port up. */
async function boot(t: TestContext, domain: DomainHandle, name: string, path: string, memory = MEMORY): Promise<Machine> {
  const access = new SocketAccess(path, memory);
  t.after(() => access.close());
  const device = new Device(access, { mtts: 8192 });
  const agent = new ManagementAgent(device);
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    access.settle();
    agent.run();
    const hca = (await domain.describe()).hcas.find((h) => h.name === name);
    if (hca?.portState === PortState.ACTIVE) return { access, device, agent, lid: hca.lid };
    assert.ok(performance.now() < deadline, `${name}: port ${hca?.portState} after ${TIMEOUT_MS} ms`);
  }
}

interface Endpoint {
  qp: DriverQueuePair;
  cq: DriverCompletionQueue;
  region: Region;
  bytes: Uint8Array;
}

function endpoint(machine: Machine, length = 4096): Endpoint {
  const { device, access } = machine;
  const pd = device.allocatePd();
  const cq = new DriverCompletionQueue(device, 63, pd);
  const region = new Region(device, device.heap.allocate(length), { pd, access: ALL_ACCESS });
  const qp = new DriverQueuePair(device, { service: Service.RC, pd, sendCq: cq, receiveCq: cq });
  return { qp, cq, region, bytes: access.memory.bytes.subarray(region.block.at, region.block.at + length) };
}

function connect(a: Machine, b: Machine, left: DriverQueuePair, right: DriverQueuePair): void {
  left.init();
  right.init();
  left.readyToReceive({ remoteQpn: right.number, dlid: b.lid });
  right.readyToReceive({ remoteQpn: left.number, dlid: a.lid });
  left.readyToSend({ remoteQpn: right.number, dlid: b.lid, retryCount: 1, ackTimeout: 10 });
}

function waitForCompletion(machine: Machine, cq: DriverCompletionQueue): number | undefined {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const [done] = cq.poll(1);
    if (done !== undefined) return done.syndrome;
    assert.ok(performance.now() < deadline, "no completion");
    machine.access.settle();
  }
}

async function waitUntil(isDone: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!(await isDone())) assert.ok(performance.now() < deadline, "timed out");
}

for (const doorbells of ["mapped", "trapped"] as const) {
  test(`two VMs on sockets move data (${doorbells})`, async (t) => {
    const { domain, path } = await startDomain(t, ["a", "b"], doorbells);
    const a = await boot(t, domain, "a", path("a"));
    const b = await boot(t, domain, "b", path("b"));
    assert.equal(a.access.isMapped, doorbells === "mapped");
    const [left, right] = [endpoint(a), endpoint(b)];
    connect(a, b, left.qp, right.qp);
    const before = await domain.describe();
    left.bytes.fill(0x42);
    const { virtualAddress, lkey } = left.region;
    const remote = { remoteAddress: right.region.virtualAddress, rkey: right.region.rkey };
    for (let i = 0; i < 20; i++) {
      left.qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [{ address: virtualAddress, length: 4096, lkey }], ...remote });
      assert.equal(waitForCompletion(a, left.cq), 0);
    }
    assert.ok(right.bytes.every((byte) => byte === 0x42));
    const after = await domain.describe();
    const messages = (view: typeof after): number => view.hcas[0]?.messages.messagesIn ?? 0;
    if (doorbells === "mapped") assert.equal(messages(after), messages(before), "no message on the data path");
    else assert.ok(messages(after) - messages(before) >= 20);

    // the peer's VM is killed; the engine learns of it when it next looks at its sockets
    b.access.close();
    await waitUntil(async () => (await domain.describe()).hcas.find((h) => h.name === "b")?.isConnected === false);
    left.qp.postSend({ opcode: SendOpcode.RDMA_WRITE, inline: Uint8Array.of(1), ...remote });
    assert.equal(waitForCompletion(a, left.cq), Syndrome.TRANSPORT_RETRY);
    const again = await boot(t, domain, "b", path("b"));
    assert.ok(again.lid > 0);
  });
}

/** Where the engine has mapped the memory of a machine; it is a thread of this process. */
function placeInEngine({ access }: Machine): number {
  const own = addressOf(access.memory.bytes.buffer as ArrayBuffer);
  const mapped = [...readFileSync("/proc/self/maps", "utf8").matchAll(/^(\w+)-\S+ \S+ \S+ \S+ (\d+) +\/memfd:vhca-guest/gm)];
  const places = mapped.map(([, from = "", inode]) => ({ from: Number.parseInt(from, 16), inode }));
  const inode = places.find(({ from }) => from === own)?.inode;
  return places.find((place) => place.inode === inode && place.from !== own)?.from ?? 0;
}

test("VMs that come and go find room in the engine's window each time, though only two have some at a time", async (t) => {
  const { domain, path } = await startDomain(t, ["a", "b"], "mapped");
  const seen: number[][] = [];
  for (let round = 0; round < 5; round++) {
    const a = await boot(t, domain, "a", path("a"), 1500 * MIB);
    const b = await boot(t, domain, "b", path("b"), 1500 * MIB);
    const [left, right] = [endpoint(a), endpoint(b)];
    connect(a, b, left.qp, right.qp);
    right.qp.readyToSend({ remoteQpn: left.qp.number, dlid: a.lid, retryCount: 1, ackTimeout: 10 });
    const { virtualAddress, lkey } = left.region;
    const remote = { remoteAddress: right.region.virtualAddress, rkey: right.region.rkey };
    for (let i = 0; i < 20; i++) {
      left.qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [{ address: virtualAddress, length: 2048, lkey }], ...remote });
      assert.equal(waitForCompletion(a, left.cq), 0);
    }
    seen.push([placeInEngine(a), placeInEngine(b)]);
    for (const { access } of [a, b]) access.close();
    await waitUntil(async () => (await domain.describe()).hcas.every((hca) => !hca.isConnected));
  }
  const [first] = seen;
  assert.ok(first?.every((place) => place > 0) && first[1] === first[0]! + 1500 * MIB, "one behind the other");
  for (const places of seen) assert.deepEqual(places, first);
});

test("the domain answers while it works, refuses what cannot be, and ends cleanly", async (t) => {
  const { domain, path } = await startDomain(t, ["a"], "mapped");
  await assert.rejects(domain.addHca({ name: "a", socketPath: path("x") }), /already an HCA named a/);
  await assert.rejects(domain.addHca({ name: "z", socketPath: "/nonexistent/folder/z.sock" }), /nonexistent/);
  assert.equal(await domain.removeHca("nobody"), false);
  assert.equal(await domain.removeHca("a"), true);
  await domain.addHca({ name: "a", socketPath: path("a") });
  const views = await Promise.all(Array.from({ length: 50 }, () => domain.describe()));
  assert.ok(views.every((view) => view.hcas.length === 1));
  await domain.stop();
  await assert.rejects(domain.describe(), /ended/);
});

test("memory that is taken away while data move: the transfer fails at both ends, the domain and its next guests go on", async (t) => {
  const { domain, path } = await startDomain(t, ["a", "b"], "mapped");
  const a = await boot(t, domain, "a", path("a"));
  // Rounds of each kind, those whose first write is waited for and the others, in which there was something left to fail.
  const failed = [0, 0];
  for (let round = 0; Math.min(...failed) < 5; round++) {
    assert.ok(round < 100, `${failed}`);
    const b = await boot(t, domain, "b", path("b"));
    const left = endpoint(a, 8 << 20);
    const right = endpoint(b, 8 << 20);
    connect(a, b, left.qp, right.qp);
    const { virtualAddress, lkey } = left.region;
    const remote = { remoteAddress: right.region.virtualAddress, rkey: right.region.rkey };
    for (let i = 0; i < 30; i++) {
      left.qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [{ address: virtualAddress, length: 8 << 20, lkey }], ...remote });
    }
    // The first ones are under way when the memory goes.
    if (round % 2 === 0) assert.equal(waitForCompletion(a, left.cq), 0);
    b.access.unmapMemory();
    const syndromes = new Set<number | undefined>();
    for (let i = round % 2 === 0 ? 1 : 0; i < 30; i++) syndromes.add(waitForCompletion(a, left.cq));
    // On a busy machine all may have been carried out before this thread has taken the memory away.
    if (syndromes.size > 1 || !syndromes.has(0)) {
      failed[round % 2]!++;
      assert.ok(syndromes.has(Syndrome.REMOTE_ACCESS), `round ${round}: ${[...syndromes]}`);
      assert.ok(syndromes.has(Syndrome.WR_FLUSHED));
    }
    b.access.close();
    left.qp.reset();
    left.region.deregister();
    a.device.heap.free(left.region.block);
    await waitUntil(async () => (await domain.describe()).hcas.find((h) => h.name === "b")?.isConnected === false);
  }
});
