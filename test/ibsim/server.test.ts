import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { activateLinks, setLid, setRoute } from "../../src/fabric/hand-made-subnet.ts";
import type { Port } from "../../src/fabric/port.ts";
import { MAX_CLIENTS, MAX_SENDS, RETRY_NS } from "../../src/ibsim/limits.ts";
import { makeResponse, newDirectedSmp, newRequest } from "../../src/mad/mad.ts";
import { CONTROL_DATA_AT, Control, ControlType, TIMED_OUT } from "../../src/spec/ibsim/messages.ts";
import { MadHeader, SMP_DATA_AT, Smp } from "../../src/spec/mad/headers.ts";
import { Method, MgmtClass, PortCapability, SmAttribute } from "../../src/spec/mad/numbers.ts";
import { NodeInfo, PortInfo } from "../../src/spec/mad/sm-attributes.ts";
import type { RawClient } from "./raw-client.ts";
import { World } from "./world.ts";

let world: World;
beforeEach(() => {
  world = new World();
});
afterEach(() => world.close());

const VENDOR_CLASS = 0x32;
const LIDS = { H1: 1, H2: 2, H3: 3, H4: 4, S1: 5, S2: 6 };

/** Gives the nodes LIDs and every switch its routes, as a subnet manager would. */
function configure(): void {
  activateLinks(world.fabric.fabric);
  for (const [name, lid] of Object.entries(LIDS)) {
    setLid(portOf(name), lid, 1);
  }
  for (const [own, name, other] of [
    [{ H1: 1, H2: 2 }, "S1", { H3: 8, H4: 8, S2: 8 }],
    [{ H3: 1, H4: 2 }, "S2", { H1: 8, H2: 8, S1: 8 }],
  ] as const) {
    for (const [to, port] of Object.entries({ ...own, ...other })) {
      setRoute(world.fabric.switches.get(name)!, LIDS[to as keyof typeof LIDS], port);
    }
  }
}

const portOf = (name: string): Port => {
  const node = world.fabric.fabric.findLabel(name)!;
  return (node.ports[0] ?? node.ports[1])!;
};

const withTid = (mad: DataView, hi: number, lo: number): DataView => {
  MadHeader.tid.hi.set(mad, 0, hi);
  MadHeader.tid.lo.set(mad, 0, lo);
  return mad;
};

const isSm = (name: string): boolean => (PortInfo.capabilityMask.get(portOf(name).info, 0) & PortCapability.IS_SM) !== 0;

test("MADs are answered one after the other, however far each has to go, and a look has a bound", () => {
  const client = world.newClient();
  const other = world.newClient();
  for (const each of [client, other]) each.connect("H1");
  const question = (path: readonly number[], tid: number): DataView =>
    withTid(newDirectedSmp(path, Method.GET, SmAttribute.NODE_INFO), 0, tid);
  const answers = (of: RawClient): number[] => {
    const tids: number[] = [];
    for (let each = of.receive(); each !== undefined; each = of.receive()) tids.push(MadHeader.tid.lo.get(each.mad, 0));
    return tids;
  };
  client.send(0xffff, 0, question([1, 8, 2], 1));
  client.send(0xffff, 0, question([1], 2));
  world.server.poll(world.nowNs);
  assert.deepEqual(answers(client), [1, 2]);

  const count = 10;
  for (const each of [client, other]) for (let i = 0; i < count; i++) each.send(0xffff, 0, question([1, 8, 2], i));
  world.server.poll(world.nowNs);
  const atOnce = answers(client).length + answers(other).length;
  assert.ok(atOnce > 0 && atOnce < 2 * count, `${atOnce} of ${2 * count} answered in one look`);
  world.run();
  assert.equal(atOnce + answers(client).length + answers(other).length, 2 * count);
});

test("a client gets the node it asks for by name or description, or else the first", () => {
  assert.equal(world.newClient().connect("H3"), "H3");
  assert.equal(world.newClient().connect("host two"), "H2");
  assert.equal(world.newClient().connect(), "S1");
  assert.equal(world.newClient().connect("nobody"), undefined);
  assert.equal(world.server.counts.refused, 1);
  assert.equal(world.server.counts.clients, 3);
});

