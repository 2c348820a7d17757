// --routing and --lmc: how the built-in subnet manager routes.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { RoutingOptions } from "../sm/options.ts";
import { ROUTING_NAMES } from "../sm/routing/names.ts";

/** PortInfo.LMC has three bits. */
const LMC_MAX = 7;

const ROUTING_TEXT =
  "how the built-in subnet manager routes: minhop, shortest ways, for any fabric; updn, up and then down again, " +
  "so that packets cannot block each other in a circle, for fabrics with rings such as a torus; ftree, the hosts spread evenly, for fat trees";

export function addRoutingOptions(command: Command): Command {
  return command
    .addOption(new Option("--routing <engine>", ROUTING_TEXT).choices(ROUTING_NAMES).default("minhop"))
    .option("--lmc <n>", "2^n LIDs for each port, with different ways to them where there are several; 0 to 7", parseLmc, 0);
}

function parseLmc(text: string): number {
  const lmc = Number(text);
  if (text === "" || !Number.isInteger(lmc) || lmc < 0 || lmc > LMC_MAX)
    throw new InvalidArgumentError(`expected a whole number from 0 to ${LMC_MAX}`);
  return lmc;
}

/** The two as they are written on a command line. */
export const routingArguments = ({ routing = "minhop", lmc = 0 }: RoutingOptions): string[] => [
  "--routing",
  routing,
  "--lmc",
  String(lmc),
];

/** The two among other options. */
export const routingOf = ({ routing = "minhop", lmc = 0 }: RoutingOptions): RoutingOptions => ({ routing, lmc });
