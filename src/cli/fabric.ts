// vhca fabric show: nodes, links and port states as the fabric sees them.

import type { Command } from "commander";
import type { FabricView } from "../fabric/inspect.ts";
import { findDomains } from "./domains.ts";
import { dim, printJson, printLine, UsageError } from "./output.ts";

export function addFabric(program: Command): void {
  const fabric = program.command("fabric").summary("show the fabric of a running device domain");
  fabric
    .command("show")
    .description("Draws switches, HCAs and links with their LIDs and states.")
    .option("--json", "print everything as JSON")
    .action(async (options: { json?: boolean }) => {
      const domains = await findDomains();
      if (domains.length === 0) throw new UsageError("no device domain runs; start one with: vhca up");
      if (options.json === true) printJson(domains.map((d) => ({ pid: d.status.pid, fabric: d.status.fabric })));
      else for (const { status } of domains) printFabric(status.fabric, status.pid);
    });
}

function printFabric(fabric: FabricView, pid: number): void {
  printLine(`Fabric of process ${pid}: ${fabric.nodeCount} nodes, ${fabric.linkCount} links, ${fabric.linksUp} of them up`);
  const nameOfNode = new Map(fabric.nodes.map((node) => [node.guid, node.description]));
  for (const node of fabric.nodes) {
    printLine(`${node.type} ${node.description} ${dim(node.guid)}`);
    for (const port of node.ports) {
      const peer =
        port.peer === undefined ? "" : ` ── ${nameOfNode.get(port.peer.node) ?? port.peer.node} port ${port.peer.port}`;
      printLine(
        `  port ${String(port.number).padEnd(3)} LID ${String(port.lid).padEnd(5)} ${port.state.padEnd(7)} ${port.link}${peer}`,
      );
    }
  }
  if (fabric.isCut)
    printLine(dim(`… the first ${fabric.nodes.length} of ${fabric.nodeCount} nodes; GET /v1/fabric/nodes has all`));
}
