// Multicast through virtual lanes: a copy for each branch of its tree, each with lane and credits of its own, counted by every port that it crosses;
// and no tree that leads round in a circle goes on for ever. IBA vol 1, 7.6, 7.9, 10.5.2, 16.1.3.5, 18.2.4.3, 18.2.5.4.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DriverQueuePair } from "../../src/driver/queue-pair.ts";
import { setMulticastRoute } from "../../src/fabric/hand-made-subnet.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { MANAGEMENT_PACKETS, POOL_PACKETS } from "../../src/fabric/lanes/limits.ts";
import type { SwitchNode } from "../../src/fabric/switch-node.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Qpn } from "../../src/spec/ib/numbers.ts";
import { PortCounter, PortDetail } from "../../src/spec/ib/port-counters.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, datagramQp, type End, fill } from "./pair.ts";

const TREE = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s2 }, d: { switch: s2 } }
links: [[s1, s2]]
`;
const HOSTS = ["a", "b", "c", "d"];
/** A cycle in which every switch sends to every port. */
const RING = `
switches: { s1: { ports: 8 }, s2: { ports: 8 }, s3: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s2 }, c: { switch: s3 } }
links: [[s1, s2], [s2, s3], [s3, s1]]
`;
const QKEY = 0x1234;
const MLID = 0xc050;
const MGID = Uint8Array.from([0xff, 0x12, ...new Array(13).fill(0), 9]);
const TO_GROUP = { address: { dlid: MLID, dgid: MGID }, remoteQpn: Qpn.MULTICAST, qkey: QKEY };
const PACKETS = 60;
const MTU = 2048;
const GRH = 40;
/** LRH, GRH, BTH, DETH and immediate data. */
const HEADERS = 8 + GRH + 12 + 8 + 4;
/** Packets of a whole MTU that a receive buffer of 16 KiB holds: 33 or 34 blocks of 64 bytes each. */
const BUFFERED = 7;
const MS = 1e6;

/** Messages from one host to all others of a group. */
class Group {
  readonly world: CabledHosts;
  readonly #sender: DriverQueuePair;
  readonly #source: Buffer64;
  readonly #targets = new Map<End, Buffer64>();
  readonly #received = new Map<End, { immediate: number; byteCount: number }[]>();
  sent = 0;

  constructor(yaml: string, names: readonly string[], options = {}) {
    this.world = new CabledHosts(yaml, names, 1, 16 << 20, { dataPath: "lanes", ...options });
    const [from, ...others] = this.world.hosts as [End, ...End[]];
    this.#sender = datagramQp(from, QKEY, { sendWqes: PACKETS });
    this.#source = new Buffer64(from, PACKETS * MTU);
    fill(this.#source.bytes, 5);
    for (const host of others) {
      const qp = datagramQp(host, QKEY, { receiveWqes: PACKETS });
      host.device.multicast.attach(MGID, qp.number);
      const target = new Buffer64(host, PACKETS * (GRH + MTU));
      for (let i = 0; i < PACKETS; i++) qp.postReceive([target.sge(i * (GRH + MTU), GRH + MTU)]);
      this.#targets.set(host, target);
      this.#received.set(host, []);
    }
  }

  /** @param lengths of messages that are posted at once */
  send(lengths: readonly number[]): void {
    for (const length of lengths) {
      const immediate = this.sent++;
      this.#sender.postSend({
        ...{ opcode: SendOpcode.SEND_IMM, sges: [this.#source.sge(immediate * MTU, length)], immediate },
        ...TO_GROUP,
      });
    }
  }

  /** How many each of the others has received; all of them whole and none twice. */
  counts(): number[] {
    return [...this.#targets].map(([host, target]) => {
      const received = this.#received.get(host)!;
      for (const { syndrome, immediate, byteCount } of host.cq.poll()) {
        assert.equal(syndrome, 0);
        const at = received.length * (GRH + MTU) + GRH;
        const from = immediate * MTU;
        const length = byteCount - GRH;
        assert.ok(target.bytes.subarray(at, at + length).equals(this.#source.bytes.subarray(from, from + length)), "contents");
        received.push({ immediate, byteCount });
      }
      assert.equal(new Set(received.map(({ immediate }) => immediate)).size, received.length, "none twice");
      return received.length;
    });
  }

  /** Whom each has received, in order. */
  order(index: number): number[] {
    return [...this.#received.values()][index]!.map(({ immediate }) => immediate);
  }

  /** Every switch sends the group to all ports with a cable. */
  flood(): void {
    for (const node of this.world.fabric.nodes) {
      if (node.switch === undefined) continue;
      const ports = node.ports.filter((port) => port?.link !== undefined).map((port) => port!.number);
      setMulticastRoute(node as SwitchNode, MLID, ports);
    }
  }

  freeze(name: string, isFrozen: boolean): void {
    this.world.system.guests.find((guest) => guest.name === name)!.port.setFrozen(isFrozen);
  }

  /** Nothing is under way, and all buffers are free. */
  assertQuiet(): void {
    const lanes = this.world.fabric.lanes!;
    assert.equal(lanes.length, 0);
    for (const { a, b } of this.world.fabric.links)
      for (const { lanes: port } of [a, b]) {
        if (port === undefined) continue;
        assert.ok(port.buffered.every((blocks) => blocks === 0));
        assert.ok(port.credits.every((blocks) => blocks === lanes.bufferBlocks));
      }
  }
}

const full = (count: number): number[] => new Array<number>(count).fill(MTU);

test("every member gets every packet, and every port of the tree counts it as multicast", () => {
  const group = new Group(TREE, HOSTS);
  group.flood();
  const lengths = Array.from({ length: PACKETS }, (_, i) => (i * 97) % (MTU + 1));
  group.send(lengths);
  group.world.elapse(1 * MS);
  assert.deepEqual(group.counts(), [PACKETS, PACKETS, PACKETS]);
  assert.deepEqual(group.order(2), [...lengths.keys()]);
  const words = lengths.reduce((sum, length) => sum + (HEADERS + ((length + 3) & ~3) + 4) / 4, 0);
  for (const [from, to] of [
    ["a", "s1"],
    ["s1", "b"],
    ["s1", "s2"],
    ["s2", "c"],
    ["s2", "d"],
  ] as const) {
    const sent = inspectEnd(group.world.port(from, to)).counters;
    const received = inspectEnd(group.world.port(to, from)).counters;
    const expected = [words, PACKETS];
    assert.deepEqual([sent.xmitDataSl0, sent.multicastXmitPackets], expected, `${from} to ${to}`);
    assert.deepEqual([received.rcvDataSl0, received.multicastRcvPackets], expected, `${to} from ${from}`);
  }
  for (const [from, to] of [
    ["s1", "a"],
    ["s2", "s1"],
  ] as const)
    assert.equal(inspectEnd(group.world.port(from, to)).counters.multicastXmitPackets, undefined, "nothing goes back");
  group.assertQuiet();
});

test("a slow branch holds up the others when the buffers before it are full, and no sooner", () => {
  const group = new Group(TREE, HOSTS);
  group.flood();
  group.freeze("c", true);
  group.send(full(PACKETS));
  group.world.elapse(10 * MS);
  // What c's port has in its buffer, and what s2 keeps for it; and what s1 keeps because s2 takes no more.
  assert.deepEqual(group.counts(), [3 * BUFFERED, 0, 2 * BUFFERED]);
  const { lanes } = inspectEnd(group.world.port("s2", "c"));
  assert.deepEqual(
    lanes.map(({ vl, packets }) => [vl, packets]),
    [[0, BUFFERED]],
  );
  assert.ok(inspectEnd(group.world.port("s1", "s2")).counters.xmitWait! > 0);
  assert.equal(inspectEnd(group.world.port("s2", "d")).counters.xmitWait, undefined, "d has all that there is");
  group.freeze("c", false);
  group.world.elapse(10 * MS);
  assert.deepEqual(group.counts(), [PACKETS, PACKETS, PACKETS]);
  group.assertQuiet();
});

test("where a branch has no credits for longer than HOQLife, its copies are discarded, and the others go on", () => {
  const group = new Group(`${TREE}lanes: { head-of-queue: 100us }\n`, HOSTS);
  group.flood();
  group.freeze("c", true);
  group.send(full(PACKETS));
  group.world.elapse(100 * MS, 100);
  assert.deepEqual(group.counts(), [PACKETS, 0, PACKETS]);
  const discarded = group.world.port("s2", "c").counters[PortCounter.xmitDiscards]!;
  assert.equal(discarded, PACKETS - BUFFERED);
  assert.equal(group.world.fabric.lanes!.counts.tooOld, discarded);
  group.freeze("c", false);
  group.world.elapse(1 * MS);
  assert.deepEqual(group.counts(), [PACKETS, BUFFERED, PACKETS]);
  group.assertQuiet();
});

test("copies take the lane that SLtoVL says at each port that they leave by", () => {
  const group = new Group(TREE, HOSTS);
  group.flood();
  group.world.port("s2", "c").setSlToVlFromAll(new Uint8Array(8).fill(0x33));
  for (const name of ["c", "d"]) group.freeze(name, true);
  group.send(full(2));
  group.world.elapse(1 * MS);
  const lanesAt = (name: string): number[] => inspectEnd(group.world.port(name, "s2")).lanes.map(({ vl }) => vl);
  assert.deepEqual([lanesAt("c"), lanesAt("d")], [[3], [0]]);
  for (const name of ["c", "d"]) group.freeze(name, false);
  group.world.elapse(1 * MS);
  group.assertQuiet();
});

test("tables that lead round in a circle: everybody gets each packet once, and it ends", () => {
  const group = new Group(RING, ["a", "b", "c"]);
  group.flood();
  group.send(full(PACKETS));
  group.world.elapse(5 * MS, 50);
  assert.deepEqual(group.counts(), [PACKETS, PACKETS]);
  group.assertQuiet();
  const ring = [...group.world.fabric.links].filter(({ a, b }) => a.node.switch !== undefined && b.node.switch !== undefined);
  const ends = ring.flatMap(({ a, b }) => [a, b]);
  const sum = (slot: number): number => ends.reduce((total, port) => total + port.counters[slot]!, 0);
  // From s1 both ways; s2 and s3 to each other; what comes then is known.
  assert.equal(sum(PortCounter.multicastXmitPackets), 4 * PACKETS);
  assert.equal(sum(PortCounter.rcvSwitchRelayErrors), 2 * PACKETS);
  assert.equal(
    ends.reduce((total, port) => total + port.details[PortDetail.loopingErrors]!, 0),
    2 * PACKETS,
  );
});

test("cables are pulled under a group: what waits there is lost, and no buffer stays occupied", () => {
  const group = new Group(TREE, HOSTS);
  group.freeze("c", true);
  group.flood();
  group.send(full(PACKETS));
  group.world.elapse(1 * MS);
  for (const [a, b] of [
    ["s2", "c"],
    ["s1", "s2"],
  ] as const) {
    group.world.link(a, b).setPlugged(false);
    group.world.elapse(0.1 * MS, 1);
    group.world.link(a, b).setPlugged(true);
    group.world.elapse(400 * MS, 20);
  }
  group.freeze("c", false);
  group.world.elapse(10 * MS);
  assert.equal(group.counts()[0], PACKETS, "b's cable was never touched");
  group.assertQuiet();
});

test("more copies than the fabric has room for: the rest is discarded and counted, and all room comes back", () => {
  const count = 200;
  const hosts = Array.from({ length: count }, (_, i) => `p${i}: { switch: s1 }`);
  const group = new Group(
    `switches: { s1: { ports: 254 } }\nhosts: { a: { switch: s1 }, b: { switch: s1 }, ${hosts.join(", ")} }\n`,
    ["a", "b"],
  );
  group.flood();
  // Phantom hosts at the ends of long cables.
  for (let i = 0; i < count; i++) group.world.setFaults("s1", `p${i}`, { delayNs: 1 * MS });
  group.send(new Array<number>(PACKETS).fill(16));
  group.world.elapse(0.5 * MS);
  const { lanes } = group.world.fabric;
  assert.ok(lanes!.length > POOL_PACKETS - MANAGEMENT_PACKETS - count);
  assert.ok(lanes!.counts.copiesLost >= PACKETS * count - POOL_PACKETS + MANAGEMENT_PACKETS);
  group.world.elapse(5 * MS);
  const discards = [...group.world.fabric.links].reduce(
    (sum, { a, b }) => sum + a.counters[PortCounter.xmitDiscards]! + b.counters[PortCounter.xmitDiscards]!,
    0,
  );
  assert.equal(discards, lanes!.counts.copiesLost);
  group.assertQuiet();
});
