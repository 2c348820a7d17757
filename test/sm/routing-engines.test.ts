// The routing engines, seen in the tables that the switches have: no packets that wait in circles, load spread evenly, every pair connected.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import type { Port } from "../../src/fabric/port.ts";
import { shapeTopology } from "../../src/fabric/topology/shapes.ts";
import type { Topology, TopologyLink, TopologyNode } from "../../src/fabric/topology/topology.ts";
import type { RoutingOptions } from "../../src/sm/options.ts";
import { hasChannelCycle, Lab } from "./topology-kit.ts";

function settled(topology: Topology | string, options: RoutingOptions): Lab {
  const lab = new Lab(typeof topology === "string" ? shapeTopology(topology) : topology, options);
  lab.settle();
  return lab;
}

/** Every host reaches every LID of every host and switch. */
function assertConnected(lab: Lab): void {
  const { byLid } = lab.manager.subnet;
  for (const from of lab.hosts) {
    for (const to of lab.hosts) {
      if (to === from) continue;
      for (let lid = to.lid; lid < to.lid + 2 ** to.lmc; lid++) assert.equal(lab.way(from, lid).at(-1)?.peer, to);
    }
  }
  for (const start of lab.lab.switches.values()) {
    for (const [lid, { node }] of byLid) {
      let at: Port["node"] = start;
      for (let hops = 0; at.switch !== undefined && at.switch.linear.portOf(lid) !== 0; hops++) {
        assert.ok(hops < 64, `LID ${lid} from ${start.name} goes round`);
        const next = at.ports[at.switch.linear.portOf(lid)]?.peer?.node;
        assert.ok(next !== undefined, `LID ${lid} from ${start.name} is lost at ${at.name}`);
        at = next;
      }
      assert.equal(at.guid, node.guid);
    }
  }
}

/** A connected topology: a random tree of switches with more cables, a host or two on every switch. */
function randomTopology(seed: number): Topology {
  const random = new Random(seed);
  const below = (n: number): number => random.u32() % n;
  const count = 4 + below(24);
  const nodes: TopologyNode[] = [];
  const links: TopologyLink[] = [];
  const used = new Map<string, number>();
  const end = (node: string) => {
    const port = (used.get(node) ?? 0) + 1;
    used.set(node, port);
    return { node, port };
  };
  for (let i = 0; i < count; i++) {
    nodes.push({ kind: "switch", name: `s${i}`, portCount: 60 });
    if (i > 0) links.push({ ends: [end(`s${i}`), end(`s${below(i)}`)] });
    nodes.push({ kind: "host", name: `n${i + 1}`, portCount: 1 });
    links.push({ ends: [end(`n${i + 1}`), end(`s${i}`)] });
  }
  for (let i = below(2 * count); i >= 0; i--) {
    const [a, b] = [below(count), below(count)];
    if (a !== b) links.push({ ends: [end(`s${a}`), end(`s${b}`)] });
  }
  return { source: `random ${seed}`, nodes, links };
}

test("min-hop on a torus lets packets wait in circles", () => {
  const lab = settled("torus:5x5", {});
  assertConnected(lab);
  assert.ok(hasChannelCycle(lab));
});

for (const shape of ["torus:5x5", "torus:3x3x3", "torus:6:2", "dragonfly:3,2,1", "fat-tree:4", "star:5"]) {
  test(`up/down on ${shape}: every pair connected, no circle`, () => {
    const lab = settled(shape, { routing: "updn" });
    assertConnected(lab);
    assert.ok(!hasChannelCycle(lab));
  });
}

test("up/down on random topologies: every pair connected, no circle, also after a cable is pulled", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const lab = settled(randomTopology(seed), { routing: "updn", lmc: seed % 3 });
    assertConnected(lab);
    assert.ok(!hasChannelCycle(lab), `seed ${seed}`);
    const last = [...lab.lab.fabric.links].filter(({ a, b }) => a.node.switch && b.node.switch).at(-1);
    last?.setPlugged(false);
    lab.settle();
    assert.ok(!hasChannelCycle(lab), `seed ${seed}, a cable less`);
  }
});

/** Hops of up/down by its rule alone: down by the shortest way wherever there is one, else to the switch above that is nearest. */
function upDownHops(switches: readonly Port["node"][], home: Port["node"]): Map<Port["node"], number> {
  const neighbours = (node: Port["node"]): Port["node"][] =>
    node.ports.flatMap((port) => (port?.peer?.node.switch === undefined ? [] : [port.peer.node]));
  const hostsOf = (node: Port["node"]): number =>
    node.ports.filter((port) => port?.peer?.node.switch === undefined && port?.peer).length;
  const [root] = switches.toSorted((a, b) => hostsOf(b) - hostsOf(a) || (a.guid < b.guid ? -1 : 1));
  const rank = new Map([[root!, 0]]);
  for (const [node, hops] of rank) for (const next of neighbours(node)) if (!rank.has(next)) rank.set(next, hops + 1);
  const isAbove = (a: Port["node"], b: Port["node"]): boolean =>
    rank.get(a)! === rank.get(b)! ? a.guid < b.guid : rank.get(a)! < rank.get(b)!;
  const down = new Map([[home, 0]]);
  for (const [node, hops] of down)
    for (const next of neighbours(node)) if (isAbove(next, node) && !down.has(next)) down.set(next, hops + 1);
  const total = new Map<Port["node"], number>();
  for (const node of switches.toSorted((a, b) => (isAbove(a, b) ? -1 : 1))) {
    const above = neighbours(node).filter((next) => isAbove(next, node));
    total.set(node, down.get(node) ?? 1 + Math.min(...above.map((next) => total.get(next)!)));
  }
  return total;
}

