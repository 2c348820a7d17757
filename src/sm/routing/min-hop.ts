// Min-hop: every switch sends every LID along a shortest way, the LIDs spread over the ways that are equally short. Right for any
// topology with credits to spare; where there are rings of switches, packets that wait for each other in a circle can stop for ever.

import type { RoutingEngine } from "./engine.ts";
import type { SwitchGraph } from "./graph.ts";
import { Spread } from "./spread.ts";

export const minHop: RoutingEngine = {
  name: "minhop",
  route(graph, tables) {
    const distances = new Distances(graph);
    const spread = new Spread(graph, tables);
    for (const home of graph.homes) {
      const distance = distances.to(home.at);
      for (let at = 0; at < graph.switches.length; at++) {
        if (at === home.at) continue;
        collectShortest(graph, at, distance, spread);
        spread.deal(at, home);
      }
      spread.arrive(home);
    }
    return undefined;
  },
};

/** The edges of `at` that lead one hop nearer. */
function collectShortest(graph: SwitchGraph, at: number, distance: Int32Array, spread: Spread): void {
  const { firstEdge, edgeTo } = graph;
  spread.clear();
  const wanted = (distance[at] ?? UNREACHED) - 1;
  if (wanted < 0) return;
  const end = firstEdge[at + 1] ?? 0;
  for (let edge = firstEdge[at] ?? 0; edge < end; edge++) if (distance[edgeTo[edge] ?? 0] === wanted) spread.add(edge);
}

const UNREACHED = -1;

/** Hops between switches, breadth first. */
export class Distances {
  readonly #graph: SwitchGraph;
  readonly #distance: Int32Array;
  readonly #queue: Int32Array;

  constructor(graph: SwitchGraph) {
    this.#graph = graph;
    this.#distance = new Int32Array(graph.switches.length);
    this.#queue = new Int32Array(graph.switches.length);
  }

  /** Hops from every switch to switch `home`, -1 where there is no way; valid until the next call. */
  to(home: number): Int32Array {
    const { firstEdge, edgeTo } = this.#graph;
    const distance = this.#distance.fill(UNREACHED);
    const queue = this.#queue;
    distance[home] = 0;
    queue[0] = home;
    for (let head = 0, tail = 1; head < tail; head++) {
      const at = queue[head] ?? 0;
      const hops = (distance[at] ?? 0) + 1;
      const end = firstEdge[at + 1] ?? 0;
      for (let edge = firstEdge[at] ?? 0; edge < end; edge++) {
        const to = edgeTo[edge] ?? 0;
        if (distance[to] !== UNREACHED) continue;
        distance[to] = hops;
        queue[tail++] = to;
      }
    }
    return distance;
  }
}
