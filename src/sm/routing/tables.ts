// The switches' tables as a routing engine writes them. LIDs that nobody has, or that a switch does not reach, are discarded.

import { LFT_DISCARD } from "../../spec/mad/numbers.ts";
import type { LinearTable } from "../linear-table.ts";
import type { SwitchGraph } from "./graph.ts";

export class RouteTables {
  readonly #tables: readonly LinearTable[];

  constructor(graph: SwitchGraph) {
    this.#tables = graph.switches.flatMap((node) => (node.switch === undefined ? [] : [node.switch.linear]));
    for (const table of this.#tables) table.grow(graph.topLid);
    this.#discardUnused(graph);
  }

  /** At switch number `at`, `lid` leaves by `port`. */
  set(at: number, lid: number, port: number): void {
    this.#tables[at]?.set(lid, port);
  }

  #discardUnused(graph: SwitchGraph): void {
    const isUsed = new Uint8Array(graph.topLid + 1);
    for (const { ports } of graph.homes) for (const port of ports) isUsed.fill(1, port.lid, port.lid + port.lidCount);
    for (const table of this.#tables) {
      for (let lid = 0; lid < table.length; lid++) if (isUsed[lid] !== 1) table.set(lid, LFT_DISCARD);
    }
  }
}
