// Guests, HCAs, switch and subnet manager together: ports come up by SMPs that travel through QP0 of the device.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import { InProcessFabric, type InProcessGuest } from "../../src/domain/in-process-fabric.ts";
import { DriverCompletionQueue } from "../../src/driver/completion-queue.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { Command, QueryDevLim } from "../../src/spec/hca/commands.ts";
import { EventType, PortChange, SendOpcode } from "../../src/spec/hca/queues.ts";
import { PortState, Service } from "../../src/spec/ib/numbers.ts";
import { ALL_ACCESS } from "./pair.ts";

const MEMORY = 16 << 20;
const SMALL = { logQps: 12, logCqs: 12, logMpts: 12, mtts: 8192 };

function start(count: number): { clock: SimClock; system: InProcessFabric; elapse: (ms: number) => void } {
  const clock = new SimClock();
  const system = new InProcessFabric({ clock, random: new Random(1) });
  for (let i = 1; i <= count; i++) system.addGuest(`n${i}`, MEMORY, SMALL);
  const elapse = (ms: number): void => {
    for (let i = 0; i < ms; i++) {
      clock.advanceNs(1e6);
      system.domain.settle();
    }
  };
  return { clock, system, elapse };
}

function rdmaWrite(from: InProcessGuest, to: InProcessGuest): number {
  const connect = (guest: InProcessGuest): { qp: DriverQueuePair; region: Region; cq: DriverCompletionQueue } => {
    const pd = guest.device.allocatePd();
    const cq = new DriverCompletionQueue(guest.device, 15, pd);
    const region = new Region(guest.device, guest.device.heap.allocate(4096), { pd, access: ALL_ACCESS });
    return { qp: new DriverQueuePair(guest.device, { service: Service.RC, pd, sendCq: cq, receiveCq: cq }), region, cq };
  };
  const [a, b] = [connect(from), connect(to)];
  a.qp.init();
  b.qp.init();
  a.qp.readyToReceive({ remoteQpn: b.qp.number, dlid: to.port.lid });
  b.qp.readyToReceive({ remoteQpn: a.qp.number, dlid: from.port.lid });
  a.qp.readyToSend({ remoteQpn: b.qp.number, dlid: to.port.lid });
  a.qp.postSend({
    opcode: SendOpcode.RDMA_WRITE,
    inline: Uint8Array.of(0x5a),
    remoteAddress: b.region.virtualAddress,
    rkey: b.region.rkey,
  });
  from.node.access.settle();
  assert.equal(a.cq.poll()[0]?.syndrome, 0);
  return to.node.access.memory.bytes[b.region.block.at]!;
}

test("commands of the program and those that answer the subnet manager do not get into each other", () => {
  const { clock, system } = start(2);
  const [guest] = system.guests;
  const { commands } = guest!.device;
  for (let ms = 0; ms < 300; ms++) {
    clock.advanceNs(1e6);
    // Management datagrams arrive while the command runs.
    const { output } = commands.run(Command.QUERY_DEV_LIM, { outputBytes: QueryDevLim.byteLength });
    assert.deepEqual(output, guest!.device.limits, `after ${ms} ms`);
    if (ms % 3 === 0) system.domain.settle();
  }
  assert.equal(guest!.port.state, PortState.ACTIVE);
});

test("the subnet manager brings every port up, the driver hears of it, and data flow", () => {
  const { system, elapse } = start(4);
  elapse(300);
  const lids = system.guests.map((guest) => guest.port.lid);
  assert.equal(new Set(lids).size, 4);
  for (const guest of system.guests) {
    assert.equal(guest.port.state, PortState.ACTIVE, guest.name);
    const changes = guest.device.asyncEvents.filter((e) => e.type === EventType.PORT_CHANGE);
    assert.deepEqual([changes.at(-1)?.subType, changes.at(-1)?.port], [PortChange.ACTIVE, 1]);
  }
  const [a, b, c] = system.guests;
  assert.equal(rdmaWrite(a!, b!), 0x5a);
  assert.equal(rdmaWrite(c!, a!), 0x5a);
  assert.equal(rdmaWrite(b!, b!), 0x5a, "to itself");
});

test("a guest that dies takes nobody with it, and a new one finds its place", () => {
  const { system, elapse } = start(3);
  elapse(300);
  const [a, b, c] = system.guests;
  system.domain.removeNode(b!.node);
  system.fabric.removeCa(b!.port);
  elapse(50);
  assert.equal(rdmaWrite(a!, c!), 0x5a);
  const d = system.addGuest("n4", MEMORY, SMALL);
  elapse(300);
  assert.equal(d.port.state, PortState.ACTIVE);
  assert.equal(rdmaWrite(d, a!), 0x5a);
});
