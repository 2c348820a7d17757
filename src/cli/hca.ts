// vhca hca add|rm|show: the HCAs of a running device domain.

import { type Command, InvalidArgumentError, Option } from "commander";
import { ObjectNumber } from "../control/api.ts";
import type { ControlClient } from "../control/client.ts";
import type { Quota } from "../hca/limits.ts";
import { getDomainOf, getUpDomain } from "./domains.ts";
import { domainOption } from "./fabric/common.ts";
import { cqDetailLines, qpDetailLines, regionDetailLines, srqDetailLines } from "./hca/details.ts";
import { treeLines } from "./hca/tree.ts";
import { printJson, printLine } from "./output.ts";
import { qemuHint } from "./qemu-hint.ts";
import { addQuotaOption } from "./quota.ts";

/** Objects of a kind in the text, unless all are wanted. */
const SHOWN = 16;

interface AddOptions {
  domain?: number;
  beside?: string;
  doorbells: "mapped" | "trapped";
  quota?: Partial<Quota>;
  json?: boolean;
}

interface ShowOptions {
  domain?: number;
  all?: boolean;
  json?: boolean;
  qp?: number;
  cq?: number;
  srq?: number;
  mr?: number;
}

export function addHca(program: Command): void {
  const hca = program
    .command("hca")
    .summary("add, remove or show HCAs of a running device domain")
    .description("Adds, removes and shows HCAs of a running device domain.");
  addQuotaOption(hca.command("add <name>"))
    .summary("plug another HCA in")
    .description("Plugs another HCA into the switch of the domain that is up, for a VM of yours or a program (vhca/verbs).")
    .addOption(
      new Option("--doorbells <how>", "map doorbells into the guest, or trap them")
        .choices(["mapped", "trapped"])
        .default("mapped"),
    )
    .addOption(domainOption())
    .addOption(
      new Option("--beside <name>", "into the domain of that HCA instead, such as n1 of a `vhca run` that goes on").conflicts(
        "domain",
      ),
    )
    .option("--json", "print the HCA as JSON")
    .action(async (name: string, options: AddOptions) => {
      const { beside, domain, doorbells, quota } = options;
      const isElsewhere = beside !== undefined || domain !== undefined;
      const { client } = await (isElsewhere ? getDomainOf(beside === undefined ? [] : [beside], domain) : getUpDomain());
      const view = await client.addHca({ name, doorbells, ...(quota === undefined ? {} : { quota }) });
      if (options.json === true) printJson(view);
      else
        printLine(
          `${name}:\n${qemuHint(view.socketPath)}\n  or from Node.js (vhca/verbs): openDevice(${JSON.stringify(view.socketPath)})`,
        );
    });
  hca
    .command("rm <name>")
    .summary("unplug an HCA")
    .description("Unplugs an HCA, of whichever domain; a VM or program that uses it loses it.")
    .addOption(domainOption())
    .option("--json", "print the HCA as JSON, as it was")
    .action(async (name: string, { json, domain }: { json?: boolean; domain?: number }) => {
      const { client, status } = await getDomainOf([name], domain);
      const view = status.hcas.find((each) => each.name === name);
      await client.removeHca(name);
      if (json === true) printJson(view);
      else printLine(`${name}  gone`);
    });
  addShow(hca);
}

function addShow(hca: Command): void {
  const one = (flags: string, text: string, others: string[]): Option =>
    new Option(flags, text).argParser(parseNumber).conflicts(others);
  hca
    .command("show <name>")
    .summary("show a live HCA: its queues, keys and counters, or one of them")
    .description("Prints a live HCA as a tree: ports, queues, keys, counters. It only looks: the device does not notice.")
    .addOption(one("--qp <number>", "everything about one QP: context, next WQEs, peer", ["cq", "srq", "mr"]))
    .addOption(one("--cq <number>", "everything about one CQ: its latest entries", ["srq", "mr"]))
    .addOption(one("--srq <number>", "everything about one SRQ: the WQEs that come next", ["mr"]))
    .addOption(one("--mr <key>", "everything about the region of an lkey or rkey: where its pages lie", []))
    .option("--all", "long lists to their end, and counters that are zero")
    .addOption(domainOption())
    .option("--json", "print everything as JSON")
    .addHelpText(
      "after",
      "\nNumbers are decimal or 0x…. `2 posted of 64, at 17`: the ring holds two WQEs, the next is number 17.",
    )
    .action(show);
}

/** A number of 32 bits, decimal or 0x…. */
function parseNumber(text: string): number {
  const { data, error } = ObjectNumber.safeParse(text);
  if (data === undefined) throw new InvalidArgumentError(error?.issues[0]?.message ?? "");
  return data;
}

async function show(name: string, options: ShowOptions): Promise<void> {
  const { client } = await getDomainOf([name], options.domain);
  if (options.qp !== undefined) print(await client.object(name, "qp", options.qp), qpDetailLines, name, options);
  else if (options.cq !== undefined) print(await client.object(name, "cq", options.cq), cqDetailLines, name, options);
  else if (options.srq !== undefined) print(await client.object(name, "srq", options.srq), srqDetailLines, name, options);
  else if (options.mr !== undefined) print(await client.object(name, "region", options.mr), regionDetailLines, name, options);
  else await showTree(client, name, options);
}

function print<T>(view: T, lines: (hca: string, view: T) => string[], name: string, options: ShowOptions): void {
  if (options.json === true) printJson(view);
  else printLine(lines(name, view).join("\n"));
}

async function showTree(client: ControlClient, name: string, options: ShowOptions): Promise<void> {
  const isAll = options.all === true;
  const tree = await client.tree(name, isAll || options.json === true ? undefined : SHOWN);
  if (options.json === true) printJson(tree);
  else printLine(treeLines(tree, isAll).join("\n"));
}
