// Any text is a topology that can be built, or a mistake with its line.

import assert from "node:assert/strict";
import type { Random } from "../../src/base/random.ts";
import { Fabric } from "../../src/fabric/fabric.ts";
import { buildTopology } from "../../src/fabric/topology/build.ts";
import { parseTopology } from "../../src/fabric/topology/parse.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import { type Topology, TopologyError } from "../../src/fabric/topology/topology.ts";
import { type Budget, fuzz } from "./kit.ts";
import { bend } from "./values.ts";

/** Built without more ado, or an error of the one class. */
function build(budget: Budget, parse: () => Topology): Topology | undefined {
  let topology: Topology;
  try {
    topology = parse();
  } catch (error) {
    assert.ok(error instanceof TopologyError, String((error as Error).stack));
    assert.match(error.message, /^.+: ./s);
    budget.note(error.message.replaceAll(/\d+|".*"/gs, ""));
    return undefined;
  }
  // What is large takes long and is no different.
  if (topology.nodes.reduce((sum, { portCount }) => sum + portCount, 0) > 2000) return topology;
  const fabric = new Fabric();
  buildTopology(fabric, topology);
  assert.equal(fabric.nodes.size, topology.nodes.length);
  assert.equal(fabric.links.size, topology.links.length);
  for (const { a, b, cable } of fabric.links) assert.ok((a.isLinkUp && b.isLinkUp) || cable.widths === 0);
  return topology;
}

const SMALL = ["pair", "star:3", "fat-tree:2", "torus:3x2", "dragonfly:2,1,1"];

/** A shape as YAML, its ports named or not. */
function yamlOf({ nodes, links }: Topology, random: Random): string {
  const isNamed = random.chance(0.5);
  const section = (kind: string) =>
    nodes
      .filter((node) => node.kind === kind)
      .map(
        ({ name, portCount }) =>
          `  ${name}: {ports: ${portCount}${random.chance(0.1) ? `, guid: ${1 + random.below(2 ** 30)}` : ""}}\n`,
      )
      .join("");
  const ends = (link: Topology["links"][number]) =>
    link.ends.map(({ node, port }) => (isNamed ? `${node}:${port}` : node)).join(", ");
  const cables = links.map((link) => `  - ${random.chance(0.3) ? `{ends: [${ends(link)}], speed: SDR}` : `[${ends(link)}]`}\n`);
  return `switches:\n${section("switch")}hosts:\n${section("host")}links:\n${cables.join("")}`;
}

/** The same as ibsim has it, cables listed at one end or at both. */
function netlistOf({ nodes, links }: Topology, random: Random): string {
  const hasBoth = random.chance(0.5);
  return nodes
    .map(({ kind, name, portCount }) => {
      const cables = links.flatMap(({ ends: [a, b] }) => [
        ...(a.node === name ? [`[${a.port}]\t"${b.node}"[${b.port}] # 4xSDR\n`] : []),
        ...(b.node === name && hasBoth ? [`[${b.port}]\t"${a.node}"[${a.port}]\n`] : []),
      ]);
      return `vendid=0x2c9\n${kind === "switch" ? "Switch" : "Ca"} ${portCount} "${name}" # "about ${name}"\n${cables.join("")}\n`;
    })
    .join("");
}

/** What else ibsim has; bent, it may include itself. */
const STATEMENTS = `width=3
include "0"
module="a"
switchguid+0x40
Switch 8 "s" # "one" base port 0
[1] "h"[1] w=1 s=7 e=1
@[2] "up"
@[3] "over"

Ca 2 "h"
[1] "s"[1] # lid 1 lmc 0 "one" lid 2 4xNDR
do Link "h"[2] "@up"
do Unlink "a@up"
do ReLink "h"
do Guid "s" 0x77
do Error "s" 10
do !1
`;

function bent(random: Random, text: string): string {
  const bytes = Buffer.from(text);
  for (let i = random.below(4); i >= 0; i--) bend(random, bytes, bytes.length);
  return bytes.toString("utf8");
}

function lines(random: Random, text: string): string {
  const all = text.split("\n");
  for (let i = random.below(3); i >= 0; i--) {
    const [line = ""] = all.splice(random.below(all.length), 1);
    if (random.chance(0.5)) all.splice(random.below(all.length + 1), 0, line, ...(random.chance(0.3) ? [line] : []));
  }
  return all.join("\n");
}

fuzz("topology", (random, budget) => {
  const shape = shapeTopology(random.pick(SMALL));
  const write = random.pick([yamlOf, netlistOf]);
  const text = write(shape, random);
  const right = parseTopology(text, "fuzz");
  assert.deepEqual(
    right.nodes.map(({ kind, name, portCount }) => ({ kind, name, portCount })),
    write === yamlOf ? shape.nodes.toSorted((a, b) => (a.kind === b.kind ? 0 : a.kind === "switch" ? -1 : 1)) : shape.nodes,
  );
  assert.equal(right.links.length, shape.links.length);
  build(budget, () => right);
  build(budget, () => parseTopology(bent(random, text), "fuzz"));
  build(budget, () => parseTopology(lines(random, text), "fuzz"));
  const files = [
    STATEMENTS.replace(/^include.*\n/m, "").replaceAll('"a', '"b'),
    lines(random, STATEMENTS),
    bent(random, STATEMENTS),
  ];
  const include = (file: string): string => files[Number(file.slice(-1))] ?? "";
  build(budget, () => parseTopology(bent(random, STATEMENTS), "fuzz", include));
  build(budget, () => parseTopology(lines(random, STATEMENTS), "fuzz", include));
  const name = bent(random, random.pick(SMALL));
  try {
    shapeTopology(name);
  } catch (error) {
    assert.ok(error instanceof TopologyError, name);
  }
});
