// A fabric that changes while its subnet manager watches: cables pulled, replaced, made slower; switches and hosts that come and go. What
// was said to be there is found, by traps, and routed to.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addCable, addNode, changeLink, removeCable, removeNode } from "../../src/fabric/changes.ts";
import { setRoute } from "../../src/fabric/hand-made-subnet.ts";
import { inspectLinks } from "../../src/fabric/inspect-links.ts";
import { findPath, getLid, type PathView } from "../../src/fabric/path.ts";
import type { SwitchNode } from "../../src/fabric/switch-node.ts";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { traceUnicast } from "../../src/fabric/trace.ts";
import { Lab } from "./topology-kit.ts";

function settled(shape: string): Lab {
  const lab = new Lab(shapeTopology(shape));
  lab.settle();
  return lab;
}

/** Every host reaches every other, and every cable that is plugged in is ACTIVE. */
function assertWhole(lab: Lab): void {
  lab.settle();
  for (const { a, b, isPlugged } of lab.lab.fabric.links)
    if (isPlugged) assert.ok(a.isActive && b.isActive, `${a.node.label}:${a.number}`);
  const { hosts } = lab;
  for (const from of hosts)
    for (const to of hosts) assert.equal(traceUnicast(from, to.lid), to.index, `${from.node.label} ${to.node.label}`);
}

const path = (lab: Lab, from: string, to: string): PathView => findPath(lab.lab.fabric, { from }, getLid(lab.lab.fabric, to));

const nodesOf = ({ hops }: PathView): string => hops.map(({ node }) => node).join(" ");

test("a path is what the tables say, hop by hop; pulled cables are avoided after the re-sweep", () => {
  const lab = settled("fat-tree:4");
  const before = path(lab, "n1", "n16");
  assert.equal(before.problem, undefined);
  assert.match(nodesOf(before), /^n1 edge1-1 agg1-\d core\d agg4-\d edge4-2 n16$/);
  assert.deepEqual(
    [before.hops[0]?.in, before.hops[0]?.out, before.hops.at(-1)?.in, before.hops.at(-1)?.out],
    [undefined, 1, 1, undefined],
  );
  const top = before.hops[2]!;
  const view = changeLink(lab.lab, `${top.node}:${top.out}`, { isPlugged: false });
  assert.equal(view.state, "PULLED");
  const broken = path(lab, "n1", "n16");
  assert.equal(broken.problem, `the cable at port ${top.out} of ${top.node} is pulled`);
  assert.equal(broken.hops.at(-1)?.node, top.node);
  assertWhole(lab);
  const after = path(lab, "n1", "n16");
  assert.equal(after.problem, undefined);
  assert.notDeepEqual(after.hops, before.hops);
  assert.equal(changeLink(lab.lab, `${top.node}:${top.out}`, { isPlugged: true }).state, "UP");
  assertWhole(lab);
});

test("paths that end: no cable, no LID, a switch without the route, a loop; paths of switches", () => {
  const lab = settled("torus:3x3");
  assert.equal(nodesOf(path(lab, "n1", "n1")), "n1");
  assert.match(nodesOf(path(lab, "s1-1", "s2-2")), /^s1-1 s\d-\d s2-2$/);
  assert.match(nodesOf(path(lab, "n1", "s1-1")), /^n1 s1-1$/);
  removeCable(lab.lab, "n9");
  assert.equal(path(lab, "n9", "n1").problem, "there is no cable at port 1 of n9");
  addNode(lab.lab, { kind: "host", name: "dark", portCount: 1 });
  assert.equal(path(lab, "n1", "dark").problem, "the other end has no LID yet");
  const { fabric } = lab.lab;
  assert.match(findPath(fabric, { from: "n1" }, 4000).problem ?? "", /^s1-1 has no route to LID 4000$/);
  const [first, second] = [fabric.findLabel("s1-1")!, fabric.findLabel("s1-2")!];
  const between = first.ports.find((port) => port?.peer?.node === second)!;
  const lid = getLid(fabric, "n5");
  setRoute(first as SwitchNode, lid, between.number);
  setRoute(second as SwitchNode, lid, between.peer!.number);
  assert.match(path(lab, "n1", "n5").problem ?? "", /would send it back by port \d/);
});

