// The routing engines by the names the command line has for them.

import type { RoutingEngine } from "./engine.ts";
import { fatTree } from "./fat-tree.ts";
import { minHop } from "./min-hop.ts";
import { upDown } from "./up-down.ts";

export const ROUTING_NAMES = ["minhop", "updn", "ftree"] as const;
export type RoutingName = (typeof ROUTING_NAMES)[number];

const ENGINES: Readonly<Record<RoutingName, RoutingEngine>> = { minhop: minHop, updn: upDown, ftree: fatTree };

export const routingEngine = (name: RoutingName): RoutingEngine => ENGINES[name];
