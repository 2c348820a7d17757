// vhca fault: what goes wrong on purpose in a running domain.

import { type Command, InvalidArgumentError } from "commander";
import type { Fault, FaultsView } from "../domain/faults/operations.ts";
import { addCommonOptions, type CommonOptions, getFabricDomain, parsePart, parseTime, parseWhole } from "./fabric/common.ts";
import { printFaults } from "./fault/list.ts";
import { addRun } from "./fault/run.ts";
import { UsageError } from "./output.ts";

interface LinkOptions extends CommonOptions {
  loss?: number;
  corruption?: number;
  delay?: number;
  for?: number;
  clear?: boolean;
}

const FOR = "end it after that time, such as 5s; it stays until it is cleared if left out";

export function addFault(program: Command): void {
  const fault = program
    .command("fault")
    .summary("make cables bad, let HCAs freeze and the subnet manager die")
    .description("Injects faults into a running device domain, lists and counts them, and ends them.")
    .addHelpText(
      "after",
      `
Examples:
  vhca fault link n1 --loss 1% --delay 5us         for management and data, both ways
  vhca fault flap leaf1:3 --down 2s --up 5s --times 3
  vhca fault freeze n2 --for 5s
  vhca fault sm --for 5s
  vhca fault list
  vhca fault clear                                  all is well again
  vhca fault run schedule.yaml`,
    );
  addLink(fault);
  addFlap(fault);
  addCommonOptions(fault.command("freeze <hca>"))
    .summary("an HCA stops: no doorbell served, no MAD answered")
    .description(
      "Freezes an HCA: it serves no doorbell and answers no MAD; its cable stays up. What its driver has written is looked at later.",
    )
    .option("--for <time>", FOR, parseFor)
    .action((hca: string, { for: forNs, ...options }: CommonOptions & { for?: number }) =>
      inject([{ kind: "freeze", hca, forNs }], options),
    );
  addCommonOptions(fault.command("sm"))
    .summary("the built-in subnet manager dies")
    .description("Ends the built-in subnet manager, with all that it knew; another one starts in its place when it is over.")
    .option("--for <time>", FOR, parseFor)
    .action(({ for: forNs, ...options }: CommonOptions & { for?: number }) => inject([{ kind: "sm", forNs }], options));
  addCommonOptions(fault.command("clear [what...]"))
    .summary("end faults: of NODE:PORT, an HCA, sm; all if left out")
    .description(
      "Ends faults: cables are plugged in and good, HCAs go on, a subnet manager starts. Without arguments all, and a schedule.",
    )
    .action((what: string[], options: CommonOptions) =>
      inject(what.length === 0 ? [{ kind: "clear" }] : what.map((each) => ({ kind: "clear", what: each })), options),
    );
  addCommonOptions(fault.command("list"))
    .summary("what is wrong now, on purpose, and counts")
    .description(
      "Lists the faults that are in force, and counts every one since the domain started, and what they did to packets.",
    )
    .action(async (options: CommonOptions) => {
      const { client } = await getFabricDomain(options.domain);
      printFaults(await client.faults(), options);
    });
  addRun(fault);
}

function addLink(fault: Command): void {
  addCommonOptions(fault.command("link <ends...>"))
    .summary("a cable loses, corrupts or delays packets")
    .description("Makes cables bad, for management and data, both ways; `vhca fault link NODE:PORT clear` makes them good.")
    .option("--loss <part>", "part of the packets that get lost, such as 1% or 0.01", parsePart)
    .option("--corruption <part>", "part of the others that arrive with a wrong CRC", parsePart)
    .option("--delay <time>", "time that a packet takes, one way, such as 5us", parseTime)
    .option("--for <time>", FOR, parseFor)
    .option("--clear", "make them good")
    .action(link);
}

async function link(words: readonly string[], options: LinkOptions): Promise<void> {
  const { loss, corruption, delay, for: forNs, clear, ...common } = options;
  const isClear = clear === true || words.at(-1) === "clear";
  const ends = words.filter((word, i) => !(word === "clear" && i === words.length - 1));
  const faults = Object.fromEntries(
    Object.entries({ loss, corruption, delayNs: delay }).filter(([, value]) => value !== undefined),
  );
  const hasFaults = Object.keys(faults).length > 0;
  if (ends.length === 0) throw new UsageError("which cable? vhca fault link NODE:PORT …");
  if (isClear === hasFaults) throw new UsageError("expected --loss, --corruption or --delay, or clear");
  const one = (end: string): Fault => (isClear ? { kind: "clear", what: end } : { kind: "spoil", end, faults, forNs });
  await inject(ends.map(one), common);
}

interface FlapOptions extends CommonOptions {
  down: number;
  up: number;
  times: number;
}

function addFlap(fault: Command): void {
  addCommonOptions(fault.command("flap <ends...>"))
    .summary("a cable goes down and comes up, several times")
    .description("Pulls a cable and plugs it in again, several times.")
    .option("--down <time>", "how long it is down each time", parseAboveZero, 1e9)
    .option("--up <time>", "how long it is up in between", parseAboveZero, 1e9)
    .option("--times <n>", "how often it goes down", parseWhole, 1)
    .action((ends: string[], { down, up, times, ...options }: FlapOptions) =>
      inject(
        ends.map((end) => ({ kind: "flap", end, downNs: down, upNs: up, times })),
        options,
      ),
    );
}

function parseAboveZero(text: string): number {
  const ns = parseTime(text);
  if (ns === 0) throw new InvalidArgumentError("expected a time above 0");
  return ns;
}

function parseFor(text: string): number {
  const ns = parseTime(text);
  if (ns === 0) throw new InvalidArgumentError("expected a time above 0; without --for a fault stays until it is cleared");
  return ns;
}

/** Injects them one after the other, and prints what there is then; none if one is about something that is nowhere. */
async function inject(faults: readonly Fault[], options: CommonOptions): Promise<void> {
  const { client, status } = await getFabricDomain(options.domain);
  const others = ["sm", ...status.hcas.map(({ name }) => name)];
  for (const fault of faults.length > 1 ? faults : []) {
    const end = "end" in fault ? fault.end : fault.kind === "clear" ? fault.what : undefined;
    if (end !== undefined && ("end" in fault || !others.includes(end))) await client.changeLink(end, {});
  }
  let view: FaultsView | undefined;
  for (const fault of faults) view = await client.injectFault(fault);
  if (view !== undefined) printFaults(view, options);
}
