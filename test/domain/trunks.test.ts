// Engines and the cables between their switches, in one process: one subnet, multicast without doubles, links that go and come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import { InProcessFabric, type InProcessGuest } from "../../src/domain/in-process-fabric.ts";
import { LocalFabric } from "../../src/domain/local-fabric.ts";
import { LabFabric } from "../../src/fabric/lab-fabric.ts";
import { PhysState, PortState } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { AccessFlag, activateUd, type Context, WorkCompletion } from "../../src/verbs/index.ts";

const MEMORY_BYTES = 8 << 20;
const ENGINES = 3;
const QKEY = 0x1234;

/** A fabric of several engines with its guests up. */
class Subnet {
  readonly clock = new SimClock();
  readonly fabric = new InProcessFabric({ clock: this.clock, random: new Random(1), engines: ENGINES });
  readonly guests: InProcessGuest[];

  constructor(count: number) {
    this.guests = Array.from({ length: count }, (_, i) => this.fabric.addGuest(`n${i}`, MEMORY_BYTES));
    this.run(() => this.guests.every(({ port }) => port.isActive));
  }

  run(isDone: () => boolean): void {
    for (let i = 0; i < 100_000 && !isDone(); i++) {
      if (this.fabric.domain.step() === 0) this.clock.advanceNs(1e6);
    }
    assert.ok(isDone());
  }

  /** The end ports and lanes that a packet between two guests meets. */
  reaches(from: number, to: number): number {
    return this.guests[from]!.port.resolve(this.guests[to]!.port.lid);
  }
}

test("every HCA has a LID of its own and reaches every other one: on its engine directly, else by the cable to that engine", () => {
  const subnet = new Subnet(2 * ENGINES);
  const { guests } = subnet;
  assert.equal(new Set(guests.map(({ port }) => port.lid)).size, guests.length);
  assert.equal(new Set(guests.map(({ port }) => port.node.guid)).size, guests.length);
  for (let from = 0; from < guests.length; from++) {
    for (let to = 0; to < guests.length; to++) {
      const isHere = from % ENGINES === to % ENGINES;
      assert.equal(subnet.reaches(from, to) >= 0, isHere, `${from} to ${to}`);
      assert.ok(isHere || subnet.reaches(from, to) <= -2, `${from} to ${to} by a lane`);
    }
  }
});

test("a cable that goes down at one end is down at the other; traffic takes the way over the third engine, and comes back", () => {
  const subnet = new Subnet(ENGINES);
  const before = subnet.reaches(0, 1);
  assert.ok(subnet.fabric.fabric instanceof LabFabric);
  const { switch: first } = subnet.fabric.fabric;
  const cable = first.ports.find(({ link, number }) => number > 60 && link !== undefined)!;
  const downs = cable.counters[PortCounter.linkDowned] ?? 0;
  first.setPhysState(cable.number, PhysState.DISABLED);
  subnet.run(() => subnet.reaches(0, 1) !== before && subnet.reaches(0, 1) <= -2);
  assert.ok((cable.counters[PortCounter.linkDowned] ?? 0) > downs);
  first.setPhysState(cable.number, PhysState.POLLING);
  subnet.run(() => cable.state === PortState.ACTIVE && subnet.reaches(0, 1) === before);
});

test("multicast reaches every member on every engine once", async () => {
  const fabric = new LocalFabric({ seed: 1, engines: ENGINES });
  const contexts: Context[] = [];
  for (let i = 0; i < 2 * ENGINES; i++) {
    const context = fabric.openDevice({ memoryBytes: MEMORY_BYTES });
    await context.portActive();
    contexts.push(context);
  }
  const mgid = new Uint8Array(16);
  mgid.set([0xff, 0x12, 0x60, 0x01], 0);
  mgid[15] = 9;
  const members = [];
  for (const context of contexts) {
    const { address } = await context.joinMulticast(mgid, { qkey: QKEY });
    const pd = context.allocPd();
    const cq = context.createCq(16);
    const qp = pd.createQp({ qpType: "UD", sendCq: cq, recvCq: cq });
    activateUd(qp, QKEY);
    qp.attachMcast(mgid);
    const memory = context.allocMemory(4096);
    const { addr, lkey } = pd.regMr(memory, AccessFlag.LOCAL_WRITE);
    for (let i = 0; i < 4; i++) qp.postRecv({ wrId: i, sgList: [{ addr: addr + 512 * i, length: 512, lkey }] });
    members.push({ qp, pd, cq, address, addr, lkey, memory });
  }
  const [sender] = members;
  assert.ok(sender !== undefined);
  const ah = sender.pd.createAh(sender.address);
  sender.memory.bytes.fill(0x5a, 2048, 2148);
  const sgList = [{ addr: sender.addr + 2048, length: 100, lkey: sender.lkey }];
  sender.qp.postSend({ wrId: 9, opcode: "SEND", sgList, ah, remoteQpn: 0xffffff, remoteQkey: QKEY });
  for (let i = 0; i < 20; i++) fabric.settle();
  for (const [index, { cq, memory }] of members.entries()) {
    const completions = Array.from({ length: 8 }, () => new WorkCompletion());
    const count = cq.poll(completions);
    const received = completions.slice(0, count).filter(({ wrId }) => wrId !== 9);
    // The sender does not hear itself by the wire, but its own HCA gives every attached queue pair a copy.
    assert.deepEqual([received.length, received[0]?.byteLen], [1, 140], `member ${index}`);
    assert.ok(memory.bytes.subarray(40, 140).every((byte) => byte === 0x5a));
  }
});
