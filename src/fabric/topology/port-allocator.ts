// Ends of cables as people write them: `NODE:PORT`, or `NODE` for the next port that nobody names.

import { type LinkEnd, TopologyError, type TopologyNode } from "./topology.ts";

export class PortAllocator {
  readonly #source: string;
  readonly #portCounts: ReadonlyMap<string, number>;
  /** Ports that are named, or given. */
  readonly #used = new Map<string, Set<number>>();
  readonly #next = new Map<string, number>();

  constructor(source: string, nodes: readonly TopologyNode[]) {
    this.#source = source;
    this.#portCounts = new Map(nodes.map(({ name, portCount }) => [name, portCount]));
  }

  /** Notes the port that an end names: before any end is resolved. */
  claim(text: string, line: number | undefined): void {
    const { node, port } = this.#parse(text, line);
    if (port === undefined) return;
    const used = this.#used.get(node);
    if (used === undefined) this.#used.set(node, new Set([port]));
    else used.add(port);
  }

  /** @throws TopologyError if it has no form, or no port is free */
  resolve(text: string, line: number | undefined): LinkEnd {
    const { node, port } = this.#parse(text, line);
    return { node, port: port ?? this.#takeFree(node, line) };
  }

  #takeFree(node: string, line: number | undefined): number {
    const count = this.#portCounts.get(node);
    // That there is no such node is found later, with all else that is wrong with it.
    if (count === undefined) return 1;
    let port = this.#next.get(node) ?? 1;
    while (this.#used.get(node)?.has(port) === true) port++;
    if (port > count) {
      throw new TopologyError(this.#source, line, `${node} has no free port: all ${count} have cables; give it more ports`);
    }
    this.#next.set(node, port + 1);
    return port;
  }

  #parse(text: string, line: number | undefined): { node: string; port: number | undefined } {
    const [, node, port] = /^([^:\s]+)(?::(\d{1,3}))?$/.exec(text) ?? [];
    if (node === undefined) {
      throw new TopologyError(
        this.#source,
        line,
        `expected NODE or NODE:PORT as the end of a cable, got ${JSON.stringify(text)}`,
      );
    }
    return { node, port: port === undefined ? undefined : Number(port) };
  }
}
