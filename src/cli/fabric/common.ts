// What the commands of the fabric have in common: which domain, how values are written.

import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../../base/duration.ts";
import type { ControlClient } from "../../control/client.ts";
import type { LinkView } from "../../fabric/inspect-links.ts";
import { SPEEDS, WIDTHS } from "../../fabric/topology/topology.ts";
import { getDomainOf, type RunningDomain } from "../domains.ts";
import { printJson, printLine, red } from "../output.ts";
import { endText } from "./graph.ts";
import { countsText, faultsText, rateText, stateText } from "./states.ts";

export interface CommonOptions {
  domain?: number;
  json?: boolean;
}

export const addCommonOptions = (command: Command): Command =>
  command.addOption(domainOption()).option("--json", "print the result as JSON");

export const domainOption = (): Option =>
  new Option("--domain <pid>", "the domain of that process, where several run (vhca status shows them)").argParser(parseWhole);

export function addRateOptions(command: Command, canBeAuto: boolean): Command {
  const choices = (names: object): string[] => [...Object.keys(names), ...(canBeAuto ? ["auto"] : [])];
  return command
    .addOption(new Option("--width <lanes>", "at most so many lanes").choices(choices(WIDTHS)))
    .addOption(new Option("--speed <name>", "at most so fast").choices(choices(SPEEDS)));
}

/** The domain of that process; without one, that which is up, or the only one. @throws UsageError */
export const getFabricDomain = (pid: number | undefined): Promise<RunningDomain> => getDomainOf([], pid);

export function parseWhole(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) throw new InvalidArgumentError("expected a whole number");
  return value;
}

/** `0.01` or `1%`. */
export function parsePart(text: string): number {
  const [, number = "", percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text.trim()) ?? [];
  const value = percent === "%" ? Number(number) / 100 : Number(number);
  if (number === "" || value > 1) throw new InvalidArgumentError("expected a part of 1, such as 0.01 or 1%");
  return value;
}

export function parseTime(text: string): number {
  const ns = parseDuration(text);
  if (ns === undefined) throw new InvalidArgumentError("expected a duration such as 250ns, 5us, 1.5ms or 2s");
  return ns;
}

/** `s1:3 ── leaf1:4  4X DDR ACTIVE  loss 1%`. */
export function linkLine(link: LinkView): string {
  const state = stateText(link);
  const what = [rateText(link), state === "ACTIVE" ? state : red(state)].filter((text) => text !== "").join(" ");
  const rest = [faultsText(link.faults), countsText(link.counts)].filter((text) => text !== "");
  return [`${endText(link.a)} ── ${endText(link.b)}`, what, ...rest].join("  ");
}

export function printLinks(links: readonly LinkView[], { json }: CommonOptions): void {
  if (json === true) printJson(links);
  else for (const link of links) printLine(linkLine(link));
}

const SETTLE_MS = 3000;
const LOOK_MS = 50;

/** The link as it is once the subnet manager has made it ACTIVE; it gets some time for that, which a managed subnet does not need. */
export async function settled(client: ControlClient, link: LinkView): Promise<LinkView> {
  let view = link;
  for (const start = Date.now(); stateText(view) !== "ACTIVE" && view.state === "UP" && Date.now() - start < SETTLE_MS; ) {
    await sleep(LOOK_MS);
    view = await client.changeLink(endText(view.a), {});
  }
  return view;
}
