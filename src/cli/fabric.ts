// vhca fabric: the fabric of a running device domain, shown and changed.

import type { Command } from "commander";
import { addCable, addNode } from "./fabric/cable.ts";
import { addLink } from "./fabric/link.ts";
import { addPath } from "./fabric/path.ts";
import { addShow } from "./fabric/show.ts";

export function addFabric(program: Command): void {
  const fabric = program.command("fabric").summary("show and change the fabric of a running device domain");
  addShow(fabric);
  addPath(fabric);
  addLink(fabric);
  addCable(fabric);
  addNode(fabric);
}
