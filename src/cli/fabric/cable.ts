// vhca fabric cable add|rm and vhca fabric node add|rm: what a running fabric is made of.

import { Argument, type Command } from "commander";
import type { NodeView } from "../../fabric/inspect.ts";
import { printJson, printLine } from "../output.ts";
import {
  addCommonOptions,
  addRateOptions,
  type CommonOptions,
  getFabricDomain,
  parseWhole,
  printLinks,
  settled,
} from "./common.ts";
import { addNodeShow } from "./node.ts";

interface RateOptions extends CommonOptions {
  width?: "1X" | "4X";
  speed?: "SDR" | "DDR";
}

interface NodeOptions extends RateOptions {
  at?: string[];
  ports?: number;
  guid?: string;
  description?: string;
}

export function addCable(fabric: Command): void {
  const cable = fabric
    .command("cable")
    .summary("add or remove cables")
    .description("Adds cables to a running fabric, and takes them away.");
  addRateOptions(addCommonOptions(cable.command("add <end> <other>")), false)
    .description("Joins two ports; an end without :PORT gets the first that is free.")
    .action(async (end: string, other: string, { width, speed, ...options }: RateOptions) => {
      const { client } = await getFabricDomain(options.domain);
      const rate = { ...(width === undefined ? {} : { width }), ...(speed === undefined ? {} : { speed }) };
      const link = await client.addCable({ ends: [end, other], ...rate });
      printLinks([await settled(client, link)], options);
    });
  addCommonOptions(cable.command("rm <end>"))
    .description("Takes a cable away, named by either of its ends.")
    .action(async (end: string, options: CommonOptions) => {
      const { client } = await getFabricDomain(options.domain);
      const link = await client.removeCable(end);
      if (options.json === true) printJson(link);
      else printLine(`${link.a.node}:${link.a.port} ── ${link.b.node}:${link.b.port}  gone`);
    });
}

export function addNode(fabric: Command): void {
  const node = fabric
    .command("node")
    .summary("show one node; add or remove switches and phantom hosts")
    .description("Shows one node; adds and removes switches and phantom hosts.");
  addNodeShow(node);
  const add = node.command("add").addArgument(new Argument("<kind>", "what it is").choices(["host", "switch"]));
  addRateOptions(addCommonOptions(add.argument("<name>")), false)
    .description("Adds a switch, or a phantom host, which an HCA may take the place of: vhca hca add NAME.")
    .option("--at <ends...>", "a cable to each of these: NODE, or NODE:PORT")
    .option("--ports <count>", "ports (a switch has 36, a host 1)", parseWhole)
    .option("--guid <guid>", "node GUID, 0x…; the next that is free if left out")
    .option("--description <text>", "NodeDescription; the name if left out")
    .addHelpText(
      "after",
      `
Examples:
  vhca fabric node add host n17 --at leaf1
  vhca fabric node add switch leaf9 --at spine1 spine2:7 --ports 16`,
    )
    .action(addOne);
  addCommonOptions(node.command("rm <names...>"))
    .description("Takes switches or phantom hosts away, with their cables; an HCA is unplugged by vhca hca rm.")
    .action(async (names: string[], options: CommonOptions) => {
      const { client } = await getFabricDomain(options.domain);
      const nodes: NodeView[] = [];
      for (const name of names) nodes.push(await client.removeNode(name));
      if (options.json === true) printJson(nodes);
      else for (const { name, ports } of nodes) printLine(`${name}  gone, with ${cablesText(ports)}`);
    });
}

function cablesText(ports: NodeView["ports"]): string {
  const count = ports.filter(({ peer }) => peer !== undefined).length;
  return count === 1 ? "1 cable" : `${count} cables`;
}

async function addOne(kind: "host" | "switch", name: string, { domain, json, ...options }: NodeOptions): Promise<void> {
  const { client } = await getFabricDomain(domain);
  const node = await client.addNode({ kind, name, ...options });
  if (json === true) {
    printJson(node);
    return;
  }
  printLine(`${name}  ${kind}, node GUID ${node.guid}`);
  for (const { number, peer } of node.ports) {
    if (peer === undefined) continue;
    printLinks([await settled(client, await client.changeLink(`${name}:${number}`, {}))], {});
  }
}
