// The built-in subnet manager on every shape: all ports ACTIVE, a way between any two hosts, multicast to all, no switch invented by a guest.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { newTopologyFabric } from "../../src/domain/engine-fabric.ts";
import type { CaPort } from "../../src/fabric/ca-port.ts";
import { PhantomHost } from "../../src/fabric/phantom-host.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { traceUnicast } from "../../src/fabric/trace.ts";
import { buildMadPacket, gmpAddress } from "../../src/mad/packet.ts";
import { IPOIB_BROADCAST } from "../../src/sm/sa/mcmember.ts";
import { PortCounter } from "../../src/spec/ib/port-counters.ts";
import { McComponent } from "../../src/spec/mad/components.ts";
import { JoinState, Method, NodeType, SaAttribute } from "../../src/spec/mad/numbers.ts";
import { McMemberRecord } from "../../src/spec/mad/sa-records.ts";
import { NodeInfo } from "../../src/spec/mad/sm-attributes.ts";

import { AT, bit, request } from "./administrator-kit.ts";
import { Lab } from "./topology-kit.ts";

/** What a host sends to join the broadcast group of IPoIB. */
function joinRequest(port: CaPort): Uint8Array {
  const { MGID, PORT_GID, JOIN_STATE } = McComponent;
  const mad = request(Method.SET, SaAttribute.MC_MEMBER_RECORD, bit(MGID, PORT_GID, JOIN_STATE), (to) => {
    McMemberRecord.mgid.set(to, AT, IPOIB_BROADCAST);
    McMemberRecord.portGid.set(to, AT, port.gids.slice(0, 16));
    McMemberRecord.joinState.set(to, AT, JoinState.FULL);
  });
  return buildMadPacket(gmpAddress(port.lid, port.smLid), mad);
}

for (const shape of ["pair", "star:5", "fat-tree:4", "torus:3x4:2", "torus:2x2x3", "dragonfly:3,2,1"]) {
  test(`${shape}: every port ACTIVE, a way from every host to every other, a group of all reaches all`, () => {
    const lab = new Lab(shapeTopology(shape));
    lab.settle();
    for (const { a, b } of lab.lab.fabric.links) assert.ok(a.isActive && b.isActive, `${a.node.name} ${b.node.name}`);
    const { hosts } = lab;
    assert.equal(new Set(hosts.map(({ lid }) => lid)).size, hosts.length);
    for (const from of hosts) for (const to of hosts) assert.equal(traceUnicast(from, to.lid), to.index);
    for (const host of hosts) host.transmit(joinRequest(host));
    lab.settle();
    const [group] = lab.manager.groups.all();
    assert.equal(group!.members.size, hosts.length);
    const out = new Int32Array(hosts.length + 1);
    for (const from of hosts) {
      const count = from.resolveMulticast(group!.mlid, out);
      const reached = [...out.subarray(0, count)].sort((a, b) => a - b);
      assert.deepEqual(
        reached,
        hosts.filter((to) => to !== from).map(({ index }) => index),
      );
    }
  });
}

test("a cable that is pulled is routed around, and taken again", () => {
  const lab = new Lab(shapeTopology("fat-tree:4"));
  lab.settle();
  const link = [...lab.lab.fabric.links].find(({ a }) => a.node.name === "edge1-1" || a.node.name === "edge3-1")!;
  link.setPlugged(false);
  lab.settle();
  const { hosts } = lab;
  const down = [link.a, link.b].filter((port) => port.node.type === NodeType.CA) as CaPort[];
  for (const from of hosts) {
    for (const to of hosts) if (!down.includes(from) && !down.includes(to)) assert.equal(traceUnicast(from, to.lid), to.index);
  }
  link.setPlugged(true);
  lab.settle();
  for (const { a, b } of lab.lab.fabric.links) assert.ok(a.isActive && b.isActive);
});

test("HCAs take the places of hosts: by name, else the first that is free; a place that is left is a phantom again", () => {
  const { lab } = new Lab(shapeTopology("star:3"));
  const b = lab.addCa({ name: "n2", description: "n2 HCA" });
  const x = lab.addCa({ name: "x", description: "x HCA" });
  assert.deepEqual([b.peer?.number, x.peer?.number], [2, 1]);
  assert.equal(b.peer?.counters[PortCounter.linkDowned], 0, "no error of the cable");
  assert.equal(b.isEnabled, false);
  assert.equal(b.guid, b.node.guid + 1n);
  const y = lab.addCa({ name: "y", description: "y HCA" });
  assert.throws(() => lab.addCa({ name: "z", description: "" }), /no host left for HCA z: HCAs have taken all 3 of the topology/);
  const { guid } = b.node;
  lab.removeCa(b);
  assert.equal(lab.fabric.findNode(guid)?.ports[1]?.isLinkUp, true);
  assert.throws(() => lab.addCa({ name: "z", description: "", nodeGuid: y.node.guid }), /already in the fabric/);
  const again = lab.addCa({ name: "z", description: "z HCA", nodeGuid: 0x99n });
  assert.deepEqual([again.peer?.number, again.guid], [2, 0x9an]);
});

test("a topology without a switch has no place for the subnet manager", () => {
  const nodes = [1, 2].map((n) => ({ kind: "host", name: `n${n}`, portCount: 1 }) as const);
  const links = [
    {
      ends: [
        { node: "n1", port: 1 },
        { node: "n2", port: 1 },
      ],
    },
  ] as const;
  const topology = { source: "two.yaml", nodes, links };
  assert.throws(() => new Lab(topology), /^Error: two.yaml: there is no switch/);
  const lab = newTopologyFabric(topology, "none", new Random(1));
  assert.ok([...lab.fabric.links].every(({ a }) => a.isLinkUp));
});

/** Says that it is a switch with many ports. */
class Liar extends PhantomHost {
  protected override answer(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset + packet.length - 256 + 64);
    if (NodeInfo.nodeType.get(view, 0) === NodeType.CA) NodeInfo.nodeType.set(view, 0, NodeType.SWITCH);
    super.answer(packet);
  }
}

test("a guest cannot invent a switch behind its own port; the switches of the topology are believed", () => {
  const lab = new Lab(shapeTopology("fat-tree:4"));
  const port = lab.lab.addCa({ name: "n7", description: "n7" });
  new Liar(port);
  port.enable();
  lab.settle();
  const { nodes } = lab.manager.subnet;
  assert.equal([...nodes.values()].filter(({ isSwitch }) => isSwitch).length, 20);
  assert.equal(nodes.get(port.node.guid), undefined);
  assert.ok(lab.manager.discovery.counts.malformed > 0);
});
