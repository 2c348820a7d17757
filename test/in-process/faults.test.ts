// Faults through the in-process API, in simulated time: what each does to programs, when it ends, that it is counted, that a seed repeats it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { NS_PER_MS, NS_PER_S } from "../../src/base/clock.ts";
import { Random } from "../../src/base/random.ts";
import { parseSchedule, planOf } from "../../src/domain/faults/schedule.ts";
import { ALL_ACCESS, type Context, connectQp, type QueuePair } from "../../src/verbs/index.ts";
import { SimulatedFabric } from "../verbs/simulated.ts";

interface End {
  qp: QueuePair;
  bytes: Uint8Array;
  addr: number;
  lkey: number;
  rkey: number;
  lid: number;
}

/** @param timeout of the QP: 4.096 µs × 2^timeout, so many retries */
function connect(a: Context, b: Context, timeout: number, retryCnt = 7): [End, End] {
  const ends = [a, b].map((context): End => {
    const pd = context.allocPd();
    const cq = context.createCq(256);
    const memory = context.allocMemory(1 << 16);
    const { addr, lkey, rkey } = pd.regMr(memory, ALL_ACCESS);
    const qp = pd.createQp({ qpType: "RC", sendCq: cq, recvCq: cq });
    return { qp, bytes: memory.bytes, addr, lkey, rkey, lid: context.queryPort().lid };
  });
  const [x, y] = ends as [End, End];
  connectQp(x.qp, { lid: y.lid, qpNum: y.qp.qpNum, timeout, retryCnt });
  connectQp(y.qp, { lid: x.lid, qpNum: x.qp.qpNum, timeout, retryCnt });
  return [x, y];
}

const write = (from: End, to: End, length = 4096): Promise<unknown> =>
  from.qp.send({
    opcode: "RDMA_WRITE",
    sgList: [{ addr: from.addr, length, lkey: from.lkey }],
    remoteAddr: to.addr,
    rkey: to.rkey,
  });

test("an HCA that is frozen answers nothing and serves nothing; what was written is served when it goes on", async () => {
  const world = new SimulatedFabric();
  const { faults } = world.fabric;
  const [a, b] = (await world.open(2)) as [Context, Context];
  // 8 × 268 ms of patience.
  const [x, y] = connect(a, b, 16);
  await world.during(write(x, y));
  x.bytes.fill(7);
  faults.inject({ kind: "freeze", hca: "n2", forNs: NS_PER_S });
  assert.deepEqual(faults.view().active, [{ kind: "freeze", hca: "n2", leftNs: NS_PER_S }]);
  let [there, back] = [false, false];
  const sent = write(x, y).then(() => {
    there = true;
  });
  const answered = write(y, { ...x, addr: x.addr + 8192 }).then(() => {
    back = true;
  });
  await world.elapse(900);
  assert.deepEqual([there, back, y.bytes[0]], [false, false, 0]);
  await world.during(Promise.all([sent, answered]));
  assert.ok(world.nowMs >= 1000);
  assert.equal(y.bytes[0], 7);
  assert.deepEqual([faults.view().active, faults.view().counts.freezes], [[], 1]);
});

test("an HCA that stays frozen costs its peers their connections; it is thawed by name", async () => {
  const world = new SimulatedFabric();
  const { faults } = world.fabric;
  const [a, b] = (await world.open(2)) as [Context, Context];
  const [x, y] = connect(a, b, 8, 2);
  faults.inject({ kind: "freeze", hca: "n2" });
  await assert.rejects(world.during(write(x, y)), /RETRY_EXC/);
  assert.throws(() => faults.inject({ kind: "freeze", hca: "n22" }), /there is no node n22; did you mean n2/);
  assert.throws(() => b.queryPort(), /no completion event/, "commands are not executed either");
  faults.clear("n2");
  assert.deepEqual(faults.view().active, []);
  assert.equal(b.queryPort().state, "ACTIVE");
  const [again, peer] = connect(a, b, 8, 2);
  await world.during(write(again, peer));
});