test("a switch with hosts is added where cables are free, and found; it goes again", () => {
  const lab = settled("torus:2x2");
  for (const end of ["s1-1", "s2-2"]) addPorts(lab, end);
  const view = addNode(lab.lab, { kind: "switch", name: "new", portCount: 8, at: ["hub", "hub"] });
  assert.equal(view.ports.filter(({ peer }) => peer?.name === "hub").length, 2);
  for (const [i, name] of ["h1", "h2", "h3"].entries())
    addNode(lab.lab, { kind: "host", name, portCount: 1, at: [i === 0 ? "new:5" : "new"] });
  assertWhole(lab);
  assert.equal(lab.hosts.length, 7);
  assert.equal(nodesOf(path(lab, "h1", "n1")).startsWith("h1 new hub"), true);
  const hca = lab.lab.addCa({ name: "h2", description: "h2" });
  assert.equal(hca.peer?.node.label, "new");
  assert.throws(() => removeNode(lab.lab, "h2"), /h2 is an HCA; unplug it first: vhca hca rm h2/);
  lab.lab.removeCa(hca);
  assertWhole(lab);
  assert.equal(removeNode(lab.lab, "new").ports.filter(({ peer }) => peer !== undefined).length, 5);
  for (const name of ["h1", "h2", "h3"]) removeNode(lab.lab, name);
  assertWhole(lab);
  assert.equal(lab.hosts.length, 4);
  assert.throws(() => removeNode(lab.lab, "s1-1"), /s1-1 cannot be removed: the subnet manager lives there/);
});

/** A switch with room, joined to a host's switch in the place of that host. */
function addPorts(lab: Lab, at: string): void {
  const { fabric } = lab.lab;
  const node = fabric.findLabel(at)!;
  const host = node.ports.find((port) => port?.peer?.node.switch === undefined && port?.peer !== undefined)!.peer!.node.label;
  if (fabric.findLabel("hub") === undefined) addNode(lab.lab, { kind: "switch", name: "hub", portCount: 16 });
  removeCable(lab.lab, host);
  addCable(lab.lab, [at, "hub"], {});
  addCable(lab.lab, [host, "hub"], {});
}

test("width, speed and faults of a cable change at once, and stay when an HCA takes a host's place", () => {
  const lab = settled("star:3");
  const slow = changeLink(lab.lab, "n2", { width: "1X", speed: "SDR", faults: { loss: 0.5, delayNs: 100 } });
  assert.deepEqual([slow.width, slow.speed, slow.gbps], ["1X", "SDR", 2.5]);
  assert.deepEqual(slow.faults, { loss: 0.5, corruption: 0, delayNs: 100 });
  const more = changeLink(lab.lab, "s1:2", { speed: "DDR", faults: { corruption: 0.25 } });
  assert.deepEqual([more.width, more.speed], ["1X", "DDR"]);
  assert.deepEqual(more.faults, { loss: 0.5, corruption: 0.25, delayNs: 100 });
  changeLink(lab.lab, "n2", { isPlugged: false });
  const hca = lab.lab.addCa({ name: "n2", description: "" });
  hca.enable();
  const ofHca = (): object => {
    const { state, width, faults } = inspectLinks(lab.lab.fabric, 0, 9).items.find(({ a, b }) =>
      [a.node, b.node].includes("n2"),
    )!;
    return { state, width, faults };
  };
  assert.deepEqual(ofHca(), { state: "PULLED", width: "", faults: more.faults });
  changeLink(lab.lab, "n2:1", { isPlugged: true });
  assert.deepEqual(ofHca(), { state: "UP", width: "1X", faults: more.faults });
  lab.lab.removeCa(hca);
  assert.deepEqual(ofHca(), { state: "UP", width: "1X", faults: more.faults });
  changeLink(lab.lab, "n2", { width: "auto", faults: null });
  assert.deepEqual(ofHca(), { state: "UP", width: "4X", faults: undefined });
  assertWhole(lab);
});

