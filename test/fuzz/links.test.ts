// A fabric whose cables lose, corrupt and delay packets, are pulled and plugged in again at any moment, with its subnet manager: RC delivers
// everything once, in order and whole, or fails with "retries exceeded"; UC and UD, to one or to a group, lose whole messages and nothing else, and get
// none twice though the group's tables lead round in a circle; and when all is mended, traffic takes the short path again. The same with all data in virtual
// lanes: in the end all credits are back. IBA vol 1, 7.9, 9.7, 9.8.2.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { setMulticastRoute } from "../../src/fabric/hand-made-subnet.ts";
import { SwitchNode } from "../../src/fabric/switch-node.ts";
import { newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress } from "../../src/mad/packet.ts";
import { SendOpcode, Syndrome } from "../../src/spec/hca/queues.ts";
import { Qpn, Service } from "../../src/spec/ib/numbers.ts";
import { Method, MgmtClass, PmAttribute } from "../../src/spec/mad/numbers.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { AdapterCounter } from "../../src/transport/counters.ts";
import { CabledHosts } from "../in-process/cabled-hosts.ts";
import { connect, datagramQp, type End } from "../in-process/pair.ts";
import { type Bed, collect, Flow, OPCODES, QKEY, type QueuePairs, RC, run } from "./flow.ts";
import { fuzz } from "./kit.ts";

/** Two ways between any two hosts. */
const RING = `
switches: { s1: { ports: 4 }, s2: { ports: 4 }, s3: { ports: 4 } }
hosts: { a: { switch: s1 }, b: { switch: s2 }, c: { switch: s3 } }
links: [[s1, s2], [s2, s3], [s3, s1]]
`;
const CABLES = [
  ["s1", "s2"],
  ["s2", "s3"],
  ["s3", "s1"],
  ["a", "s1"],
  ["b", "s2"],
  ["c", "s3"],
] as const;
/** Between switches: one of them may be pulled at a time. */
const PULLABLE = 3;
/** A group that every switch sends to all its ports. */
const MLID = 0xc050;
const MGID = Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 7]);
const TO_GROUP = { address: { dlid: MLID, dgid: MGID }, remoteQpn: Qpn.MULTICAST };
/** Bursts of questions to QP1 in a case, so that they do not take its time from the flows. */
const QUESTIONS = 100;
const MENDED_NS = 3e9;
const MENDED_STEPS = 600;

const packetsSent = (hosts: readonly End[]): number =>
  hosts.reduce((sum, { node }) => sum + node.hca.adapter.counters[AdapterCounter.packetsSent]!, 0);

function disturb(world: CabledHosts, random: Random): void {
  const [a, b] = random.pick(CABLES);
  const delayNs = random.pick([0, 0, random.below(20_000), random.below(300_000)]);
  world.setFaults(
    a,
    b,
    random.chance(0.4) ? undefined : { loss: random.below(100) / 1000, corruption: random.below(50) / 1000, delayNs },
  );
  if (!random.chance(0.1)) return;
  const pullable = CABLES.slice(0, PULLABLE).map(([x, y]) => world.link(x, y));
  const pulled = pullable.find(({ isPlugged }) => !isPlugged);
  if (pulled !== undefined) pulled.setPlugged(true);
  else random.pick(pullable).setPlugged(false);
}

/** The subnet manager, who knows nothing of this group, may have written its tables anew. */
function flood(world: CabledHosts): void {
  for (const node of world.fabric.nodes) if (node instanceof SwitchNode) setMulticastRoute(node, MLID, [1, 2, 3, 4]);
}

function mend(world: CabledHosts): void {
  for (const [a, b] of CABLES) {
    world.setFaults(a, b, undefined);
    if (!world.link(a, b).isPlugged) world.link(a, b).setPlugged(true);
  }
  world.elapse(MENDED_NS, MENDED_STEPS);
  flood(world);
}

/** Nothing is wrong any more: another message of each that lives takes the short path. */
function checkReturn(world: CabledHosts, bed: Bed, flows: readonly Flow[]): void {
  const before = packetsSent(world.hosts);
  const done = flows.map(({ sent }) => sent.length);
  for (const flow of flows) {
    const opcode = flow.qp.service === Service.UD ? SendOpcode.SEND_IMM : SendOpcode.RDMA_WRITE;
    flow.post({ opcode, length: 700, slot: 0 });
  }
  world.elapse(1e6, 10);
  collect(bed, flows);
  for (const [i, flow] of flows.entries()) assert.equal(flow.sent.length, done[i]! + 1);
  assert.equal(packetsSent(world.hosts), before, "the short path again");
}

/** Nothing is in the lanes any more: no buffer is occupied, no sender lacks credits, and a message of each that lives gets through. */
function checkLanes(world: CabledHosts, bed: Bed, flows: readonly Flow[]): void {
  const lanes = world.fabric.lanes!;
  assert.equal(lanes.length, 0);
  for (const { ports } of world.fabric.nodes) {
    for (const end of ports) {
      const port = end?.lanes;
      if (port === undefined) continue;
      assert.ok(port.buffered.every((blocks) => blocks === 0));
      assert.ok(port.credits.every((blocks) => blocks === lanes.bufferBlocks));
      assert.deepEqual([port.queued, port.sending], [0, -1]);
    }
  }
  const done = flows.map(({ sent }) => sent.length);
  for (const flow of flows) {
    const opcode = flow.qp.service === Service.UD ? SendOpcode.SEND_IMM : SendOpcode.RDMA_WRITE;
    flow.post({ opcode, length: 700, slot: 0 });
  }
  world.elapse(1e6, 10);
  collect(bed, flows);
  for (const [i, flow] of flows.entries()) assert.equal(flow.sent.length, done[i]! + 1);
}

