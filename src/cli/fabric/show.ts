// vhca fabric show: the fabric as a tree, a table, for Graphviz, or as JSON.

import { type Command, Option } from "commander";
import { findDomains, type RunningDomain } from "../domains.ts";
import { bold, plural, printJson, printLine, UsageError } from "../output.ts";
import { dotText } from "./dot.ts";
import { makeGraph } from "./graph.ts";
import { tableText } from "./table.ts";
import { treeLines } from "./tree.ts";

interface ShowOptions {
  table?: boolean;
  dot?: boolean;
  json?: boolean;
  all?: boolean;
}

export function addShow(fabric: Command): void {
  const others = (name: string): string[] => ["tree", "table", "dot", "json"].filter((each) => each !== name);
  const form = (name: string, text: string): Option => new Option(`--${name}`, text).conflicts(others(name));
  fabric
    .command("show")
    .summary("draw the fabric: tree, table, Graphviz or JSON")
    .description("Draws switches, hosts and cables with their LIDs and states; names and ports as other commands take them.")
    .addOption(form("tree", "from the spine, or the widest switch, down (this is what you get)"))
    .addOption(form("table", "a line for each link: ends, LIDs, rate, state, counters"))
    .addOption(form("dot", "a graph for Graphviz"))
    .addOption(form("json", "every node and link as JSON"))
    .option("--all", "fold nothing in the tree; in the table also counters of traffic")
    .addHelpText(
      "after",
      `
A line of the tree such as "3 ── leaf1:36" is a cable from port 3 of the node above to port 36 of leaf1; "┄" is one to a node that hangs
elsewhere. More than 64 nodes are folded where they look alike; what differs is shown.

Examples:
  vhca fabric show --table | grep -v ACTIVE            links with something wrong
  vhca fabric show --dot | dot -Tsvg >fabric.svg
  vhca fabric show --json | jq '.[0].links[] | select(.state != "UP")'`,
    )
    .action(show);
}

async function show(options: ShowOptions): Promise<void> {
  const domains = await findDomains();
  if (domains.length === 0) throw new UsageError("no device domain runs; start one with: vhca up");
  if (options.json === true) printJson(await Promise.all(domains.map(everything)));
  else for (const domain of domains) await draw(domain, options);
}

async function everything({ client, status }: RunningDomain): Promise<object> {
  const { nodes: _some, links: _few, isCut: _cut, ...fabric } = status.fabric;
  return { pid: status.pid, ...fabric, nodes: await client.fabricNodes(), links: await client.fabricLinks() };
}

async function draw({ client, status }: RunningDomain, { table, dot, all = false }: ShowOptions): Promise<void> {
  const links = await client.fabricLinks();
  const { nodeCount, linkCount, linksUp } = status.fabric;
  const title = `Fabric of process ${status.pid}: ${plural(nodeCount, "node")}, ${plural(linkCount, "link")}, ${linksUp} of them up`;
  if (dot !== true) printLine(bold(title));
  if (table === true) {
    printLine(tableText(links, all));
    return;
  }
  const graph = makeGraph(await client.fabricNodes(), links);
  printLine(dot === true ? dotText(graph, `vhca ${status.pid}`) : treeLines(graph, all).join("\n"));
}
