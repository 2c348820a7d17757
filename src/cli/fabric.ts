// vhca fabric: the fabric of a running device domain, shown and changed.

import type { Command } from "commander";
import { addCable, addNode } from "./fabric/cable.ts";
import { addLink } from "./fabric/link.ts";
import { addPath } from "./fabric/path.ts";
import { addShow } from "./fabric/show.ts";

export function addFabric(program: Command): void {
  const fabric = program
    .command("fabric")
    .summary("show and change the fabric of a running device domain")
    .description(
      "Shows the fabric of a running device domain and changes it: pull cables, add switches and hosts. vhca fault breaks it.",
    )
    .addHelpText(
      "after",
      `
Examples:
  vhca fabric show                              switches, hosts and cables as a tree
  vhca fabric path n1 n2                        the hops of a packet
  vhca fabric link down leaf1:3                 pull a cable; up plugs it in again
  vhca fabric node leaf1                        its ports, and their virtual lanes
  vhca fabric node add host n17 --at leaf1`,
    );
  addShow(fabric);
  addPath(fabric);
  addLink(fabric);
  addCable(fabric);
  addNode(fabric);
}