/** A host asks some port for its counters, by LID: a command of its driver, during which no time passes, whatever the cables are full of. */
function ask(world: CabledHosts, random: Random, count: number): void {
  const { port } = random.pick(world.system.guests);
  const lids = [...world.fabric.nodes].map(({ ports }) => (ports[0] ?? ports[1])?.lid ?? 0);
  const address = {
    ...gmpAddress(port.lid, random.chance(0.1) ? random.below(0x10000) : random.pick(lids)),
    sl: random.below(16),
  };
  const mad = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS);
  for (let i = count % 20; i >= 0; i--) port.transmit(buildMadPacket(address, mad));
}

/** SLtoVL and VLArbitration of some port change, its queues' lifetime, or its HCA stands still for a while. */
function disturbLanes(world: CabledHosts, random: Random): void {
  const link = random.pick([...world.fabric.links]);
  const port = random.chance(0.5) ? link.a : link.b;
  port.setSlToVlFromAll(new Uint8Array(8).fill(random.pick([0, 0x11, 0x33, random.chance(0.2) ? 0xff : 0x22])));
  const turns = Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? random.below(6) : random.below(256)));
  port.setVlArbitration(random.pick([1, 3]), Uint8Array.from(turns));
  PortInfo.vlHighLimit.set(port.info, 0, random.pick([0, 1, 255]));
  PortInfo.hoqLife.set(port.info, 0, random.pick([3, 8, 12]));
  PortInfo.vlStallCount.set(port.info, 0, random.below(4));
  port.node.attributesChanged();
  for (const { port: host } of world.system.guests) host.setFrozen(random.chance(0.1));
}

function mendLanes(world: CabledHosts): void {
  for (const { a, b } of world.fabric.links)
    for (const port of [a, b]) {
      port.setSlToVlFromAll(new Uint8Array(8));
      port.node.attributesChanged();
    }
  for (const { port } of world.system.guests) port.setFrozen(false);
}

fuzz(
  "packets/links",
  (random, budget) => {
    const dataPath = random.pick(["auto", "lanes"] as const);
    const lanes = dataPath === "lanes" ? `lanes: { buffer: ${random.pick([4352, 8192, 16384])} }\n` : "";
    const world = new CabledHosts(RING + lanes, ["a", "b", "c"], random.u32(), 8 << 20);
    const [a, b, c] = world.hosts as [End, End, End];
    const bed: Bed = { guests: world.hosts, domain: world.system.domain, clock: world.clock };
    const staticRate = random.pick([0, 0, 1, 2, 3]);
    const [ab, ba] = connect(a, b, Service.RC, { ...RC, ackTimeout: 13, mtuCode: 1 + random.below(4), staticRate });
    const [bc, cb] = connect(b, c, Service.RC, { ...RC, ackTimeout: 13 });
    const datagrams: QueuePairs = [datagramQp(a, QKEY), datagramQp(c, QKEY)];
    const reliable = [
      new Flow(random, [a, b], [ab, ba], OPCODES),
      new Flow(random, [b, a], [ba, ab], OPCODES),
      new Flow(random, [c, b], [cb, bc], OPCODES),
    ];
    const members: QueuePairs = [datagramQp(a, QKEY), datagramQp(b, QKEY)];
    const listener = datagramQp(c, QKEY);
    b.device.multicast.attach(MGID, members[1].number);
    c.device.multicast.attach(MGID, listener.number);
    flood(world);
    const unreliable = [
      new Flow(random, [a, c], connect(a, c, Service.UC, { staticRate }), [SendOpcode.SEND_IMM]),
      new Flow(random, [a, c], datagrams, [SendOpcode.SEND_IMM], 2000),
      new Flow(random, [a, b], members, [SendOpcode.SEND_IMM], 2000, TO_GROUP),
    ];
    const flows = [...reliable, ...unreliable];
    const rate = random.pick([0.01, 0.05, 0.2]);
    let questions = QUESTIONS;
    run(bed, flows, random, budget, () => {
      if (random.chance(rate)) disturb(world, random);
      if (random.chance(0.1)) flood(world);
      if (questions > 0 && random.chance(rate)) ask(world, random, questions--);
      if (dataPath === "lanes" && random.chance(rate)) disturbLanes(world, random);
    });
    if (dataPath === "lanes") mendLanes(world);
    mend(world);
    collect(bed, flows);
    for (const { port } of world.system.guests) assert.ok(port.isActive);
    const failed = reliable.filter(({ hasFailed }) => hasFailed);
    if (failed.length > 0) {
      const syndromes = failed.flatMap(({ sent }) => sent.map(({ syndrome }) => syndrome));
      assert.ok(syndromes.includes(Syndrome.TRANSPORT_RETRY), String(syndromes));
    }
    // A queue pair that fails flushes its receives, too.
    const isCutOff = ({ qp }: Flow): boolean => failed.some((other) => other.qp === qp || other.peer === qp);
    for (const flow of reliable) if (!isCutOff(flow)) flow.check();
    for (const flow of unreliable) flow.checkUnreliable();
    const check = dataPath === "lanes" ? checkLanes : checkReturn;
    check(
      world,
      bed,
      flows.filter((flow) => !isCutOff(flow)),
    );
    const lost = [...world.fabric.links].reduce((sum, { counts }) => sum + counts.lost + counts.corrupted, 0);
    budget.note(
      `${dataPath} ${failed.length} ${Math.ceil(Math.log2(lost + 1))} ${unreliable.map(({ received }) => received.length)}`,
    );
  },
  { steps: 60_000 },
);
