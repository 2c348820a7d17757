// Puts a topology together switch by switch; every cable takes the next port at each of its ends.

import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

export class TopologyBuilder {
  readonly #source: string;
  readonly #nodes: TopologyNode[] = [];
  readonly #links: TopologyLink[] = [];
  readonly #used = new Map<string, number>();
  #hostCount = 0;

  constructor(source: string) {
    this.#source = source;
  }

  addSwitch(name: string, portCount: number): void {
    this.#nodes.push({ kind: "switch", name, portCount });
  }

  /** So many more hosts, n1, n2, …, on a switch. */
  addHosts(onSwitch: string, count: number): void {
    for (let i = 0; i < count; i++) {
      const name = `n${++this.#hostCount}`;
      this.#nodes.push({ kind: "host", name, portCount: 1 });
      this.join(name, onSwitch);
    }
  }

  join(a: string, b: string): void {
    this.#links.push({
      ends: [
        { node: a, port: this.#nextPort(a) },
        { node: b, port: this.#nextPort(b) },
      ],
    });
  }

  topology(): Topology {
    return { source: this.#source, nodes: this.#nodes, links: this.#links };
  }

  #nextPort(node: string): number {
    const port = (this.#used.get(node) ?? 0) + 1;
    this.#used.set(node, port);
    return port;
  }
}
