// A hostile or dying VMM in front of the real HCA: memory that goes away while data move from and to it, clients that disappear in
// the middle of a transfer, and region accesses no driver would make.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { VfioUserClient } from "../../src/vfio-user/index.ts";
import { ALL_ACCESS } from "../in-process/pair.ts";
import { TestDomain, TestVm } from "./hca-vm.ts";
import { openDescriptors } from "./raw-peer.ts";

const MEMORY = 16 << 20;
const LENGTH = 4 << 20;

interface Endpoint {
  readonly vm: TestVm;
  readonly qp: DriverQueuePair;
  readonly cq: DriverCompletionQueue;
  readonly region: Region;
  readonly bytes: Buffer;
}

function endpoint(vm: TestVm): Endpoint {
  const { device } = vm;
  const pd = device.allocatePd();
  const cq = new DriverCompletionQueue(device, 63, pd);
  const region = new Region(device, device.heap.allocate(LENGTH), { pd, access: ALL_ACCESS });
  const qp = new DriverQueuePair(device, { service: Service.RC, pd, sendCq: cq, receiveCq: cq });
  return { vm, qp, cq, region, bytes: vm.memory.bytes.subarray(region.block.at, region.block.at + LENGTH) };
}

/** Two VMs and a connection between them; gone after the test, and nothing stays open. */
function twoVms(t: TestContext): { domain: TestDomain; left: Endpoint; right: Endpoint } {
  const before = openDescriptors();
  const domain = new TestDomain("a", "b");
  const vms = ["a", "b"].map((name) => new TestVm(domain, name, MEMORY));
  t.after(() => {
    for (const vm of vms) vm.close();
    domain.close();
    assert.equal(openDescriptors(), before, "descriptors leaked");
  });
  const [left, right] = vms.map(endpoint) as [Endpoint, Endpoint];
  const [from, to] = [domain.view("a").lid, domain.view("b").lid];
  for (const { qp } of [left, right]) qp.init();
  left.qp.readyToReceive({ remoteQpn: right.qp.number, dlid: to });
  right.qp.readyToReceive({ remoteQpn: left.qp.number, dlid: from });
  left.qp.readyToSend({ remoteQpn: right.qp.number, dlid: to, retryCount: 1, ackTimeout: 10 });
  return { domain, left, right };
}

function post({ qp, region }: Endpoint, to: Endpoint, opcode: number): void {
  qp.postSend({
    opcode,
    sges: [{ address: region.virtualAddress, length: LENGTH, lkey: region.lkey }],
    remoteAddress: to.region.virtualAddress,
    rkey: to.region.rkey,
  });
}

/** How far a transfer of 0x42s has come: the bytes at the target that have the value. */
const arrived = (bytes: Buffer): number => {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes.length : end;
};

/** Sweeps until some, but not all, of the data are there. */
function startTransfer(domain: TestDomain, target: Buffer): void {
  for (let i = 0; i < 100 && arrived(target) === 0; i++) domain.sweep();
  const done = arrived(target);
  assert.ok(done > 0 && done < LENGTH, `${done} bytes have arrived: expected to be in the middle`);
}

for (const [name, opcode] of [
  ["written", SendOpcode.RDMA_WRITE],
  ["read", SendOpcode.RDMA_READ],
] as const) {
  for (const victim of ["source", "target"] as const) {
    test(`HCA: the ${victim}'s memory is unmapped while it is ${name}: from the reply on it is not touched, and both VMs go on`, (t) => {
      const { domain, left, right } = twoVms(t);
      const [source, target] = opcode === SendOpcode.RDMA_WRITE ? [left, right] : [right, left];
      source.bytes.fill(0x42);
      post(left, right, opcode);
      startTransfer(domain, target.bytes);
      const { vm } = victim === "source" ? source : target;
      vm.unmapAll();
      const [kept, done] = [Buffer.from(vm.memory.bytes), arrived(target.bytes)];
      domain.elapse(1e9);
      assert.ok(kept.equals(vm.memory.bytes), "not one byte has changed");
      assert.equal(arrived(target.bytes), done, "nothing more has arrived");
      // whoever asked for the transfer is told, unless its own memory is gone, where it would be told
      const syndromes = left.cq.poll().map((completion) => completion.syndrome);
      if (vm === left.vm) assert.deepEqual(syndromes, []);
      else assert.ok(syndromes.length === 1 && syndromes[0] !== 0, `syndromes ${syndromes}`);
      vm.mapAll();
      vm.client.reset();
      vm.close();
      new TestVm(domain, vm === left.vm ? "a" : "b", MEMORY).close();
    });
  }
}

