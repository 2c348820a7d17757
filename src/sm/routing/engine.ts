// What a routing engine is: it says for every switch and every LID by which port packets leave.

import type { SwitchGraph } from "./graph.ts";
import type { RouteTables } from "./tables.ts";

export interface RoutingEngine {
  /** Name on the command line. */
  readonly name: string;
  /**
   * Sets the entry of every switch for every LID; what it does not set is discarded.
   * @returns why the engine cannot route this topology; undefined if it has.
   */
  route(graph: SwitchGraph, tables: RouteTables): string | undefined;
}
