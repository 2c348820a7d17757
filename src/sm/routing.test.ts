import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytesOf } from "../mad/mad.ts";
import { NodeType } from "../spec/mad/numbers.ts";
import { NodeInfo } from "../spec/mad/sm-attributes.ts";
import { LidTable } from "./lids.ts";
import { type Member, MulticastTree } from "./multicast-routing.ts";
import { routeUnicast } from "./routing/route.ts";
import { Subnet, SubnetNode } from "./subnet.ts";

function addNode(subnet: Subnet, type: number, guid: number, portCount: number): SubnetNode {
  const info = new DataView(new ArrayBuffer(NodeInfo.byteLength));
  NodeInfo.nodeType.set(info, 0, type);
  NodeInfo.nodeGuid.setBig(info, 0, BigInt(guid));
  NodeInfo.portGuid.setBig(info, 0, BigInt(guid));
  NodeInfo.portCount.set(info, 0, portCount);
  const node = new SubnetNode(bytesOf(info));
  subnet.add(node);
  if (type === NodeType.CA) node.ports[1]!.guid = BigInt(guid);
  return node;
}

/** A connected subnet: a random tree of switches with some extra cables, and hosts. */
function build(switchCount: number, extra: readonly (readonly [number, number])[], hosts: readonly number[]) {
  const subnet = new Subnet();
  const free = new Map<SubnetNode, number>();
  const switches = Array.from({ length: switchCount }, (_, i) => addNode(subnet, NodeType.SWITCH, 1000 + i, 60));
  const nextPort = (node: SubnetNode) => {
    const port = (free.get(node) ?? 0) + 1;
    free.set(node, port);
    return node.ports[port]!;
  };
  const join = (a: number, b: number) => {
    if (a !== b) subnet.link(nextPort(switches[a]!), nextPort(switches[b]!));
  };
  for (let i = 1; i < switchCount; i++) join(i, Math.floor(i / 2));
  for (const [a, b] of extra) join(a % switchCount, b % switchCount);
  const cas = hosts.map((at, i) => {
    const node = addNode(subnet, NodeType.CA, 1 + i, 1);
    subnet.link(node.ports[1]!, nextPort(switches[at % switchCount]!));
    return node;
  });
  subnet.root = switches[0];
  subnet.prune();
  [...subnet.byGuid.values()].forEach((port, i) => {
    port.lid = i + 1;
  });
  subnet.reindex();
  return { subnet, switches, cas };
}

const subnets = fc.tuple(
  fc.integer({ min: 1, max: 12 }),
  fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 10 }),
  fc.array(fc.nat(11), { minLength: 1, maxLength: 20 }),
);

test("unicast: from every switch every LID arrives, in as few hops as there are", () => {
  fc.assert(
    fc.property(subnets, ([count, extra, hosts]) => {
      const { subnet, switches } = build(count, extra, hosts);
      routeUnicast(subnet);
      for (const start of switches) {
        for (const [lid, target] of subnet.byLid) {
          let node = start;
          let hops = 0;
          for (; hops <= count; hops++) {
            const out = node.switch!.portOf(lid);
            if (out === 0) break;
            const next = node.ports[out]!.peer!;
            if (next === target) break;
            node = next.node;
          }
          const out = node.switch!.portOf(lid);
          assert.ok(out === 0 ? node === target.node : node.ports[out]!.peer === target);
          assert.equal(hops, distance(switches, start, target.node.isSwitch ? target.node : target.peer!.node));
        }
      }
    }),
  );
});

function distance(switches: readonly SubnetNode[], from: SubnetNode, to: SubnetNode): number {
  const depth = new Map([[from, 0]]);
  for (const [node, at] of depth) {
    for (const port of node.ports) {
      const next = port?.peer?.node;
      if (next !== undefined && switches.includes(next) && !depth.has(next)) depth.set(next, at + 1);
    }
  }
  return depth.get(to) ?? -1;
}

