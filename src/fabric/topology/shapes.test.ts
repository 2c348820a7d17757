import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTopology } from "./check.ts";
import { isShape, shapeTopology } from "./shapes.ts";
import { nodesOf, type Topology } from "./topology.ts";

/** Nodes that can be reached from the first one. */
function reachable({ nodes, links }: Topology): number {
  const peers = new Map<string, string[]>(nodes.map(({ name }) => [name, []]));
  for (const { ends } of links) {
    peers.get(ends[0].node)!.push(ends[1].node);
    peers.get(ends[1].node)!.push(ends[0].node);
  }
  const seen = new Set([nodes[0]!.name]);
  for (const name of seen) for (const peer of peers.get(name)!) seen.add(peer);
  return seen.size;
}

test("shapes have the counts of their formulas, hang together, and use no port twice", () => {
  // hosts, switches, cables between switches
  for (const [text, hosts, switches, trunks] of [
    ["pair", 2, 1, 0],
    ["star:1", 1, 1, 0],
    ["star:254", 254, 1, 0],
    ["fat-tree:2", 2, 5, 4],
    ["fat-tree:4", 16, 20, 32],
    ["fat-tree:16", 1024, 320, 2048],
    ["torus:5", 5, 5, 5],
    ["torus:1", 1, 1, 0],
    ["torus:2x2", 4, 4, 4],
    ["torus:3x4x5", 60, 60, 180],
    ["torus:3x3:4", 36, 9, 18],
    ["dragonfly:1,1,1", 2, 2, 1],
    ["dragonfly:4,2,2", 72, 36, 9 * 6 + 36],
    ["dragonfly:3,2,1", 24, 12, 4 * 3 + 6],
  ] as const) {
    const topology = shapeTopology(text);
    checkTopology(topology);
    assert.equal(topology.source, text);
    assert.equal(nodesOf(topology, "host").length, hosts, text);
    assert.equal(nodesOf(topology, "switch").length, switches, text);
    assert.equal(topology.links.length - hosts, trunks, text);
    assert.equal(reachable(topology), hosts + switches, text);
    assert.equal(topology.nodes.find(({ kind }) => kind === "host")?.name, "n1", text);
  }
});

test("a fat tree: every port of every switch has a cable, half of an edge switch's to hosts", () => {
  const { nodes, links } = shapeTopology("fat-tree:6");
  const used = new Map<string, number>();
  for (const end of links.flatMap(({ ends }) => ends)) used.set(end.node, (used.get(end.node) ?? 0) + 1);
  for (const { name, portCount } of nodes) assert.equal(used.get(name), portCount, name);
});

test("a dragonfly joins every two groups exactly once", () => {
  const groupOf = (node: string) => Number(/^g(\d+)-/.exec(node)?.[1]);
  const pairs = shapeTopology("dragonfly:3,1,2")
    .links.map(({ ends }) => ends.map(({ node }) => (node.startsWith("g") ? groupOf(node) : 0)))
    .filter(([a, b]) => a !== 0 && b !== 0 && a !== b)
    .map((pair) => pair.toSorted((a, b) => a - b).join("-"));
  assert.equal(new Set(pairs).size, (7 * 6) / 2);
  assert.equal(pairs.length, (7 * 6) / 2);
});

test("what is no shape is said to be none, with what would be right", () => {
  for (const [text, message] of [
    ["ring:4", /^Error: ring:4: there is no such shape; there are pair, star:N, fat-tree:K, torus:AxBxC\[:H\], dragonfly:A,P,H$/],
    ["toString", /there is no such shape/],
    ["pair:2", /expected pair .*it does not have this form/],
    ["star", /expected star:N/],
    ["star:255", /at most 254 ports/],
    ["star:0", /every number is at least 1/],
    ["fat-tree:5", /K is even/],
    ["fat-tree:58", /there are 49151 LIDs/],
    ["fat-tree:1000000", /at most 254/],
    ["torus:3x", /expected torus:AxBxC\[:H\]/],
    ["torus:99999x99999", /LIDs/],
    [`torus:${Array(200).fill(1).join("x")}`, /at most 254/],
    ["dragonfly:4,2", /expected dragonfly:A,P,H/],
    ["dragonfly:100,1,100", /LIDs/],
  ] as const) {
    assert.throws(() => shapeTopology(text), message, text);
  }
  assert.ok(isShape("fat-tree:x") && isShape("pair") && !isShape("lab.yaml") && !isShape("toString"));
});
