// Routes the subnet: the wanted linear table of every switch, by the engine that was chosen.

import type { Subnet } from "../subnet.ts";
import type { RoutingEngine } from "./engine.ts";
import { SwitchGraph } from "./graph.ts";
import { minHop } from "./min-hop.ts";
import { RouteTables } from "./tables.ts";

/**
 * Sets `SwitchState.linear` of every switch; by min-hop where `engine` cannot.
 * @returns why it could not.
 */
export function routeUnicast(subnet: Subnet, engine: RoutingEngine = minHop): string | undefined {
  const graph = new SwitchGraph(subnet);
  const tables = new RouteTables(graph);
  const refusal = engine.route(graph, tables);
  if (refusal !== undefined) minHop.route(graph, tables);
  return refusal;
}
