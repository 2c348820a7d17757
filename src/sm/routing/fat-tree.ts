// Fat-tree: for trees of switches with several roots, hosts on the leaves. Every LID has one switch at the top of its own, by which everybody
// sends to it; LIDs are counted along the leaves and dealt to the tops digit by digit (d-mod-k). So the LIDs of the other leaves are spread evenly
// over the cables that lead up from a leaf, every cable that leads down carries one host's packets in a full k-ary tree, and a permutation that
// shifts every host to the one so many places further meets no cable twice.
//
//   for each LID:  1 its chain, from its leaf up to its top    2 whoever has a way down to it goes down
//                  3 whoever lies below the chain goes up to it    4 others climb, and switches without hosts below go whatever way there is

import { LFT_DISCARD } from "../../spec/mad/numbers.ts";
import type { RoutingEngine } from "./engine.ts";
import type { Home, SwitchGraph } from "./graph.ts";
import { Levels } from "./levels.ts";
import { minHop } from "./min-hop.ts";
import type { RouteTables } from "./tables.ts";

export const fatTree: RoutingEngine = {
  name: "ftree",
  route(graph, tables) {
    const hasHost = graph.homes.some(({ ports }) => ports.some(({ node }) => !node.isSwitch));
    if (!hasHost) return minHop.route(graph, tables);
    const levels = Levels.find(graph);
    if (typeof levels === "string") return levels;
    const router = new FatTreeRouter(levels, tables);
    for (const home of graph.homes) {
      const refusal = router.route(home);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  },
};

const NONE = -1;

class FatTreeRouter {
  readonly #levels: Levels;
  readonly #graph: SwitchGraph;
  readonly #tables: RouteTables;
  /** Edge by which each switch sends to the LID at hand. */
  readonly #next: Int32Array;
  readonly #isBelow: Uint8Array;
  readonly #queue: Int32Array;
  /** The LID's switch, and those above it up to the top; which of parallel cables leads to each. */
  #chain: number[] = [];
  #parallel: number[] = [];

  constructor(levels: Levels, tables: RouteTables) {
    const count = levels.graph.switches.length;
    this.#levels = levels;
    this.#graph = levels.graph;
    this.#tables = tables;
    this.#next = new Int32Array(count);
    this.#isBelow = new Uint8Array(count);
    this.#queue = new Int32Array(count);
  }

  /** @returns why the topology is no fat tree. */
  route({ at, ports }: Home): string | undefined {
    let position = 0;
    for (const { lid, lidCount, node, peer } of ports) {
      for (let i = 0; i < lidCount; i++) {
        this.#next.fill(NONE);
        this.#buildChain(at, node.isSwitch ? 0 : position + i);
        this.#goDown(at);
        this.#goUp();
        this.#climb(at, lid);
        if (!node.isSwitch && !this.#reachesAllLeaves(at)) return `not every two leaves have a switch above both`;
        this.#goAnyway(at);
        this.#write(at, lid + i, node.isSwitch ? 0 : (peer?.number ?? 0));
      }
      if (!node.isSwitch) position++;
    }
    return undefined;
  }

  /** Chooses the chain of the host in place `position` of switch `at`. */
  #buildChain(at: number, position: number): void {
    const { up, leafPlace, hostsMax, twin, levelOf } = this.#levels;
    this.#chain = [at];
    this.#parallel = [];
    const place = levelOf[at] === 0 ? (leafPlace[at] ?? 0) : at;
    let digits = NONE;
    for (let from = at; (up[from]?.length ?? 0) > 0; ) {
      const edges = up[from] ?? new Int32Array(0);
      const width = edges.length;
      // the first digit is the host's place on its leaf, the others count the leaves
      const digit = digits === NONE ? position % width : digits % width;
      digits = digits === NONE ? place * Math.ceil(hostsMax / width) + Math.floor(position / width) : Math.floor(digits / width);
      const edge = edges[digit] ?? 0;
      const to = this.#graph.edgeTo[edge] ?? 0;
      this.#next[to] = twin[edge] ?? NONE;
      this.#chain.push(to);
      this.#parallel.push(digit - edges.findIndex((other) => this.#graph.edgeTo[other] === to));
      from = to;
    }
  }

  /** Whoever has the LID below sends down, those of the chain along the chain. */
  #goDown(home: number): void {
    const { up, twin } = this.#levels;
    const queue = this.#queue;
    this.#isBelow.fill(0);
    queue[0] = home;
    for (let head = 0, tail = 1; head < tail; head++) {
      for (const edge of up[queue[head] ?? 0] ?? []) {
        const to = this.#graph.edgeTo[edge] ?? 0;
        if (this.#isBelow[to] === 1) continue;
        this.#isBelow[to] = 1;
        if (this.#next[to] === NONE) this.#next[to] = twin[edge] ?? NONE;
        queue[tail++] = to;
      }
    }
  }

  /** Whoever lies below a switch of the chain sends up to it, to the lowest one it lies below. */
  #goUp(): void {
    const { down } = this.#levels;
    const queue = this.#queue;
    this.#isBelow.fill(0);
    for (let i = 0; i < this.#chain.length; i++) {
      queue[0] = this.#chain[i] ?? 0;
      for (let head = 0, tail = 1; head < tail; head++) {
        const from = queue[head] ?? 0;
        for (const edge of down[from] ?? []) {
          const to = this.#graph.edgeTo[edge] ?? 0;
          if (this.#isBelow[to] === 1 || to === this.#chain[0]) continue;
          this.#isBelow[to] = 1;
          if (this.#next[to] === NONE) this.#next[to] = this.#upBy(edge, to, from);
          queue[tail++] = to;
        }
      }
    }
  }

  /** The edge from `at` up to `to`, the other end of `edge`; of parallel cables the one that the chain takes on this level. */
  #upBy(edge: number, at: number, to: number): number {
    const { levelOf, twin, up } = this.#levels;
    if (!this.#levels.hasParallels) return twin[edge] ?? NONE;
    const edges = (up[at] ?? new Int32Array(0)).filter((other) => this.#graph.edgeTo[other] === to);
    const first = levelOf[this.#chain[0] ?? 0] ?? 0;
    const which = this.#parallel[(levelOf[at] ?? 0) - first] ?? 0;
    return edges[which % edges.length] ?? NONE;
  }

  /** Whoever is left sends up to somebody who knows a way. */
  #climb(home: number, lid: number): void {
    const { fromTop, up } = this.#levels;
    for (const at of fromTop) {
      if (this.#isKnown(home, at) || up[at]?.length === 0) continue;
      this.#next[at] = this.#someKnown(home, up[at] ?? new Int32Array(0), lid);
    }
  }

  /** One of `edges` that leads to somebody who knows a way. */
  #someKnown(home: number, edges: Int32Array, lid: number): number {
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[(lid + i) % edges.length] ?? 0;
      if (this.#isKnown(home, this.#graph.edgeTo[edge] ?? 0)) return edge;
    }
    return NONE;
  }

  #isKnown(home: number, at: number): boolean {
    return at === home || this.#next[at] !== NONE;
  }

  #reachesAllLeaves(home: number): boolean {
    const { levelOf } = this.#levels;
    return levelOf.every((level, at) => level !== 0 || this.#isKnown(home, at));
  }

  /** Between switches there may be no way up and then down: from one top to another. Only management goes there. */
  #goAnyway(home: number): void {
    const { firstEdge, edgeTo } = this.#graph;
    const queue = this.#queue;
    let tail = 0;
    for (let at = 0; at < this.#next.length; at++) if (this.#isKnown(home, at)) queue[tail++] = at;
    if (tail === this.#next.length) return;
    for (let head = 0; head < tail; head++) {
      const at = queue[head] ?? 0;
      for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++) {
        const to = edgeTo[edge] ?? 0;
        if (this.#isKnown(home, to)) continue;
        this.#next[to] = this.#levels.twin[edge] ?? NONE;
        queue[tail++] = to;
      }
    }
  }

  #write(home: number, lid: number, port: number): void {
    for (let at = 0; at < this.#next.length; at++) {
      const edge = this.#next[at] ?? NONE;
      if (at === home) this.#tables.set(at, lid, port);
      else this.#tables.set(at, lid, edge === NONE ? LFT_DISCARD : (this.#graph.edgePort[edge] ?? LFT_DISCARD));
    }
  }
}
