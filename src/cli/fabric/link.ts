// vhca fabric link up|down|set|list: cables of a running fabric.

import type { Command } from "commander";
import type { ChangeLink } from "../../control/fabric-api.ts";
import { noNodeText, parseEnd } from "../../fabric/find.ts";
import type { LinkEndView, LinkView } from "../../fabric/inspect-links.ts";
import { printJson, printLine, UsageError } from "../output.ts";
import {
  addCommonOptions,
  addRateOptions,
  type CommonOptions,
  getFabricDomain,
  parsePart,
  parseTime,
  printLinks,
  settled,
} from "./common.ts";
import { tableText } from "./table.ts";

const ENDS_HELP = "\nNODE:PORT as vhca fabric show has it, either end of the cable; NODE alone where it has one cable.";

interface SetOptions extends CommonOptions {
  width?: "1X" | "4X" | "auto";
  speed?: "SDR" | "DDR" | "auto";
  loss?: number;
  corruption?: number;
  delay?: number;
}

export function addLink(fabric: Command): void {
  const link = fabric
    .command("link")
    .summary("pull cables, plug them in, change what they carry, list them")
    .description("Pulls cables, plugs them in, changes what they carry, lists them.");
  for (const [name, isPlugged, text] of [
    ["down", false, "Pulls cables: both ports go DOWN, the subnet manager routes around them."],
    ["up", true, "Plugs pulled cables in again."],
  ] as const) {
    addCommonOptions(link.command(`${name} <ends...>`).summary(text.split(":")[0] ?? text))
      .description(text)
      .addHelpText("after", ENDS_HELP)
      .action((ends: string[], options: CommonOptions) => change(ends, { isPlugged }, options));
  }
  addRateOptions(addCommonOptions(link.command("set <ends...>")), true)
    .summary("change what a cable carries, or what is wrong with it")
    .description(
      "Changes cables: width and speed (the link goes down and comes up with them), or faults for management and data alike.",
    )
    .option("--loss <part>", "part of the packets that get lost, such as 1% or 0.01", parsePart)
    .option("--corruption <part>", "part of the others that arrive with a wrong CRC", parsePart)
    .option("--delay <time>", "time that a packet takes, one way, such as 5us", parseTime)
    .addHelpText(
      "after",
      `${ENDS_HELP}

Examples:
  vhca fabric link set leaf1:36 --width 1X --speed SDR     a bad plug
  vhca fabric link set leaf1:36 --width auto --speed auto  a good one
  vhca fabric link set n1 --loss 1% --delay 5us
  vhca fabric link set n1 --loss 0 --delay 0ns`,
    )
    .action(set);
  addCommonOptions(link.command("list [where...]"))
    .summary("list cables: of some nodes or ports, or all")
    .description("Lists cables with both ends, as vhca fabric show --table does: those of some nodes or ports, or all.")
    .action(list);
}

async function change(ends: readonly string[], changes: ChangeLink, options: CommonOptions): Promise<void> {
  const { client } = await getFabricDomain(options.domain);
  // an end that is nowhere is told before anything has changed
  for (const end of ends) await client.changeLink(end, {});
  const links: LinkView[] = [];
  for (const end of ends) links.push(await client.changeLink(end, changes));
  printLinks(await Promise.all(links.map((link) => settled(client, link))), options);
}

async function set(ends: readonly string[], options: SetOptions): Promise<void> {
  const { width, speed, loss, corruption, delay } = options;
  const faults = given({ loss, corruption, delayNs: delay });
  const changes = given({ width, speed, faults: Object.keys(faults).length === 0 ? undefined : faults });
  if (Object.keys(changes).length === 0)
    throw new UsageError("nothing to set: give --width, --speed, --loss, --corruption or --delay");
  await change(ends, changes, options);
}

/** The values that are there. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

async function list(where: readonly string[], options: CommonOptions): Promise<void> {
  const { client } = await getFabricDomain(options.domain);
  const links = await client.fabricLinks();
  const isAt = (each: string, { node, port }: LinkEndView): boolean =>
    each === node || (parseEnd(each).node === node && parseEnd(each).port === port);
  const touches = (each: string, { a, b }: LinkView): boolean => isAt(each, a) || isAt(each, b);
  const strange = where.find((each) => !links.some((link) => touches(each, link)));
  if (strange !== undefined) throw new UsageError(nothingText(strange, links));
  const shown = where.length === 0 ? links : links.filter((link) => where.some((each) => touches(each, link)));
  if (options.json === true) printJson(shown);
  else printLine(tableText(shown, false));
}

function nothingText(where: string, links: readonly LinkView[]): string {
  const names = new Set(links.flatMap(({ a, b }) => [a.node, b.node]));
  const { node } = parseEnd(where);
  return names.has(node) ? `there is no cable at ${where}` : noNodeText(node, names);
}
