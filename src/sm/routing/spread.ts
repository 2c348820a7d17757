// Deals LIDs to equally good ways out of a switch: each LID takes the way with the fewest so far, the lowest port among equals, so equal
// subnets get equal tables. The LIDs of one port (LMC) go different ways where there are several, to different switches first.

import { LFT_DISCARD } from "../../spec/mad/numbers.ts";
import type { Home, SwitchGraph } from "./graph.ts";
import type { RouteTables } from "./tables.ts";

export class Spread {
  readonly #graph: SwitchGraph;
  readonly #tables: RouteTables;
  /** LIDs that leave by each edge. */
  readonly #load: Uint32Array;
  /** LIDs of the port at hand that have been given to each switch next door, and to each edge. */
  readonly #perSwitch: Uint8Array;
  readonly #perEdge: Uint8Array;
  /** Edges to choose from: the first `count` entries. */
  readonly candidates: Int32Array;
  count = 0;

  constructor(graph: SwitchGraph, tables: RouteTables) {
    this.#graph = graph;
    this.#tables = tables;
    this.#load = new Uint32Array(graph.edgeCount);
    this.#perSwitch = new Uint8Array(graph.switches.length);
    this.#perEdge = new Uint8Array(graph.edgeCount);
    this.candidates = new Int32Array(graph.edgeCount);
  }

  /** Forgets the candidates. */
  clear(): void {
    this.count = 0;
  }

  add(edge: number): void {
    this.candidates[this.count++] = edge;
  }

  /** At switch `at`, gives every LID of `home` one of the candidates; without any they are discarded. */
  deal(at: number, { ports }: Home): void {
    for (const { lid, lidCount } of ports) {
      if (lidCount === 1) this.#tables.set(at, lid, this.#take(this.#leastLoaded()));
      else this.#dealSeveral(at, lid, lidCount);
    }
  }

  /** At the home itself the LIDs leave by the port their host is on; port 0 is the switch's own. */
  arrive({ at, ports }: Home): void {
    for (const { lid, lidCount, node, peer } of ports) {
      const out = node.isSwitch ? 0 : (peer?.number ?? 0);
      for (let i = 0; i < lidCount; i++) this.#tables.set(at, lid + i, out);
    }
  }

  #dealSeveral(at: number, lid: number, lidCount: number): void {
    for (let i = 0; i < lidCount; i++) {
      const edge = this.#leastUsed();
      this.#tables.set(at, lid + i, this.#take(edge));
      if (edge < 0) continue;
      const to = this.#graph.edgeTo[edge] ?? 0;
      this.#perSwitch[to] = (this.#perSwitch[to] ?? 0) + 1;
      this.#perEdge[edge] = (this.#perEdge[edge] ?? 0) + 1;
    }
    for (let i = 0; i < this.count; i++) {
      const edge = this.candidates[i] ?? 0;
      this.#perSwitch[this.#graph.edgeTo[edge] ?? 0] = 0;
      this.#perEdge[edge] = 0;
    }
  }

  #leastLoaded(): number {
    const { candidates, count } = this;
    const load = this.#load;
    let best = count === 0 ? -1 : (candidates[0] ?? -1);
    for (let i = 1; i < count; i++) {
      const edge = candidates[i] ?? 0;
      if ((load[edge] ?? 0) < (load[best] ?? 0)) best = edge;
    }
    return best;
  }

  /** The candidate whose switch, then whose cable, has the fewest LIDs of this port, then the fewest of all. */
  #leastUsed(): number {
    let best = -1;
    for (let i = 0; i < this.count; i++) {
      const edge = this.candidates[i] ?? 0;
      if (best < 0 || this.#compare(edge, best) < 0) best = edge;
    }
    return best;
  }

  #compare(a: number, b: number): number {
    const { edgeTo } = this.#graph;
    return (
      (this.#perSwitch[edgeTo[a] ?? 0] ?? 0) - (this.#perSwitch[edgeTo[b] ?? 0] ?? 0) ||
      (this.#perEdge[a] ?? 0) - (this.#perEdge[b] ?? 0) ||
      (this.#load[a] ?? 0) - (this.#load[b] ?? 0)
    );
  }

  /** Counts a LID on `edge`; returns its port. */
  #take(edge: number): number {
    if (edge < 0) return LFT_DISCARD;
    this.#load[edge] = (this.#load[edge] ?? 0) + 1;
    return this.#graph.edgePort[edge] ?? LFT_DISCARD;
  }
}
