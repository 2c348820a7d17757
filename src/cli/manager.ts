// --routing and --lmc: how the built-in subnet manager routes; --sm-priority and --sm-yields: how it gets on with others.

import { type Command, InvalidArgumentError, Option } from "commander";
import { type ChosenOptions, DEFAULT_SETTINGS } from "../sm/options.ts";
import { ROUTING_NAMES, type RoutingName } from "../sm/routing/names.ts";

/** PortInfo.LMC has three bits. */
const LMC_MAX = 7;
/** SMInfo.Priority has four. */
const PRIORITY_MAX = 15;

const ROUTING_TEXT =
  "how the built-in subnet manager routes: minhop, shortest ways, for any fabric; updn, up and then down again, " +
  "so that packets cannot block each other in a circle, for fabrics with rings such as a torus; ftree, the hosts spread evenly, for fat trees";

const YIELDS_TEXT =
  "whether another subnet manager, such as OpenSM in a guest, becomes the master if its priority is higher; the built-in one stands by and takes over " +
  "when that one is gone. A guest that is the master can do anything to the fabric";

/** The options as commander names them. */
export interface ManagerFlags {
  routing: RoutingName;
  lmc: number;
  smPriority: number;
  smYields?: boolean;
}

export function addManagerOptions(command: Command): Command {
  return command
    .addOption(new Option("--routing <engine>", ROUTING_TEXT).choices(ROUTING_NAMES).default("minhop"))
    .option("--lmc <n>", "2^n LIDs for each port, with different ways to them where there are several; 0 to 7", upTo(LMC_MAX), 0)
    .option(
      "--sm-priority <n>",
      "priority of the built-in subnet manager, 0 to 15",
      upTo(PRIORITY_MAX),
      DEFAULT_SETTINGS.priority,
    )
    .option("--sm-yields", YIELDS_TEXT);
}

const upTo =
  (max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text === "" || !Number.isInteger(value) || value < 0 || value > max)
      throw new InvalidArgumentError(`expected a whole number from 0 to ${max}`);
    return value;
  };

/** They as they are written on a command line. */
export const managerArguments = ({ routing, lmc, smPriority, smYields }: ManagerFlags): string[] => [
  ...["--routing", routing, "--lmc", String(lmc), "--sm-priority", String(smPriority)],
  ...(smYields === true ? ["--sm-yields"] : []),
];

/** What they mean to the manager. */
export const managerOf = ({ routing, lmc, smPriority, smYields = false }: ManagerFlags): ChosenOptions => ({
  routing,
  lmc,
  priority: smPriority,
  yields: smYields,
});
