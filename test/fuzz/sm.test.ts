// Hostile input: random bytes and bent MADs into every agent, the switch, the subnet manager and its administration. Nothing
// throws, and nothing grows without bound.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { MAX_QUEUED_DATA, MAX_QUEUED_VL15 } from "../../src/fabric/limits.ts";
import { SimulatedSubnet } from "../../src/fabric/simulated-subnet.ts";
import { processPerf } from "../../src/mad/agents/pma.ts";
import { processSmp } from "../../src/mad/agents/sma.ts";
import { bytesOf, copyMad, newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, parseMadPacket, smpAddress } from "../../src/mad/packet.ts";
import { SaLimits, type SubnetManagerOptions } from "../../src/sm/options.ts";
import { type SubnetManager, subnetManager } from "../../src/sm/subnet-manager.ts";
import { Lrh } from "../../src/spec/ib/headers.ts";
import { MadHeader, SA_DATA_AT, SaHeader } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, SaAttribute } from "../../src/spec/mad/numbers.ts";
import { fuzz } from "./kit.ts";
import { bend } from "./values.ts";

const S = 1e9;
const ROUNDS = 400;

/** What a manager may be told besides, now and then. */
function featuresOf(random: Random): Partial<SubnetManagerOptions> {
  const partition = { name: "p", pkey: 0x11, full: ["host 1", "host 2"], limited: ["host 3"], isIpoib: true, sl: 3 };
  return {
    partitions: random.chance(0.4) ? [partition] : [],
    qos: random.chance(0.3)
      ? { slToVl: new Array(16).fill(2), high: [[1, 4]], low: [[0, 9]], highLimit: 1, levels: [] }
      : undefined,
    mkeyOf: random.chance(0.3) ? (guid) => guid : () => 0n,
    yields: random.chance(0.2),
  };
}

function world(random: Random) {
  const corpus: Uint8Array[] = [];
  const subnet = new SimulatedSubnet({
    hosts: 5,
    switches: 3,
    shape: "loop",
    portsPerSwitch: 12,
    endpoint: subnetManager({ random, ...featuresOf(random) }),
    impairment: (packet) => {
      if (corpus.length < 500) corpus.push(packet.slice());
      return false;
    },
  });
  subnet.enableAll();
  assert.ok(subnet.run(() => subnet.hosts.every(({ port }) => port.isActive), 10 * S));
  return { corpus, subnet, manager: subnet.endpoint as SubnetManager };
}

/** A request of the SA with sensible and senseless parts. */
function saRequest(random: Random): DataView {
  const attributes = Object.values(SaAttribute);
  const methods = [Method.GET, Method.SET, Method.DELETE, Method.GET_TABLE, Method.GET_TABLE, random.below(256)];
  const mad = newRequest(
    MgmtClass.SUBN_ADM,
    methods[random.below(methods.length)] ?? 0,
    attributes[random.below(attributes.length)] ?? 0,
  );
  MadHeader.tid.lo.set(mad, 0, random.below(64));
  SaHeader.componentMask.lo.set(mad, 0, random.chance(0.5) ? random.u32() & random.u32() : random.u32());
  SaHeader.componentMask.hi.set(mad, 0, random.chance(0.8) ? 0 : random.u32());
  if (random.chance(0.5)) SaHeader.smKey.lo.set(mad, 0, 1);
  for (let at = SA_DATA_AT; at < 256; at++)
    if (random.chance(0.3)) bytesOf(mad)[at] = random.chance(0.5) ? random.below(4) : random.below(256);
  if (random.chance(0.6)) mad.setUint16(SA_DATA_AT, 0xff12);
  if (random.chance(0.6)) mad.setBigUint64(SA_DATA_AT + 16, 0xfe80000000000000n);
  if (random.chance(0.6)) mad.setBigUint64(SA_DATA_AT + 24, 0x0002c90300000001n + 0x10n * BigInt(random.below(6)));
  return mad;
}

function assertBounded(subnet: SimulatedSubnet, manager: SubnetManager): void {
  for (const node of subnet.fabric.nodes) {
    for (const port of node.ports) {
      if (port === undefined) continue;
      assert.ok(port.queuedVl15 >= 0 && port.queuedVl15 <= MAX_QUEUED_VL15);
      assert.ok(port.queuedData >= 0 && port.queuedData <= MAX_QUEUED_DATA);
    }
  }
  assert.ok(manager.groups.size <= SaLimits.GROUPS);
  assert.ok(manager.administrator.services.size <= SaLimits.SERVICES);
  assert.ok(manager.administrator.transfers <= 256);
  assert.ok(manager.administrator.incomplete <= 64);
  assert.ok(manager.administrator.subscriptions.size <= SaLimits.SUBSCRIPTIONS);
  assert.ok(manager.administrator.reporter.pending <= 5 * SaLimits.SUBSCRIPTIONS_PER_PORT * SaLimits.REPORTS_PER_SUBSCRIPTION);
  assert.ok(manager.subnet.aliases.size <= 5 * 256);
  assert.ok(manager.subnet.nodes.size < 200);
}

