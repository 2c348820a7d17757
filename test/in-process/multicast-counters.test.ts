// What ports count of multicast data is the same whichever way these go: from memory to memory, as packets, over cables that could lose some, or
// hop by hop through lanes. IBA vol 1, 16.1.3.5, 18.2.4.3.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { InProcessGuest } from "../../src/domain/in-process-fabric.ts";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { setMulticastRoute } from "../../src/fabric/hand-made-subnet.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import type { Port } from "../../src/fabric/port.ts";
import type { SwitchNode } from "../../src/fabric/switch-node.ts";
import { newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, madOf, parseMadPacket } from "../../src/mad/packet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Qpn } from "../../src/spec/ib/numbers.ts";
import { PM_DATA_AT } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, PmAttribute } from "../../src/spec/mad/numbers.ts";
import { PortCountersExtended } from "../../src/spec/mad/pm-attributes.ts";
import type { DataPath } from "../../src/transport/network.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, datagramQp, type End } from "./pair.ts";

/** s0 joins three leaves; `e` is no member and its switch not on the tree. */
const TREE = `
switches: { s0: { ports: 8 }, s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s2 }, d: { switch: s2 }, e: { switch: s3 } }
links: [[s0, s1], [s0, s2], [s0, s3]]
`;
/** Ports of the group at each switch, by who is at the other end of the cable. */
const GROUP: Readonly<Record<string, readonly string[]>> = { s1: ["a", "b", "s0"], s0: ["s1", "s2"], s2: ["s0", "c", "d"] };
/** A ring that sends everything everywhere. */
const RING = `
switches: { s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s2 }, c: { switch: s3 } }
links: [[s1, s2], [s2, s3], [s3, s1]]
`;
const FLOOD = { s1: ["a", "s2", "s3"], s2: ["b", "s1", "s3"], s3: ["c", "s1", "s2"] };
const QKEY = 0x1234;
const MLID = 0xc050;
const MGID = Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 9]);
const GRH = 40;
const MTU = 2048;
const US = 1e3;
/** LRH, GRH, BTH, DETH and ICRC. */
const HEADERS_WORDS = (8 + GRH + 12 + 8 + 4) / 4;
const WAYS = ["auto", "short", "packets", "lanes"] as const;

/** Hosts with a queue pair in the group each. */
class Group {
  readonly world: CabledHosts;
  readonly #members: DriverQueuePair[] = [];
  readonly #before = new Map<string, Record<string, number>>();

  constructor(yaml: string, names: readonly string[], routes: Readonly<Record<string, readonly string[]>>, dataPath: DataPath) {
    this.world = new CabledHosts(yaml, names, 1, 16 << 20, { dataPath });
    for (const host of this.world.hosts) {
      const qp = datagramQp(host, QKEY);
      host.device.multicast.attach(MGID, qp.number);
      const target = new Buffer64(host, GRH + MTU);
      for (let i = 0; i < 8; i++) qp.postReceive([target.sge()]);
      this.#members.push(qp);
    }
    for (const [name, peers] of Object.entries(routes)) {
      const numbers = peers.map((peer) => this.world.port(name, peer).number);
      setMulticastRoute(this.world.port(name, peers[0]!).node as SwitchNode, MLID, numbers);
    }
    for (const [name, port] of this.ends()) this.#before.set(name, inspectEnd(port).counters);
  }

  *ends(): Generator<[name: string, port: Port]> {
    const nameOf = ({ node }: Port): string => node.name.split(" ")[0]!;
    for (const { a, b } of this.world.fabric.links) {
      yield [`${nameOf(a)} to ${nameOf(b)}`, a];
      yield [`${nameOf(b)} to ${nameOf(a)}`, b];
    }
  }

  /** The n-th host sends a message to the group. */
  send(from: number, bytes: number, sl: number): void {
    const source = new Buffer64(this.world.hosts[from] as End, bytes);
    const to = { address: { dlid: MLID, dgid: MGID, sl }, remoteQpn: Qpn.MULTICAST, qkey: QKEY };
    this.#members[from]!.postSend({ opcode: SendOpcode.SEND, sges: [source.sge()], ...to });
  }

  /** What has been counted since the beginning. */
  counted(): Record<string, Record<string, number>> {
    const all: Record<string, Record<string, number>> = {};
    for (const [name, port] of this.ends()) {
      const before = this.#before.get(name) ?? {};
      const grown = Object.entries(inspectEnd(port).counters).map(([key, value]) => [key, value - (before[key] ?? 0)] as const);
      // Only lanes have somebody wait.
      all[name] = Object.fromEntries(grown.filter(([key, value]) => value !== 0 && !key.startsWith("xmitWait")).sort());
    }
    return all;
  }
}