for (const which of ["left", "right"] as const) {
  test(`HCA: the ${which} VM disappears in the middle of a transfer, and the next one on its socket finds a new HCA`, (t) => {
    const ends = twoVms(t);
    const { domain, left, right } = ends;
    left.bytes.fill(0x42);
    post(left, right, SendOpcode.RDMA_WRITE);
    startTransfer(domain, right.bytes);
    const seen = Buffer.from(right.bytes);
    ends[which].vm.close();
    domain.elapse(1e9);
    const name = which === "left" ? "a" : "b";
    assert.deepEqual([domain.view(name).isConnected, domain.view(name).memoryBytes], [false, 0]);
    if (which === "left") assert.ok(seen.equals(right.bytes), "nothing arrives from a VM that is gone");
    else assert.notEqual(left.cq.poll()[0]?.syndrome ?? 0, 0);
    new TestVm(domain, name, MEMORY).close();
  });
}

test("HCA: DMA_UNMAP and DMA_MAP of all memory between any two sweeps of a transfer: whatever arrives is right", (t) => {
  const { domain, left, right } = twoVms(t);
  left.bytes.fill(0x42);
  post(left, right, SendOpcode.RDMA_WRITE);
  const random = new Random(4711);
  for (let i = 0; i < 60; i++) {
    const { vm } = random.chance(0.5) ? left : right;
    vm.unmapAll();
    if (random.chance(0.5)) domain.clock.advanceNs(1000);
    vm.mapAll();
    domain.sweep();
  }
  domain.elapse(1e9);
  const done = arrived(right.bytes);
  assert.ok(right.bytes.subarray(0, done).every((byte) => byte === 0x42));
  assert.ok(right.bytes.subarray(done).every((byte) => byte === 0));
  assert.equal(left.cq.poll().length, 1, "one completion, good or bad");
});

test("HCA: the clients of a domain are counted by processes, however many HCAs each has", (t) => {
  const made = new TestDomain("n1", "n2", "n3");
  t.after(() => made.close());
  assert.equal(made.domain.clientCount, 0);
  const clients = ["n1", "n2"].map((name) => new VfioUserClient(made.path(name), { whileWaiting: () => made.sweep() }));
  assert.deepEqual([made.domain.connectedCount, made.domain.clientCount], [2, 1]);
  for (const client of clients) client.close();
  made.settle();
  assert.deepEqual([made.domain.connectedCount, made.domain.clientCount], [0, 0]);
});

test("HCA: accesses of any length at any place of any region, before and after the driver has started", (t) => {
  const { domain, left } = twoVms(t);
  const { client } = left.vm;
  const random = new Random(31);
  const sizes = [RegionIndex.BAR0, RegionIndex.BAR2, RegionIndex.CONFIG].map((region) => client.regionInfo(region));
  for (let round = 0; round < 3000; round++) {
    const { index, sizeBytes } = sizes[random.below(sizes.length)] ?? client.regionInfo(0);
    const length = random.chance(0.9) ? random.below(17) : random.below(8192);
    const offset = random.chance(0.5) ? random.below(0x2000) * 4 : random.below(sizeBytes);
    const inside = Math.max(0, Math.min(length, sizeBytes - offset));
    const at = Math.min(offset, sizeBytes - inside);
    if (random.chance(0.5)) assert.equal(client.read(index, at, inside).length, inside);
    else
      client.write(
        index,
        at,
        Uint8Array.from({ length: inside }, () => random.below(256)),
      );
    domain.clock.advanceNs(1000);
    if (random.chance(0.01)) client.reset();
  }
  domain.elapse(1e9);
  left.vm.close();
  new TestVm(domain, "a", MEMORY).close();
});