/** A target that makes a world and disturbs it ROUNDS times. */
function rounds(name: string, share: number, start: (random: Random) => (i: number) => void): void {
  fuzz(
    `sm/${name}`,
    (random) => {
      const round = start(random);
      for (let i = 0; i < ROUNDS; i++) round(i);
    },
    { share },
  );
}

rounds("agents", 0.2, (random) => {
  const { corpus, subnet } = world(random);
  const nodes = [...subnet.fabric.nodes];
  return (i) => {
    const source = parseMadPacket(corpus[random.below(corpus.length)] ?? new Uint8Array(0));
    const mad = source === undefined || random.chance(0.1) ? newRequest(0, 0, 0) : copyMad(source.bytes, source.madAt);
    if (random.chance(0.1)) for (let at = 0; at < 256; at++) bytesOf(mad)[at] = random.below(256);
    else bend(random, bytesOf(mad));
    const node = nodes[random.below(nodes.length)]!;
    const context = { port: random.below(14), ignoreMkey: random.chance(0.5), nowNs: i };
    if (random.chance(0.2)) MadHeader.mgmtClass.set(mad, 0, MgmtClass.PERF);
    if (MadHeader.mgmtClass.get(mad, 0) === MgmtClass.PERF) processPerf(node, mad);
    else processSmp(node, mad, context);
    if (i % 50 === 0) subnet.runFor(1e6);
  };
});

rounds("hosts", 0.3, (random) => {
  const { corpus, subnet, manager } = world(random);
  return (i) => {
    const packet = (corpus[random.below(corpus.length)] ?? new Uint8Array(284)).slice();
    if (random.chance(0.05)) for (let at = 8; at < packet.length; at++) packet[at] = random.below(256);
    else bend(random, packet);
    const view = new DataView(packet.buffer);
    if (random.chance(0.9)) Lrh.packetLength.set(view, 0, (packet.length + 4) >> 2);
    subnet.port(random.below(5)).transmit(random.chance(0.05) ? packet.subarray(0, random.below(packet.length)) : packet);
    if (random.chance(0.02)) subnet.port(random.below(5)).disable();
    if (random.chance(0.05)) subnet.port(random.below(5)).enable();
    subnet.fabric.step(subnet.clock.nowNs(), 50);
    if (i % 20 === 0) subnet.runFor(random.below(30) * 1e6);
    for (const host of subnet.hosts) host.received.length = 0;
    if (i % 200 === 0) assertBounded(subnet, manager);
  };
});

rounds("links", 0.2, (random) => {
  const { subnet, manager } = world(random);
  for (const link of subnet.fabric.links) {
    link.impairment = (packet) => {
      if (random.chance(0.1)) bend(random, packet.subarray(8));
      return random.chance(0.05);
    };
  }
  return (i) => {
    if (i % 3 === 0) subnet.switches[random.below(3)]!.setPortState(1 + random.below(12), 1);
    subnet.runFor(random.below(50) * 1e6);
    if (i % 40 === 0) assertBounded(subnet, manager);
    for (const host of subnet.hosts) host.received.length = 0;
  };
});

rounds("administration", 0.3, (random) => {
  const { corpus, subnet, manager } = world(random);
  return (i) => {
    const mad = saRequest(random);
    if (random.chance(0.3)) bend(random, bytesOf(mad));
    const slid = random.chance(0.8) ? subnet.port(random.below(5)).lid : random.below(0x10000);
    const packet = buildMadPacket(random.chance(0.9) ? gmpAddress(slid, 1) : smpAddress(slid, 1), mad);
    manager.receive(packet, subnet.clock.nowNs());
    const other = (corpus[random.below(corpus.length)] ?? packet).slice();
    bend(random, other);
    manager.receive(other, subnet.clock.nowNs());
    if (i % 10 === 0) subnet.runFor(random.below(100) * 1e6);
    for (const host of subnet.hosts) host.received.length = 0;
    if (i % 200 === 0) assertBounded(subnet, manager);
  };
});