/** Three messages of one host and two of another, of two service levels. */
function exchange(group: Group): Record<string, Record<string, number>> {
  group.send(0, 64, 0);
  group.send(0, 2048, 3);
  group.send(0, 301, 3);
  group.send(3, 1000, 0);
  group.send(3, 0, 0);
  group.world.elapse(50 * US, 50);
  return group.counted();
}

test("every way of data gives the same counts at every port of a group's tree", () => {
  const results = WAYS.map((way) => exchange(new Group(TREE, ["a", "b", "c", "d", "e"], GROUP, way)));
  const [expected] = results;
  for (const [i, way] of WAYS.entries()) assert.deepEqual(results[i], expected, way);
  const words = 5 * HEADERS_WORDS + (64 + 2048 + 304 + 1000) / 4;
  const sum = (name: string, of: string): number => expected![name]?.[of] ?? 0;
  assert.deepEqual([sum("s0 to s2", "multicastXmitPackets"), sum("s0 to s2", "multicastRcvPackets")], [3, 2]);
  assert.deepEqual([sum("s2 to s0", "multicastXmitPackets"), sum("s2 to s0", "multicastRcvPackets")], [2, 3]);
  assert.deepEqual([sum("s1 to b", "xmitData"), sum("b to s1", "rcvData")], [words, words]);
  assert.deepEqual([sum("s1 to b", "multicastXmitPackets"), sum("b to s1", "multicastRcvPackets")], [5, 5]);
  assert.equal(sum("s1 to a", "multicastXmitPackets"), 2, "none comes back to who sent it");
  assert.deepEqual([expected!["s0 to s3"], expected!["s3 to s0"], expected!["s3 to e"]], [{}, {}, {}]);
});

test("tables that lead round in a circle: what comes to a switch again is counted, the same by every way", () => {
  const results = WAYS.map((way) => {
    const group = new Group(RING, ["a", "b", "c"], FLOOD, way);
    for (let i = 0; i < 4; i++) group.send(0, 256, 0);
    group.world.elapse(50 * US, 50);
    return group.counted();
  });
  for (const [i, way] of WAYS.entries()) assert.deepEqual(results[i], results[0], way);
  assert.equal(results[0]!["s2 to s3"]?.rcvSwitchRelayErrors, 4);
  assert.equal(results[0]!["s3 to s2"]?.rcvSwitchRelayErrors, 4);
});

test("over a cable with faults, each port counts what crosses it", () => {
  const group = new Group(TREE, ["a", "b", "c", "d", "e"], GROUP, "auto");
  group.world.setFaults("s0", "s2", { loss: 1 });
  const counts = exchange(group);
  const at = (name: string, of: string): number => counts[name]?.[of] ?? 0;
  assert.deepEqual([at("s0 to s2", "multicastXmitPackets"), at("s2 to s0", "multicastRcvPackets")], [3, 0]);
  assert.deepEqual([at("s2 to s0", "multicastXmitPackets"), at("s0 to s2", "multicastRcvPackets")], [2, 0]);
  assert.deepEqual([at("s1 to b", "multicastXmitPackets"), at("s2 to c", "multicastXmitPackets")], [3, 2]);
});

test("what was sent before a tree changes stays with the ports that it took", () => {
  const group = new Group(TREE, ["a", "b", "c", "d", "e"], GROUP, "auto");
  group.send(0, 64, 0);
  group.world.system.domain.settle();
  group.world.link("s0", "s2").setPlugged(false);
  group.send(0, 64, 0);
  group.world.elapse(50 * US);
  const counts = group.counted();
  assert.equal(counts["s0 to s2"]?.multicastXmitPackets, 1);
  assert.equal(counts["s0 to s1"]?.multicastRcvPackets, 2);
});

test("a PortCountersExtended query at a switch says what our own API says", () => {
  const group = new Group(TREE, ["a", "b", "c", "d", "e"], GROUP, "auto");
  const { world } = group;
  const port = world.port("s0", "s2");
  const [{ port: asker }] = world.system.guests as [InProcessGuest];
  for (let i = 0; i < 3; i++) group.send(0, 64, 0);
  world.system.domain.settle();
  const query = newRequest(MgmtClass.PERF, Method.GET, PmAttribute.PORT_COUNTERS_EXTENDED);
  query.setUint8(PM_DATA_AT + 1, port.number);
  const answers: bigint[] = [];
  asker.observer = (packet, isSent) => {
    const parsed = isSent ? undefined : parseMadPacket(packet);
    if (parsed !== undefined)
      answers.push(madOf(parsed).getBigUint64(PM_DATA_AT + PortCountersExtended.multicastXmitPackets.offset));
  };
  asker.transmit(buildMadPacket(gmpAddress(asker.lid, port.node.ports[0]!.lid), query));
  world.elapse(50 * US);
  assert.deepEqual(answers.map(Number), [inspectEnd(port).counters.multicastXmitPackets]);
  assert.ok(Number(answers[0]) >= 3);
});