test("directed routes: to the own port, to the next switch, across both", () => {
  for (const [node, paths] of [
    ["H1", [[], [1], [1, 8], [1, 8, 2]]],
    ["S1", [[], [1], [8], [8, 2]]],
  ] as const) {
    const client = world.newClient();
    client.connect(node);
    const guids = paths.map((path, i) => {
      const answer = client.call(0xffff, 0, withTid(newDirectedSmp(path, Method.GET, SmAttribute.NODE_INFO), 0x5, i));
      assert.ok(answer, `${node} ${path}`);
      assert.equal(answer.status, 0);
      assert.equal(MadHeader.method.get(answer.mad, 0), Method.GET_RESP);
      assert.equal(Smp.hopPointer.get(answer.mad, 0), 0);
      assert.deepEqual([MadHeader.tid.hi.get(answer.mad, 0), MadHeader.tid.lo.get(answer.mad, 0)], [5, i]);
      return NodeInfo.nodeGuid.getBig(answer.mad, SMP_DATA_AT);
    });
    const expected = node === "H1" ? [0x100010n, 0x200001n, 0x200002n, 0x100040n] : [0x200001n, 0x100010n, 0x200002n, 0x100040n];
    assert.deepEqual(guids, expected);
  }
});

test("a directed route that begins behind a part by LID, and its answer", () => {
  configure();
  const client = world.newClient();
  client.connect("H1");
  const smp = newDirectedSmp([2], Method.GET, SmAttribute.NODE_INFO);
  Smp.drSlid.set(smp, 0, LIDS.H1);
  const answer = client.call(LIDS.S2, 0, smp);
  assert.equal(NodeInfo.nodeGuid.getBig(answer!.mad, SMP_DATA_AT), 0x100040n);
});

test("what the control socket tells: port, vendor, GUID, NodeInfo, PortInfo, P_Keys", () => {
  const client = world.newClient();
  client.connect("H2");
  configure();
  const data = (type: number): DataView => {
    const reply = client.ask(type)!;
    assert.equal(Control.type.get(reply, 0), type);
    return new DataView(reply.buffer, CONTROL_DATA_AT);
  };
  assert.deepEqual([data(ControlType.GET_PORT).getUint16(0, true), data(ControlType.GET_PORT).getUint8(2)], [2, 4]);
  assert.deepEqual(
    [0, 4, 8].map((at) => data(ControlType.GET_VENDOR).getUint32(at, true)),
    [0x1425, 25205, 0xa0],
  );
  assert.equal(data(ControlType.GET_GUID).getBigUint64(0, true), 0x100020n);
  assert.equal(NodeInfo.nodeGuid.getBig(data(ControlType.GET_NODE_INFO), 0), 0x100020n);
  assert.equal(PortInfo.lid.get(data(ControlType.GET_PORT_INFO), 0), 2);
  assert.equal(data(ControlType.GET_P_KEYS).getUint16(0), 0xffff);
  assert.equal(Control.type.get(client.ask(99)!, 0), ControlType.ERROR);
});

test("a MAD of any class reaches the program that waits at the other host, and its answer the one that asked", () => {
  configure();
  const server = world.newClient();
  server.connect("H3");
  const [asker, bystander] = [world.newClient(), world.newClient()];
  asker.connect("H1");
  bystander.connect("H1");
  const ping = withTid(newRequest(VENDOR_CLASS, Method.GET, 0), 0x7, 0x99);
  assert.equal(asker.call(LIDS.H3, 1, ping), undefined, "the server has not answered yet");
  const request = server.receive()!;
  assert.equal(request.slid, LIDS.H1);
  assert.equal(request.srcQp, 1);
  makeResponse(request.mad, 0);
  server.send(request.slid, request.srcQp, request.mad);
  world.run();
  const answer = asker.receive()!;
  assert.deepEqual([MadHeader.tid.hi.get(answer.mad, 0), MadHeader.tid.lo.get(answer.mad, 0)], [7, 0x99]);
  assert.equal(answer.slid, LIDS.H3);
  assert.equal(bystander.receive(), undefined);
  // A program that only asks would be crashed by a request.
  assert.equal(server.call(LIDS.H1, 1, withTid(newRequest(VENDOR_CLASS, Method.GET, 0), 0, 1)), undefined);
  assert.equal(asker.receive(), undefined);
  assert.notEqual(bystander.receive(), undefined, "the one that has said nothing waits for requests");
});

