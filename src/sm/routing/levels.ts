// Whether switches make up a fat tree, and its order: leaves with hosts at the bottom, cables only between one level and the next. Parents are
// ordered alike at every switch and leaves tree by tree, so that what counts along both orders (fat-tree.ts) meets no cable twice.

import type { SwitchGraph } from "./graph.ts";

export class Levels {
  readonly graph: SwitchGraph;
  /** Hops to the nearest leaf. */
  readonly levelOf: Int32Array;
  /** Edges of each switch that lead up, in the order of the parents; parallel cables next to each other. */
  readonly up: readonly Int32Array[];
  readonly down: readonly Int32Array[];
  /** Switches from the top to the bottom. */
  readonly fromTop: readonly number[];
  /** Place of each leaf among the leaves. */
  readonly leafPlace: Int32Array;
  /** The same cable as seen from its other end. */
  readonly twin: Int32Array;
  /** Whether any two switches are joined by several cables. */
  readonly hasParallels: boolean;
  /** Most hosts on a leaf. */
  readonly hostsMax: number;

  private constructor(graph: SwitchGraph, levelOf: Int32Array) {
    const count = graph.switches.length;
    this.graph = graph;
    this.levelOf = levelOf;
    this.twin = twinsOf(graph);
    const numbers = graph.switches.map((_, at) => at);
    const top = Math.max(...levelOf);
    this.fromTop = [...numbers].sort((a, b) => this.#level(b) - this.#level(a) || this.#byGuid(a, b));
    const trees = (level: number): Int32Array => this.#parts((at) => this.#level(at) <= level);
    const treesByLevel = Array.from({ length: top }, (_, i) => trees(top - 1 - i));
    const leaves = numbers.filter((at) => levelOf[at] === 0);
    leaves.sort((a, b) => {
      for (const tree of treesByLevel) if (tree[a] !== tree[b]) return (tree[a] ?? 0) - (tree[b] ?? 0);
      return this.#byGuid(a, b);
    });
    this.leafPlace = new Int32Array(count);
    leaves.forEach((at, place) => {
      this.leafPlace[at] = place;
    });
    const columns = Array.from({ length: top + 1 }, (_, level) => this.#parts((at) => this.#level(at) >= level));
    this.up = numbers.map((at) => this.#edges(at, 1, columns[this.#level(at) + 1]));
    this.down = numbers.map((at) => this.#edges(at, -1, undefined));
    this.hasParallels = this.up.some((edges) => new Set(edges.map((edge) => graph.edgeTo[edge] ?? 0)).size < edges.length);
    this.hostsMax = Math.max(...graph.homes.map(({ ports }) => ports.filter(({ node }) => !node.isSwitch).length));
  }

  /** The levels, or why there are none. */
  static find(graph: SwitchGraph): Levels | string {
    const levelOf = levelsOf(graph);
    const { firstEdge, edgeTo, switches } = graph;
    const nameOf = (at: number): string => `0x${(switches[at]?.guid ?? 0n).toString(16)}`;
    for (let at = 0; at < switches.length; at++) {
      if (levelOf[at] === UNKNOWN) return `switch ${nameOf(at)} is joined to no switch with hosts`;
      for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++) {
        const to = edgeTo[edge] ?? 0;
        if (levelOf[to] === levelOf[at]) return `switches ${nameOf(at)} and ${nameOf(to)} are joined on one level`;
      }
    }
    return new Levels(graph, levelOf);
  }

  #level(at: number): number {
    return this.levelOf[at] ?? 0;
  }

  #byGuid(a: number, b: number): number {
    const { switches } = this.graph;
    return (switches[a]?.guid ?? 0n) < (switches[b]?.guid ?? 0n) ? -1 : 1;
  }

  /** Numbers the connected parts of the switches that belong, by their lowest GUID; every switch has the number of its part. */
  #parts(belongs: (at: number) => boolean): Int32Array {
    const { firstEdge, edgeTo, switches } = this.graph;
    const part = new Int32Array(switches.length).fill(UNKNOWN);
    const byGuid = switches.map((_, at) => at).sort((a, b) => this.#byGuid(a, b));
    let count = 0;
    for (const first of byGuid) {
      if (!belongs(first) || part[first] !== UNKNOWN) continue;
      const queue = [first];
      part[first] = count;
      for (const at of queue) {
        for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++) {
          const to = edgeTo[edge] ?? 0;
          if (!belongs(to) || part[to] !== UNKNOWN) continue;
          part[to] = count;
          queue.push(to);
        }
      }
      count++;
    }
    return part;
  }

  #edges(at: number, direction: number, columns: Int32Array | undefined): Int32Array {
    const { firstEdge, edgeTo } = this.graph;
    const edges: number[] = [];
    for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++) {
      if (this.#level(edgeTo[edge] ?? 0) === this.#level(at) + direction) edges.push(edge);
    }
    const to = (edge: number): number => edgeTo[edge] ?? 0;
    const columnOf = (edge: number): number => columns?.[to(edge)] ?? 0;
    edges.sort((a, b) => columnOf(a) - columnOf(b) || (to(a) === to(b) ? a - b : this.#byGuid(to(a), to(b))));
    return Int32Array.from(edges);
  }
}

const UNKNOWN = -1;

/** Hops from every switch to the nearest one with hosts. */
function levelsOf({ switches, homes, firstEdge, edgeTo }: SwitchGraph): Int32Array {
  const level = new Int32Array(switches.length).fill(UNKNOWN);
  const queue = homes.filter(({ ports }) => ports.some(({ node }) => !node.isSwitch)).map(({ at }) => at);
  for (const at of queue) level[at] = 0;
  for (const at of queue) {
    for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++) {
      const to = edgeTo[edge] ?? 0;
      if (level[to] !== UNKNOWN) continue;
      level[to] = (level[at] ?? 0) + 1;
      queue.push(to);
    }
  }
  return level;
}

function twinsOf({ switches, firstEdge, edgePort }: SwitchGraph): Int32Array {
  const twin = new Int32Array(edgePort.length);
  const edgeOf = new Map<unknown, number>();
  switches.forEach((node, at) => {
    for (let edge = firstEdge[at] ?? 0; edge < (firstEdge[at + 1] ?? 0); edge++)
      edgeOf.set(node.ports[edgePort[edge] ?? 0], edge);
  });
  for (const [port, edge] of edgeOf) twin[edge] = edgeOf.get((port as { peer?: unknown }).peer) ?? edge;
  return twin;
}