test("unicast: parallel links share the LIDs, and a new LID moves no old one", () => {
  const { subnet, switches } = build(
    2,
    [
      [0, 1],
      [0, 1],
      [0, 1],
    ],
    Array(16).fill(1),
  );
  routeUnicast(subnet);
  const first = switches[0]!.switch!;
  const loads = new Map<number, number>();
  for (const [lid, port] of subnet.byLid) {
    if (!port.node.isSwitch) loads.set(first.portOf(lid), (loads.get(first.portOf(lid)) ?? 0) + 1);
  }
  assert.deepEqual([...loads.values()].sort(), [4, 4, 4, 4]);
  const before = [...subnet.byLid.keys()].map((lid) => [lid, first.portOf(lid)] as const);
  const late = addNode(subnet, NodeType.CA, 500, 1);
  subnet.link(late.ports[1]!, switches[1]!.ports[50]!);
  late.ports[1]!.lid = 19;
  subnet.prune();
  routeUnicast(subnet);
  for (const [lid, port] of before) assert.equal(first.portOf(lid), port);
});

test("multicast: a packet from any member reaches every other receiver exactly once, whatever the cables", () => {
  fc.assert(
    fc.property(
      subnets,
      fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
      fc.nat(19),
      ([count, extra, hosts], wants, sender) => {
        const { subnet, cas } = build(count, extra, hosts);
        const members: Member[] = [];
        cas.forEach((ca, i) => {
          const { peer } = ca.ports[1]!;
          if (wants[i] || i === sender % cas.length) {
            members.push({ node: peer!.node, port: peer!.number, isReceiver: wants[i]! });
          }
        });
        const routes = new MulticastTree(subnet).portsFor(members);
        const from = cas[sender % cas.length]!.ports[1]!;
        const got = new Map<SubnetNode, number>();
        const arrivals = [from.peer!];
        for (const arrival of arrivals) {
          assert.ok(arrivals.length < 1000, "a loop");
          for (const out of routes.get(arrival.node) ?? []) {
            const next = arrival.node.ports[out]!.peer!;
            if (out === arrival.number) continue;
            if (next.node.isSwitch) arrivals.push(next);
            else got.set(next.node, (got.get(next.node) ?? 0) + 1);
          }
        }
        cas.forEach((ca, i) => {
          assert.equal(got.get(ca) ?? 0, wants[i] && ca !== from.node ? 1 : 0);
        });
      },
    ),
  );
});

test("multicast: switches that lie between no members forward nothing", () => {
  const { subnet, switches, cas } = build(4, [], [3, 3]);
  const members = cas.map((ca) => ({ node: ca.ports[1]!.peer!.node, port: ca.ports[1]!.peer!.number, isReceiver: true }));
  const routes = new MulticastTree(subnet).portsFor(members);
  assert.deepEqual([...routes.keys()], [switches[3]]);
});

test("LIDs: kept for ever, taken over when free, given away only when none is left", () => {
  const lids = new LidTable();
  const all = () => true;
  assert.equal(lids.assign(10n, 0, 1, all), 1);
  assert.equal(lids.assign(11n, 1, 1, all), 2, "1 is taken");
  assert.equal(lids.assign(12n, 77, 1, all), 77);
  assert.equal(lids.assign(12n, 5, 1, all), 77);
  for (let i = 0; i < 0xbfff - 3; i++) assert.ok(lids.assign(BigInt(1000 + i), 0, 1, all) > 0);
  assert.equal(lids.assign(13n, 0, 1, all), 0, "all in use");
  assert.equal(
    lids.assign(13n, 0, 1, (guid) => guid !== 12n),
    77,
  );
  assert.equal(
    lids.assign(14n, 0, 1, (guid) => guid !== 12n),
    0,
  );
});

test("LIDs with LMC: aligned blocks; one that is cut into is given away whole", () => {
  const lids = new LidTable();
  const all = () => true;
  assert.equal(lids.assign(1n, 0, 1, all), 1);
  assert.equal(lids.assign(2n, 0, 4, all), 4);
  assert.equal(lids.assign(3n, 6, 4, all), 8, "6 is not aligned");
  assert.equal(lids.assign(4n, 0, 1, all), 2);
  assert.equal(lids.assign(5n, 0xbffc, 4, all), 0xbffc);
  for (let guid = 1000n; lids.assign(guid, 0, 1, all) > 0; guid++);
  assert.equal(
    lids.assign(6n, 0, 1, (guid) => guid !== 2n),
    4,
  );
  assert.equal(lids.assign(7n, 0, 1, all), 5, "the rest of the block is free");
});