test("up/down on random topologies: no way is longer than its rule makes it", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const lab = settled(randomTopology(seed), { routing: "updn" });
    const switches = [...lab.lab.switches.values()];
    for (const { lid, peer } of lab.hosts) {
      const expected = upDownHops(switches, peer!.node);
      for (const start of switches) {
        let hops = 0;
        for (let at: Port["node"] = start; at !== peer!.node; hops++) at = at.ports[at.switch!.linear.portOf(lid)]!.peer!.node;
        assert.equal(hops, expected.get(start), `seed ${seed}, LID ${lid} from ${start.name}`);
      }
    }
  }
});

test("up/down on a fat tree: the ways between hosts are the shortest there are", () => {
  const [a, b] = [settled("fat-tree:4", { routing: "updn" }), settled("fat-tree:4", {})];
  a.hosts.forEach((from, i) => {
    a.hosts.forEach((to, j) => {
      const other = b.hosts[j]!;
      if (i !== j) assert.equal(a.way(from, to.lid).length, b.way(b.hosts[i]!, other.lid).length);
    });
  });
});

/** Most flows on one cable when every host sends to the one `shift` places further. */
function contention(lab: Lab, shift: number): number {
  const flows = new Map<Port, number>();
  const { hosts } = lab;
  hosts.forEach((from, i) => {
    const to = hosts[(i + shift) % hosts.length]!;
    for (const port of lab.way(from, to.lid)) flows.set(port, (flows.get(port) ?? 0) + 1);
  });
  return Math.max(...flows.values());
}

for (const k of [4, 6]) {
  test(`fat-tree on fat-tree:${k}: even load on the cables up from a leaf, and shifts meet no cable twice`, () => {
    const lab = settled(`fat-tree:${k}`, { routing: "ftree" });
    assert.deepEqual(lab.warnings, []);
    assertConnected(lab);
    const { hosts } = lab;
    const leaves = new Set(hosts.map((host) => host.peer!.node));
    for (const leaf of leaves) {
      const perPort = new Map<number, number>();
      for (const { lid, peer } of hosts) {
        if (peer!.node === leaf) continue;
        const out = leaf.switch!.linear.portOf(lid);
        perPort.set(out, (perPort.get(out) ?? 0) + 1);
      }
      assert.equal(perPort.size, k / 2);
      assert.equal(new Set(perPort.values()).size, 1, [...perPort].join(" "));
    }
    for (let shift = 1; shift < hosts.length; shift++) assert.equal(contention(lab, shift), 1, `shift ${shift}`);
  });
}

test("min-hop on a fat tree meets some cable twice at some shift", () => {
  const lab = settled("fat-tree:6", {});
  assert.ok(lab.hosts.some((_, shift) => shift > 0 && contention(lab, shift) > 1));
});

test("fat-tree goes on when a cable is pulled, and gives way to min-hop, once, where there is no fat tree", () => {
  const lab = settled("fat-tree:4", { routing: "ftree" });
  const trunk = [...lab.lab.fabric.links].find(({ a, b }) => a.node.switch && b.node.switch)!;
  trunk.setPlugged(false);
  lab.settle();
  assertConnected(lab);
  assert.deepEqual(lab.warnings, []);
  const torus = settled("torus:3x3", { routing: "ftree" });
  assertConnected(torus);
  assert.equal(torus.warnings.length, 1);
  assert.match(torus.warnings[0]!, /^routing by min-hop, not ftree: switches 0x\w+ and 0x\w+ are joined on one level$/);
});

for (const routing of ["minhop", "updn", "ftree"] as const) {
  test(`LMC 2 by ${routing}: four aligned LIDs for each port, by different ways where there are several`, () => {
    const lab = settled("fat-tree:4", { routing, lmc: 2 });
    assertConnected(lab);
    const [from, to] = [lab.hosts[0]!, lab.hosts.at(-1)!];
    assert.deepEqual([to.lid % 4, to.lmc], [0, 2]);
    const firstCables = [0, 1, 2, 3].map((i) => lab.way(from, to.lid + i)[0]!.number);
    assert.equal(new Set(firstCables).size, 2, "both cables up");
    const star = settled("star:3", { routing, lmc: 3 });
    assertConnected(star);
  });
}
