// vhca fabric: the fabric of a running device domain.

import type { Command } from "commander";
import { addShow } from "./fabric/show.ts";

export function addFabric(program: Command): void {
  const fabric = program.command("fabric").summary("show the fabric of a running device domain");
  addShow(fabric);
}