test("a request that nobody answers is sent again, and comes back in the end", () => {
  configure();
  const client = world.newClient();
  client.connect("H1");
  client.send(LIDS.H4, 1, withTid(newRequest(VENDOR_CLASS, Method.GET, 0), 0x3, 0x44));
  const before = portOf("H4").node.fabric.counts.unclaimed;
  for (let i = 0; i < MAX_SENDS; i++) {
    world.run(i === 0 ? 0 : RETRY_NS);
    assert.equal(client.receive(), undefined);
  }
  world.run(RETRY_NS);
  const back = client.receive()!;
  assert.equal(back.status, TIMED_OUT);
  assert.deepEqual([MadHeader.tid.hi.get(back.mad, 0), MadHeader.tid.lo.get(back.mad, 0)], [3, 0x44]);
  assert.equal(MadHeader.method.get(back.mad, 0), Method.GET);
  assert.equal(portOf("H4").node.fabric.counts.unclaimed, before, "the phantom host drops them itself");
  assert.equal(world.server.counts.timedOut, 1);
  assert.equal(client.call(0, 1, newRequest(VENDOR_CLASS, Method.GET, 0))?.status, TIMED_OUT, "no LID at all: at once");
});

test("IsSM in PortInfo: while a subnet manager is attached, however it ends; one on a node", () => {
  const first = world.newClient();
  first.connect("H1", true);
  assert.ok(isSm("H1"));
  assert.equal(world.newClient().connect("H1", true), undefined);
  assert.equal(world.newClient().connect("H1"), "H1");
  first.ask(ControlType.DISCONNECT);
  assert.ok(!isSm("H1"));
  const second = world.newClient();
  second.connect("H1");
  second.ask(ControlType.SET_IS_SM, Uint8Array.of(1, 0, 0, 0));
  assert.ok(isSm("H1"));
  second.close();
  world.run(1e9);
  assert.ok(!isSm("H1"), "a killed subnet manager is none");
});

test("a trap goes to the subnet manager, and its TrapRepress ends it though the library spoils the transaction id", () => {
  configure();
  const manager = world.newClient();
  manager.connect("H1", true);
  [...world.fabric.fabric.links].find(({ b }) => b === portOf("H4") || b.peer === portOf("H4"))!.setPlugged(false);
  world.run();
  const trap = manager.receive()!;
  assert.equal(MadHeader.method.get(trap.mad, 0), Method.TRAP);
  assert.equal(trap.slid, LIDS.S2);
  MadHeader.method.set(trap.mad, 0, Method.TRAP_REPRESS);
  MadHeader.tid.hi.set(trap.mad, 0, 1);
  manager.send(trap.slid, 0, trap.mad);
  world.run();
  world.run(5e9);
  assert.equal(manager.receive(), undefined);
});

test("a killed client frees its place, more than ten fit, and there is an end", () => {
  const clients = Array.from({ length: MAX_CLIENTS }, () => world.newClient());
  for (const client of clients) assert.equal(client.connect("H1"), "H1");
  assert.equal(world.newClient().connect("H1"), undefined);
  clients[17]!.close();
  const next = world.newClient();
  assert.equal(next.connect("H1"), "H1", "at once");
  assert.equal(next.slot, 17);
  for (const client of clients) client.close();
  world.run(1e9);
  assert.equal(world.server.counts.clients, 1);
});