test("a host with two cables: the one that its HCA does not have comes back, unless its port is taken", () => {
  const text =
    "switches: {s: {ports: 4}, t: {ports: 4}}\nhosts: {h: {ports: 2}, g: {switch: s}}\nlinks: [[h:1, s], [h:2, t], [s, t]]";
  const lab = new Lab(parseTopology(text, "x.yaml"));
  lab.settle();
  const hca = lab.lab.addCa({ name: "h", description: "" });
  assert.equal(inspectLinks(lab.lab.fabric, 0, 9).count, 3);
  lab.lab.removeCa(hca);
  assert.equal(inspectLinks(lab.lab.fabric, 0, 9).count, 4);
  const again = lab.lab.addCa({ name: "h", description: "" });
  addNode(lab.lab, { kind: "host", name: "thief", portCount: 1, at: ["t:1"] });
  removeCable(lab.lab, "h:1");
  lab.lab.removeCa(again);
  assert.deepEqual(
    lab.lab.fabric.findLabel("h")!.ports.map((port) => port?.link),
    [undefined, undefined, undefined],
  );
});

test("what cannot be says why, with names that are near, and changes nothing", () => {
  const lab = settled("fat-tree:4");
  const { fabric } = lab.lab;
  const before = [fabric.nodes.size, fabric.links.size];
  const node = { kind: "host", name: "new", portCount: 1 } as const;
  for (const [change, message] of [
    [
      () => changeLink(lab.lab, "edge11:3", {}),
      /^NotFoundError: there is no node edge11; did you mean edge1-1\?$|did you mean edge1-1 or/,
    ],
    [() => changeLink(lab.lab, "edge1-1", {}), /edge1-1 has 4 cables; say which one; it has cables at ports 1, 2, 3, 4/],
    [() => changeLink(lab.lab, "edge1-1:5", {}), /edge1-1 has ports 1 to 4, there is no port 5/],
    [() => changeLink(lab.lab, "n1", { faults: { loss: 2 } }), /loss: expected a part of 1, from 0 to 1, got 2/],
    [() => addCable(lab.lab, ["n1", "n2"], {}), /n1 has no free port: all 1 have cables/],
    [() => addCable(lab.lab, ["n1:1", "n2:1"], {}), /port 1 of n1 has a cable already, to edge1-1:1/],
    [() => addNode(lab.lab, { ...node, at: ["core1"] }), /core1 has no free port/],
    [() => addNode(lab.lab, { ...node, name: "n1" }), /there is a node named n1 already/],
    [() => addNode(lab.lab, { ...node, name: "a b" }), /a b: expected a name of letters/],
    [() => addNode(lab.lab, { ...node, portCount: 0 }), /host new: expected 1 to 254 ports, got 0/],
    [() => addNode(lab.lab, { ...node, guid: fabric.findLabel("n3")!.guid }), /is in the fabric already/],
    [() => addNode(lab.lab, { ...node, at: ["x", "y"] }), /host new has 1 ports, and 2 cables need one each/],
    [() => removeNode(lab.lab, "n99"), /there is no node n99; did you mean n9/],
  ] as const) {
    assert.throws(change, message);
  }
  assert.deepEqual([fabric.nodes.size, fabric.links.size], before);
  removeCable(lab.lab, "n1");
  assert.throws(() => changeLink(lab.lab, "n1", {}), /n1 has no cable/);
  assert.throws(() => changeLink(lab.lab, "edge1-1:1", {}), /no cable at port 1 of edge1-1; it has cables at ports 2, 3, 4/);
  assert.throws(() => addCable(lab.lab, ["n1:1", "n1:1"], {}), /a cable needs two ports, got n1:1 twice/);
  addCable(lab.lab, ["n1", "edge1-1"], {});
  assertWhole(lab);
});
