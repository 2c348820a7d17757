// Management datagrams to LIDs through virtual lanes: they wait behind data that share their lane, not behind others, lose nothing but what is too old
// or too much, and the subnet administration answers whatever else goes over the same cables. IBA vol 1, 7.6, 7.9, 10.9.4, 13.5.1, 15.2.5.16.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { InProcessGuest } from "../../src/domain/in-process-fabric.ts";
import { inspectEnd } from "../../src/fabric/inspect-links.ts";
import { HOST_QUEUE_BYTES } from "../../src/fabric/lanes/limits.ts";
import { newRequest } from "../../src/mad/mad.ts";
import { buildMadPacket, gmpAddress, type MadAddress, type MadPacket, parseMadPacket } from "../../src/mad/packet.ts";
import { SendOpcode } from "../../src/spec/hca/queues.ts";
import { Service } from "../../src/spec/ib/numbers.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { MadHeader, SA_DATA_AT, SaHeader } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, PmAttribute, SaAttribute } from "../../src/spec/mad/numbers.ts";
import { PathRecord } from "../../src/spec/mad/sa-records.ts";
import { PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import { CabledHosts } from "./cabled-hosts.ts";
import { Buffer64, connect, type End } from "./pair.ts";

/** The subnet manager is at s1, d asks from behind a slow cable, p is a phantom host. */
const TWO_SWITCHES = `
switches: { s1: { ports: 8 }, s2: { ports: 8 } }
hosts: { a: { switch: s1 }, b: { switch: s1 }, c: { switch: s2 }, d: { switch: s2 }, p: { switch: s2 } }
links: [{ ends: [s1, s2], width: 1X, speed: SDR }]
`;
const HOSTS = ["a", "b", "c", "d"];
const US = 1000;
const MS = 1e6;
const RC = { retryCount: 7, rnrRetry: 7, ackTimeout: 20, mtuCode: 4 };
/** Data of a moment that keep the slow cable busy for 17 ms. */
const FLOOD_BYTES = 4 << 20;

const lanesWorld = (more = ""): CabledHosts => new CabledHosts(`${TWO_SWITCHES}lanes: { head-of-queue: 500ms }\n${more}`, HOSTS);
const guestOf = (world: CabledHosts, name: string): InProcessGuest => world.system.guests.find((guest) => guest.name === name)!;
const lidOf = (world: CabledHosts, name: string): number => {
  const { ports } = world.fabric.findLabel(name)!;
  return (ports[0] ?? ports[1])!.lid;
};

/** What a host's kernel asks, and what comes back to it with the time that it took. */
class Asker {
  readonly #world: CabledHosts;
  readonly #port: InProcessGuest["port"];
  readonly answers: { packet: MadPacket; ns: number }[] = [];
  #sinceNs = 0;
  #tid = 1n;

  constructor(world: CabledHosts, name: string) {
    this.#world = world;
    this.#port = guestOf(world, name).port;
    this.#port.observer = (bytes, isSent) => {
      const packet = isSent ? undefined : parseMadPacket(new Uint8Array(bytes));
      const isAnswer = packet !== undefined && MadHeader.method.get(packet.view, packet.madAt) >= Method.GET_RESP;
      if (isAnswer) this.answers.push({ packet, ns: world.clock.nowNs() - this.#sinceNs });
    };
  }

  ask(dlid: number, mad: DataView, address: Partial<MadAddress> = {}): void {
    this.#sinceNs = this.#world.clock.nowNs();
    MadHeader.tid.setBig(mad, 0, this.#tid++);
    this.#port.transmit(buildMadPacket({ ...gmpAddress(this.#port.lid, dlid), ...address }, mad));
  }

  /** Nanoseconds until an answer to a path record query is there, with `tries` of a second each. */
  path(to: string, tries: number, sl = 0): number {
    const mad = newRequest(MgmtClass.SUBN_ADM, Method.GET, SaAttribute.PATH_RECORD);
    // SLID and DLID (15.2.5.16).
    SaHeader.componentMask.setBig(mad, 0, (1n << 4n) | (1n << 5n));
    PathRecord.slid.set(mad, SA_DATA_AT, this.#port.lid);
    PathRecord.dlid.set(mad, SA_DATA_AT, lidOf(this.#world, to));
    const { length } = this.answers;
    for (let i = 0; i < tries; i++) {
      this.ask(this.#port.smLid, mad, { sl });
      for (let us = 0; us < 1e6 && this.answers.length === length; us += us < 1000 ? 1 : 100)
        this.#world.elapse(us < 1000 ? US : 100 * US, 1);
      if (this.answers.length > length) break;
    }
    const answer = this.answers.at(-1);
    if (answer === undefined || this.answers.length === length) return Number.POSITIVE_INFINITY;
    const { view, madAt } = answer.packet;
    assert.equal(PathRecord.dlid.get(view, madAt + SA_DATA_AT), lidOf(this.#world, to));
    return answer.ns;
  }
}

/** Writes from one host to another, all at once. */
function flood(from: End, to: End, sl = 0): () => boolean {
  const [qp] = connect(from, to, Service.RC, { ...RC, sl });
  const [source, target] = [new Buffer64(from, FLOOD_BYTES), new Buffer64(to, FLOOD_BYTES)];
  source.bytes.fill(sl + 1);
  qp.postSend({ opcode: SendOpcode.RDMA_WRITE, sges: [source.sge()], ...target.remote() });
  return () => source.bytes.equals(target.bytes);
}

function assertQuiet(world: CabledHosts): void {
  const lanes = world.fabric.lanes!;
  assert.equal(lanes.length, 0);
  const ports = [...world.fabric.nodes].flatMap((node) => node.ports);
  for (const port of ports) {
    if (port?.lanes === undefined) continue;
    assert.ok(port.lanes.buffered.every((blocks) => blocks === 0));
    assert.ok(port.lanes.credits.every((blocks) => blocks === lanes.bufferBlocks));
  }
}

const echo = (): DataView => newRequest(MgmtClass.PERF, Method.GET, PmAttribute.CLASS_PORT_INFO);

test("a question and its answer are counted once by every port on their way, and take as long as the cables do", () => {
  const world = lanesWorld();
  const asker = new Asker(world, "a");
  const ways = [
    ["a", "s1"],
    ["s1", "s2"],
    ["s2", "p"],
  ] as const;
  const names = ["xmitPackets", "rcvPackets", "unicastXmitPackets", "unicastRcvPackets", "xmitDataSl3", "rcvDataSl3"] as const;
  const counts = (): number[] =>
    ways.flatMap((way) =>
      [way, [way[1], way[0]] as const].flatMap(([from, to]) =>
        names.map((name) => inspectEnd(world.port(from, to)).counters[name] ?? 0),
      ),
    );
  const before = counts();
  asker.ask(lidOf(world, "p"), echo(), { sl: 3 });
  world.elapse(20 * US, 200);
  assert.equal(asker.answers.length, 1);
  // 290 bytes with CRCs: twice through 1X SDR (250 MB/s), four times through 4X DDR.
  const { ns } = asker.answers[0]!;
  assert.ok(ns >= 2 * 1160 + 4 * 145 && ns < 2 * 1160 + 4 * 145 + 400, `${ns}`);
  const words = (8 + 12 + 8 + 256 + 4) / 4;
  assert.deepEqual(
    counts().map((count, i) => count - before[i]!),
    ways.flatMap(() => [1, 1, 1, 1, words, words, 1, 1, 1, 1, words, words]),
  );
  assertQuiet(world);
});

test("what has arrived is answered at that moment, however long nobody has looked", () => {
  const world = lanesWorld();
  const asker = new Asker(world, "a");
  asker.ask(lidOf(world, "p"), echo());
  world.elapse(1 * MS, 1);
  assert.deepEqual([asker.answers.length, world.fabric.lanes!.length], [0, 1], "the answer is on its way");
  world.elapse(1 * MS, 1);
  assert.equal(asker.answers.length, 1);
});

test("the subnet administration answers over a cable that is full of data: later in their lane, at once in another", () => {
  const world = lanesWorld("qos: { vl: [0, 1], low: { 0: 64, 1: 64 } }\n");
  const [a, b, c, d] = world.hosts as [End, End, End, End];
  const asker = new Asker(world, "d");
  const quiet = asker.path("a", 1);
  const isDone = [flood(a, c), flood(b, c), flood(b, d)];
  world.elapse(1 * MS, 10);
  const congested = asker.path("a", 1);
  const apart = asker.path("a", 1, 1);
  assert.ok(quiet < 10 * US, `${quiet}`);
  // Two hosts have each 16 KiB before the answer in s1, and the answer waits for its turn.
  assert.ok(congested > 20 * US && congested < 400 * US, `${congested}`);
  assert.ok(apart < 40 * US && apart < congested, `${apart}: one packet of the other lane at most, each way`);
  world.elapse(100 * MS, 50);
  assert.ok(isDone.every((each) => each()));
  assertQuiet(world);
});

test("a receiver that takes nothing holds up questions of its lane until packets are too old; those of another lane pass", () => {
  const world = lanesWorld("qos: { vl: [0, 1], low: { 0: 64, 1: 64 } }\n");
  const [a, , c] = world.hosts as [End, End, End, End];
  const asker = new Asker(world, "d");
  const isDone = flood(a, c);
  world.elapse(1 * MS, 10);
  guestOf(world, "c").port.setFrozen(true);
  world.elapse(1 * MS, 10);
  assert.ok(asker.path("a", 1, 1) < 10 * US, "nothing else in this lane");
  const held = asker.path("a", 10);
  assert.ok(held > 1 * MS && held < 1000 * MS, `${held}`);
  guestOf(world, "c").port.setFrozen(false);
  world.elapse(20_000 * MS, 400);
  assert.ok(isDone());
  assertQuiet(world);
});

test("a host that floods the fabric with questions: what has no room is discarded and counted, data and others go on", () => {
  const world = lanesWorld("qos: { vl: [0, 1], low: { 0: 64, 1: 64 } }\n");
  const [a, b, , d] = world.hosts as [End, End, End, End];
  const flooder = new Asker(world, "a");
  const count = 4000;
  const sent = (): number => world.port("a", "s1").counters[PortCounter.xmitPackets]!;
  const before = sent();
  for (let i = 0; i < count; i++) flooder.ask(lidOf(world, "p"), echo());
  const discarded = world.port("a", "s1").counters[PortCounter.xmitDiscards]!;
  assert.equal(sent() - before + discarded, count);
  assert.equal(count - discarded, Math.floor((2 * HOST_QUEUE_BYTES) / 320), "five blocks each");
  flooder.ask(lidOf(world, "p"), echo(), { sl: 1 });
  world.elapse(20 * US, 20);
  assert.ok(
    flooder.answers.some(({ packet }) => packet.sl === 1),
    "another lane has its own room, and its own turns",
  );
  const isDone = [flood(a, d), flood(b, d)];
  assert.ok(new Asker(world, "b").path("c", 1) < 100 * MS);
  world.elapse(200 * MS, 100);
  assert.equal(flooder.answers.length, count - discarded + 1);
  assert.ok(isDone.every((each) => each()));
  assertQuiet(world);
});

test("a frozen host takes questions when it goes on; P_Keys are enforced at switches", () => {
  const world = lanesWorld();
  const asker = new Asker(world, "a");
  const { port } = guestOf(world, "d");
  port.setFrozen(true);
  for (let i = 0; i < 5; i++) asker.ask(port.lid, echo());
  world.elapse(1 * MS);
  assert.ok(world.port("d", "s2").lanes!.buffered[0]! >= 5 * 5);
  const taken = (): number => port.counters[PortCounter.rcvPackets]!;
  const before = taken();
  port.setFrozen(false);
  world.elapse(1 * MS);
  assert.deepEqual([taken() - before, asker.answers.length], [5, 5]);
  for (const [end, field, slot] of [
    [world.port("s1", "a"), "partitionEnforcementIn", PortCounter.rcvConstraintErrors],
    [world.port("s2", "p"), "partitionEnforcementOut", PortCounter.xmitConstraintErrors],
  ] as const) {
    PortInfo[field].set(end.info, 0, 1);
    asker.ask(lidOf(world, "p"), echo(), { pkey: 0x8123 });
    world.elapse(1 * MS);
    assert.deepEqual([end.counters[slot], asker.answers.length], [1, 5]);
    PortInfo[field].set(end.info, 0, 0);
  }
  assertQuiet(world);
});

test("cables that lose packets, are slow and are pulled: no buffer stays occupied", () => {
  const world = lanesWorld();
  const asker = new Asker(world, "a");
  world.setFaults("s1", "s2", { loss: 0.1, corruption: 0.05, delayNs: 30_000 });
  for (let i = 0; i < 200; i++) {
    asker.ask(lidOf(world, i % 2 === 0 ? "p" : "s2"), echo());
    world.elapse(5 * US, 1);
    if (i === 100) world.link("s1", "s2").setPlugged(false);
    if (i === 120) world.link("s1", "s2").setPlugged(true);
  }
  world.elapse(1000 * MS, 100);
  const { length } = asker.answers;
  assert.ok(length > 40 && length < 180, `${length}`);
  world.setFaults("s1", "s2", undefined);
  asker.ask(lidOf(world, "s2"), echo());
  world.elapse(1 * MS);
  assert.equal(asker.answers.length, length + 1);
  assertQuiet(world);
});