test("nobody speaks for another client, and programs of other users are refused", () => {
  const client = world.newClient();
  client.connect("H1");
  const other = world.newClient();
  assert.equal(Control.type.get(other.ask(ControlType.SET_IS_SM, Uint8Array.of(1, 0, 0, 0), client.slot)!, 0), ControlType.ERROR);
  assert.equal(Control.type.get(other.ask(ControlType.DISCONNECT, undefined, client.slot)!, 0), ControlType.ERROR);
  assert.ok(!isSm("H1"));
  assert.equal(world.server.counts.clients, 1);
  if (process.getuid?.() === 0) return;
  const strict = new World(undefined, 12345);
  assert.equal(strict.newClient().connect("H1"), undefined);
  strict.close();
});

test("any bytes of any length on either socket: counted, and the next client is served", () => {
  configure();
  const random = new Random(7);
  const client = world.newClient();
  client.connect("H1");
  for (let i = 0; i < 5000; i++) {
    const sizes = [0, 1, 79, 80, 81, 287, 288, 289, 1024];
    const bytes = Uint8Array.from({ length: sizes[random.below(sizes.length)]! }, () => random.below(256));
    if (bytes.length >= 4 && random.chance(0.5)) new DataView(bytes.buffer).setUint32(0, 0xdeadbeef, true);
    if (bytes.length >= 12 && random.chance(0.7)) {
      new DataView(bytes.buffer).setUint32(4, random.below(4), true);
      new DataView(bytes.buffer).setUint32(8, random.below(12), true);
    }
    if (random.chance(0.3)) client.sendControl(bytes);
    else client.sendBytes(hostileMad(random, bytes));
    world.run(random.below(1e6));
    while (client.receive() !== undefined);
  }
  const { counts } = world.server;
  assert.ok(counts.badControl > 0 && counts.badMads > 0 && counts.madsFrom > 0);
  const next = world.newClient();
  assert.equal(next.connect("H4"), "H4");
  assert.ok(next.call(0xffff, 0, newDirectedSmp([], Method.GET, SmAttribute.NODE_INFO)));
});

/** Now and then something that looks like a MAD, with one of the LIDs there are. */
function hostileMad(random: Random, bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 288) return bytes;
  const view = new DataView(bytes.buffer);
  view.setUint16(0, random.chance(0.5) ? 0xffff : random.below(8));
  view.setUint32(8, random.below(3));
  if (random.chance(0.8)) {
    const classes = [
      MgmtClass.SUBN_LID_ROUTED,
      MgmtClass.SUBN_DIRECTED_ROUTE,
      MgmtClass.SUBN_ADM,
      MgmtClass.PERF,
      0x21,
      VENDOR_CLASS,
    ];
    view.setUint8(32, 1);
    view.setUint8(33, classes[random.below(classes.length)]!);
    view.setUint8(34, 1 + random.below(2));
    view.setUint8(35, random.below(0x20));
    view.setUint8(38, random.below(8));
    view.setUint8(39, random.below(8));
  }
  return bytes;
}

test("a client that does not read: what waits for it has a bound, and others are served", () => {
  const lazy = world.newClient();
  lazy.connect("H1");
  const other = world.newClient();
  other.connect("H2");
  for (let i = 0; i < 70_000; i++) {
    const smp = withTid(newDirectedSmp([], Method.GET, SmAttribute.NODE_INFO), 0, i);
    if (lazy.send(0xffff, 0, smp) < 0) {
      world.run();
      lazy.send(0xffff, 0, smp);
    }
  }
  world.run();
  assert.ok(other.call(0xffff, 0, newDirectedSmp([], Method.GET, SmAttribute.NODE_INFO)));
  let read = 0;
  for (let got = lazy.receive(); got !== undefined; got = lazy.receive()) {
    read++;
    if (read % 8 === 0) world.run();
  }
  assert.ok(read > 60_000 && read < 67_000, `${read} of 70,000`);
  assert.ok(world.server.counts.unread > 0);
});
