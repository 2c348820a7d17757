// Drawings of fabrics: every node and every cable once, what is alike folded, what differs in sight.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fabric } from "../../fabric/fabric.ts";
import { inspectNodes } from "../../fabric/inspect.ts";
import { inspectLinks } from "../../fabric/inspect-links.ts";
import { buildTopology } from "../../fabric/topology/build.ts";
import { parseTopology } from "../../fabric/topology/parse.ts";
import { shapeTopology } from "../../fabric/topology/shapes.ts";
import type { Topology } from "../../fabric/topology/topology.ts";
import { dotText } from "./dot.ts";
import { type Graph, makeGraph } from "./graph.ts";
import { tableText } from "./table.ts";
import { treeLines } from "./tree.ts";

function built(topology: Topology): { fabric: Fabric; graph: () => Graph } {
  const fabric = new Fabric();
  buildTopology(fabric, topology);
  return { fabric, graph: () => makeGraph(inspectNodes(fabric, 0, 1e6).items, inspectLinks(fabric, 0, 1e6).items) };
}

const cable = (fabric: Fabric, node: string, port: number) => fabric.findLabel(node)!.ports[port]!.link!;

test("a star hangs at its switch; links say what keeps them from working", () => {
  const { fabric, graph } = built(shapeTopology("star:3"));
  cable(fabric, "n2", 1).setPlugged(false);
  assert.deepEqual(treeLines(graph(), false), [
    "s1  switch",
    "├─ 1 ── n1:1  phantom  4X DDR INIT",
    "├─ 2 ── n2:1  phantom  PULLED",
    "└─ 3 ── n3:1  phantom  4X DDR INIT",
  ]);
});

test("every cable of any shape is drawn once, every node once", () => {
  for (const shape of ["pair", "fat-tree:4", "torus:3x3x3", "dragonfly:4,2,2", "torus:40"]) {
    const { fabric, graph } = built(shapeTopology(shape));
    const text = treeLines(graph(), true).join("\n");
    const cables = text.match(/ (──|┄) [\w-]+:\d+/g) ?? [];
    assert.equal(cables.length, fabric.links.size, shape);
    const nodes = text.match(/[\w-]+(:\d+)? {2}(switch|phantom)/g) ?? [];
    assert.equal(new Set(nodes.map((node) => node.split(/[: ]/)[0])).size, fabric.nodes.size, shape);
    assert.equal(nodes.length, fabric.nodes.size, shape);
  }
});

test("a fat tree hangs at its spine, below it what is lower", () => {
  const { graph } = built(shapeTopology("fat-tree:4"));
  const lines = treeLines(graph(), false);
  assert.match(lines[0]!, /^core1/);
  assert.match(lines[1]!, /^├─ 1 ── agg1-1:1/);
  assert.match(lines[2]!, /^│ {2}├─ 3 ── edge1-1:3/);
  assert.match(lines[3]!, /^│ {2}│ {2}├─ 1 ── n1:1/);
  assert.ok(lines.includes("└┄ 1 ┄ agg1-1:2 INIT, 2 ┄ agg2-1:2 INIT, 3 ┄ agg3-1:2 INIT, 4 ┄ agg4-1:2 INIT"));
});

test("a large fabric is folded, but for what differs", () => {
  const { fabric, graph } = built(shapeTopology("fat-tree:16"));
  const folded = treeLines(graph(), false);
  assert.ok(folded.length < 20, folded.join("\n"));
  assert.ok(folded.some((line) => /1…8 ── n1 … n8 {2}8 phantoms/.test(line)));
  assert.ok(folded.some((line) => /… 15 more like agg1-1: agg2-1, agg3-1 … agg16-1/.test(line)));
  cable(fabric, "n500", 1).setPlugged(false);
  const changed = treeLines(graph(), false).join("\n");
  assert.match(changed, /n500:1 {2}phantom {2}PULLED/);
  assert.match(changed, /… 14 more like agg1-1/);
  assert.equal(treeLines(graph(), true).length > 1344, true);
});

test("strange fabrics: nodes without cables, long chains, two cables between two switches, a cable from a switch to itself", () => {
  const { graph } = built(parseTopology("switches: {a: , b: }\nhosts: {h: }\nlinks: [[a, b], [a, b], [a:7, a:9]]", "x.yaml"));
  assert.deepEqual(treeLines(graph(), false), [
    "h  phantom, no cable",
    "a  switch",
    "├─ 1 ── b:1  switch  4X DDR INIT",
    "│  └┄ 2 ┄ a:2 INIT",
    "└┄ 7 ┄ a:9 INIT",
  ]);
  const names = Array.from({ length: 500 }, (_, i) => `s${i}`);
  const links = names.slice(1).map((name, i) => `  - [${names[i]}, ${name}]`);
  const chain = built(parseTopology(`switches:\n${names.map((n) => `  ${n}:\n`).join("")}links:\n${links.join("\n")}`, "x.yaml"));
  assert.equal(
    (
      treeLines(chain.graph(), true)
        .join("\n")
        .match(/ (──|┄) /g) ?? []
    ).length,
    499,
  );
});

test("table and graph: ends, rates, states, error counters", () => {
  const { fabric, graph } = built(
    parseTopology('switches: {a: }\nhosts: {h: {switch: a, width: 1X}, "g": {switch: a}}', "x.yaml"),
  );
  cable(fabric, "h", 1).setPlugged(false);
  cable(fabric, "h", 1).setPlugged(true);
  fabric.setFaults(cable(fabric, "h", 1), { loss: 0.015, corruption: 0, delayNs: 5000 });
  cable(fabric, "g", 1).setPlugged(false);
  const lines = tableText(inspectLinks(fabric, 0, 10).items, false).split("\n");
  assert.match(lines[1]!, /^h:1 +- +a:1 +- +1X +DDR +5 Gb\/s +INIT +loss 1.5%, delay 5us +h:1 linkDowned 1 a:1 linkDowned 1$/);
  assert.match(lines[2]!, /^g:1 +- +a:2 +- +PULLED/);
  const [link] = inspectLinks(fabric, 0, 1).items;
  const waiting = { vl: 1, packets: 3, queuedBytes: 6336, creditBytes: 128, bufferedBytes: 0 };
  const busy = {
    ...link!,
    a: { ...link!.a, counters: { xmitData: 5, xmitWait: 7 }, lanes: [waiting, { ...waiting, packets: 0 }] },
  };
  assert.match(tableText([busy], false), /h:1 xmitWait 7, VL 1: 3 wait, 128 B credits a:1 linkDowned 1$/);
  const dot = dotText(graph(), 'a "title"');
  assert.match(dot, /^graph "a \\"title\\"" \{/);
  assert.match(dot, /"g" -- "a" \[taillabel="1", headlabel="2", label="PULLED", color="red"/);
});
