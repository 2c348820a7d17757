// Up/down: every cable has an upper end, a way goes up first and then down and never up again. Packets then wait for each other along one
// order of the cables only, in no circle, so nothing can stop for ever, whatever the topology. It costs hops, and load near the root.
//
// The root is the switch with the most hosts, the lowest GUID among equals; a switch ranks by its distance from it, and the lower GUID among
// equals: that end of a cable is the upper one. Counted from a switch with hosts, a leaf, the shortest ways between the hosts of a Clos network
// are all allowed; counted from one spine, the other spines would lie below the leaves.
//
// A switch knows a packet's destination and not where it came from, so whoever has a way down only must take it.

import type { RoutingEngine } from "./engine.ts";
import type { SwitchGraph } from "./graph.ts";
import { Spread } from "./spread.ts";

const NONE = -1;

export const upDown: RoutingEngine = {
  name: "updn",
  route(graph, tables) {
    const hops = new UpDownHops(graph);
    const spread = new Spread(graph, tables);
    for (const home of graph.homes) {
      hops.computeTo(home.at);
      for (let at = 0; at < graph.switches.length; at++) {
        if (at === home.at) continue;
        spread.clear();
        hops.collect(at, spread);
        spread.deal(at, home);
      }
      spread.arrive(home);
    }
    return undefined;
  },
};

class UpDownHops {
  readonly #graph: SwitchGraph;
  /** Switches by rank, the highest first. */
  readonly #order: Int32Array;
  /** Whether an edge leads up. */
  readonly #isUp: Uint8Array;
  /** Hops to the home at hand: by cables that lead down only, and by any allowed way. */
  readonly #down: Int32Array;
  readonly #total: Int32Array;
  readonly #queue: Int32Array;

  constructor(graph: SwitchGraph) {
    const count = graph.switches.length;
    this.#graph = graph;
    this.#order = orderFromRoot(graph);
    this.#down = new Int32Array(count);
    this.#total = new Int32Array(count);
    this.#queue = new Int32Array(count);
    const place = new Int32Array(count);
    this.#order.forEach((at, i) => {
      place[at] = i;
    });
    this.#isUp = new Uint8Array(graph.edgeCount);
    for (let at = 0; at < count; at++) {
      const end = graph.firstEdge[at + 1] ?? 0;
      for (let edge = graph.firstEdge[at] ?? 0; edge < end; edge++) {
        this.#isUp[edge] = (place[graph.edgeTo[edge] ?? 0] ?? 0) < (place[at] ?? 0) ? 1 : 0;
      }
    }
  }

  computeTo(home: number): void {
    this.#computeDown(home);
    const { firstEdge, edgeTo } = this.#graph;
    // whoever lies higher is done before
    for (const at of this.#order) {
      let best = this.#down[at] ?? NONE;
      const end = firstEdge[at + 1] ?? 0;
      if (best === NONE) {
        for (let edge = firstEdge[at] ?? 0; edge < end; edge++) {
          const above = this.#isUp[edge] === 1 ? (this.#total[edgeTo[edge] ?? 0] ?? NONE) : NONE;
          if (above !== NONE && (best === NONE || above + 1 < best)) best = above + 1;
        }
      }
      this.#total[at] = best;
    }
  }

  /** From the home upwards: whoever is reached has a way down. */
  #computeDown(home: number): void {
    const { firstEdge, edgeTo } = this.#graph;
    const down = this.#down.fill(NONE);
    const queue = this.#queue;
    down[home] = 0;
    queue[0] = home;
    for (let head = 0, tail = 1; head < tail; head++) {
      const at = queue[head] ?? 0;
      const end = firstEdge[at + 1] ?? 0;
      for (let edge = firstEdge[at] ?? 0; edge < end; edge++) {
        const to = edgeTo[edge] ?? 0;
        if (this.#isUp[edge] !== 1 || down[to] !== NONE) continue;
        down[to] = (down[at] ?? 0) + 1;
        queue[tail++] = to;
      }
    }
  }

  /** The edges of `at` by which the shortest allowed ways begin. */
  collect(at: number, spread: Spread): void {
    const { firstEdge, edgeTo } = this.#graph;
    const goesDown = this.#down[at] !== NONE;
    const hops = goesDown ? this.#down : this.#total;
    const wanted = (hops[at] ?? NONE) - 1;
    if (wanted < 0) return;
    const end = firstEdge[at + 1] ?? 0;
    for (let edge = firstEdge[at] ?? 0; edge < end; edge++) {
      if (this.#isUp[edge] === (goesDown ? 0 : 1) && hops[edgeTo[edge] ?? 0] === wanted) spread.add(edge);
    }
  }
}

/** All switches: by distance from the root of their part of the subnet, then by GUID. */
function orderFromRoot(graph: SwitchGraph): Int32Array {
  const { switches } = graph;
  const hosts = new Int32Array(switches.length);
  for (const { at, ports } of graph.homes) hosts[at] = ports.filter(({ node }) => !node.isSwitch).length;
  const guidOf = (at: number): bigint => switches[at]?.guid ?? 0n;
  const byGuid = (a: number, b: number): number => (guidOf(a) < guidOf(b) ? -1 : 1);
  const roots = switches.map((_, at) => at).sort((a, b) => (hosts[b] ?? 0) - (hosts[a] ?? 0) || byGuid(a, b));
  const rank = new Int32Array(switches.length).fill(NONE);
  for (const root of roots) if (rank[root] === NONE) rankFrom(graph, root, rank);
  return Int32Array.from(roots.sort((a, b) => (rank[a] ?? 0) - (rank[b] ?? 0) || byGuid(a, b)));
}

function rankFrom({ firstEdge, edgeTo }: SwitchGraph, root: number, rank: Int32Array): void {
  rank[root] = 0;
  const queue = [root];
  for (const at of queue) {
    const end = firstEdge[at + 1] ?? 0;
    for (let edge = firstEdge[at] ?? 0; edge < end; edge++) {
      const to = edgeTo[edge] ?? 0;
      if (rank[to] !== NONE) continue;
      rank[to] = (rank[at] ?? 0) + 1;
      queue.push(to);
    }
  }
}