test("the subnet manager dies: the subnet goes on, nothing new is found; its successor finds it and gives no other LIDs", async () => {
  const world = new SimulatedFabric(1, { topology: "torus:2x2:2" });
  const { faults, fabric } = world.fabric;
  const [a, b] = (await world.open(2)) as [Context, Context];
  const [x, y] = connect(a, b, 14);
  faults.inject({ kind: "sm", forNs: 5 * NS_PER_S });
  const lids = (): Map<string, number | undefined> =>
    new Map(fabric.nodes().map(({ name, ports }) => [name, ports.find(({ lid }) => lid !== 0)?.lid]));
  const before = lids();
  fabric.removeCable("n8");
  fabric.addNode({ kind: "host", name: "late", portCount: 1, at: ["s2-2"] });
  await world.elapse(4000, 10);
  assert.equal(fabric.links().find(({ a: near }) => near.node === "late")?.a.state, "INIT");
  await world.during(write(x, y));
  assert.equal(faults.view().active[0]?.kind, "sm");
  await world.elapse(4000, 10);
  assert.deepEqual([faults.view().active, faults.view().counts.managerDeaths], [[], 1]);
  assert.equal(fabric.links().find(({ a: near }) => near.node === "late")?.a.state, "ACTIVE");
  assert.equal(fabric.path("n1", "late").problem, undefined);
  for (const [name, lid] of before) if (name !== "n8") assert.equal(lids().get(name), lid, name);
  await world.during(write(x, y));
});

test("a cable flaps: down and up as often as was said, RC goes on over others, every time is counted", async () => {
  const world = new SimulatedFabric(1, { topology: "fat-tree:4" });
  const { faults, fabric } = world.fabric;
  const contexts = await world.open(3);
  const [x, y] = connect(contexts[0]!, contexts[2]!, 14);
  const { hops } = fabric.path("n1", "n3");
  const cable = `${hops[1]?.node}:${hops[1]?.out}`;
  faults.inject({ kind: "flap", end: cable, downNs: 20 * NS_PER_MS, upNs: 10 * NS_PER_MS, times: 3 });
  const states: string[] = [];
  for (let i = 0; i < 100; i++) {
    const state = fabric.changeLink(cable, {}).state;
    if (state !== states.at(-1)) states.push(state);
    x.bytes.fill(i);
    await world.during(write(x, y));
    assert.ok(y.bytes.subarray(0, 4096).every((byte) => byte === i));
    await world.elapse(1);
  }
  assert.deepEqual(states, ["PULLED", "UP", "PULLED", "UP", "PULLED", "UP"]);
  assert.deepEqual([faults.view().active, faults.view().counts.cablesPulled], [[], 3]);
});

const SCHEDULE = `
seed: 7
faults:
  - { at: 10ms, link: n2, loss: 20%, for: 200ms }
  - { at: [20ms, 90ms], every: 50ms, repeat: 3, pull: random, for: 30ms }
  - { at: 40ms, flap: "edge1-1:3", down: 10ms, up: 10ms, times: 2 }
  - { at: 100ms, freeze: n1, for: 20ms }
  - { at: 150ms, sm: down, for: 20ms }
  - { at: 300ms, link: n2, delay: 5us }
  - { at: 400ms, clear: all }
`;

async function runSchedule(): Promise<object> {
  const world = new SimulatedFabric(3, { topology: "fat-tree:4" });
  const { faults } = world.fabric;
  const [a, b] = (await world.open(2)) as [Context, Context];
  const [x, y] = connect(a, b, 12);
  const plan = faults.run(SCHEDULE);
  for (let i = 0; i < 60; i++) {
    x.bytes.fill(i);
    await world.during(write(x, y, 20_000));
    assert.ok(y.bytes.subarray(0, 20_000).every((byte) => byte === i));
    await world.elapse(10);
  }
  const { active, counts, plan: left } = faults.view();
  assert.deepEqual([active, left?.done, left?.total, left?.failures], [[], 9, 9, []]);
  assert.ok(counts.lost > 0, "losses");
  return { plan, counts };
}

test("a schedule runs at its times, and its seed repeats all of it, losses included; all is counted", async () => {
  const first = (await runSchedule()) as { counts: Record<string, number> };
  assert.deepEqual(await runSchedule(), first);
  const { cablesSpoiled, cablesPulled, freezes, managerDeaths } = first.counts;
  assert.deepEqual([cablesSpoiled, cablesPulled, freezes, managerDeaths], [2, 5, 1, 1]);
});

test("clear ends everything, plans too; faults of what is gone are over", async () => {
  const world = new SimulatedFabric(1, { topology: "fat-tree:4" });
  const { faults, fabric } = world.fabric;
  await world.open(1);
  faults.run("faults: [{ at: 1s, pull: n9 }, { at: 2s, freeze: n1 }]", 5);
  faults.inject({ kind: "pull", end: "n5" });
  faults.inject({ kind: "spoil", end: "n6", faults: { loss: 0.5 }, forNs: NS_PER_S });
  faults.inject({ kind: "flap", end: "n7", downNs: NS_PER_MS, upNs: NS_PER_MS, times: 10 });
  faults.inject({ kind: "flap", end: "n8", downNs: NS_PER_MS, upNs: NS_PER_MS, times: 10 });
  faults.inject({ kind: "sm" });
  assert.deepEqual(
    faults
      .view()
      .active.map(({ kind }) => kind)
      .sort(),
    ["flap", "flap", "pull", "sm", "spoil"],
  );
  fabric.removeNode("n8");
  await world.elapse(5);
  assert.equal(faults.view().active.length, 4);
  faults.clear("n6");
  faults.clear();
  assert.deepEqual(faults.view().active, []);
  await world.elapse(3000, 20);
  assert.deepEqual(faults.view().active, []);
  assert.equal(faults.view().counts.freezes, 0);
  for (const { a, state } of fabric.links()) if (a.node !== "n1") assert.equal(state, "UP", a.node);
});

test("a fault that would be over as soon as it begins is refused, now or in a plan, and not counted", async () => {
  const world = new SimulatedFabric();
  const { faults } = world.fabric;
  await world.open(2);
  for (const fault of [
    { kind: "spoil", end: "n1", faults: { loss: 1 }, forNs: 0 },
    { kind: "pull", end: "n1", forNs: 0 },
    { kind: "freeze", hca: "n1", forNs: -1 },
    { kind: "sm", forNs: Number.NaN },
    { kind: "flap", end: "n1", downNs: 0, upNs: 1, times: 1 },
  ] as const) {
    assert.throws(() => faults.inject(fault), /expected (a fault that lasts longer than 0 ns, got|times above 0)/, fault.kind);
    assert.throws(() => faults.start({ seed: 1, steps: [{ atNs: 1, fault }] }), /expected (a fault that lasts|times above 0)/);
  }
  const { active, counts, plan } = faults.view();
  assert.deepEqual([active, plan, ...Object.values(counts)], [[], undefined, 0, 0, 0, 0, 0, 0, 0]);
});

test("each mistake in a schedule is named with its line", () => {
  const parse = (text: string) => planOf(parseSchedule(text, "s.yaml"), new Random(1), []);
  for (const [text, message] of [
    ["", /s.yaml:1: expected faults: and, if wanted, seed:/],
    ["faults: 3", /faults: expected a list of faults, got 3/],
    ["faults:\n  - { link: n1, loss: 1% }", /s.yaml:2: faults.0.at: expected a time such as 500ms or 2s, or two of them/],
    ["faults:\n  - { at: 1, pull: n1 }", /faults.0.at: expected a time/],
    ["faults:\n  - { at: 1s }", /s.yaml:2: faults.0: expected one of link, pull, flap, freeze, sm, clear/],
    ["faults:\n  - { at: 1s, pull: n1, freeze: n2 }", /expected one of link, pull/],
    ["faults:\n  - { at: 1s, pull: n1, loss: 1% }", /pull does not take loss; it takes for/],
    ["faults:\n  - { at: 1s, link: n1 }", /link needs loss, corruption or delay/],
    ["faults:\n  - { at: 1s, flap: n1, up: 1s }", /flap needs down and up, two times/],
    ["faults:\n  - { at: 1s, flap: n1, up: 1s, down: 0s }", /s.yaml:2: faults.0: flap needs down and up above 0/],
    ["faults:\n  - { at: 1s, pull: n1, for: 0s }", /s.yaml:2: faults.0: expected for above 0; a fault without for stays/],
    ["faults:\n  - { at: 1s, sm: dead }", /expected sm: down/],
    ["faults:\n  - { at: 1s, pull: n1, every: 1s }", /expected every and repeat together/],
    ["faults:\n  - { at: 1s, pull: n1, every: 1s, repeat: 0 }", /s.yaml:2: expected to repeat once at least, got 0/],
    ["faults:\n  - { at: 1s, pull: n1, every: 1s, repeat: 20000 }", /expected at most 10000 faults in all, got 20000/],
    ["faults:\n  - { at: 99999m, pull: n1 }", /expected an end within 604800 s/],
    ["faults:\n  - { at: 1s, pul: n1 }", /s.yaml:2: faults.0: Unrecognized key: "pul"; did you mean pull/],
    ["faults:\n  - { at: 1s, pull: random }", /random: expected a cable between two switches/],
  ] as const) {
    assert.throws(() => parse(text), message, text);
  }
});
