// vhca fabric path A B: the way of a packet, hop by hop, and back.

import type { Command } from "commander";
import { NotFoundError } from "../../base/inspect.ts";
import type { ControlClient } from "../../control/client.ts";
import type { HopView, PathView } from "../../fabric/path.ts";
import { ExitCode, green, printJson, printLine, red } from "../output.ts";
import { addCommonOptions, type CommonOptions, getFabricDomain, parseWhole } from "./common.ts";

interface PathOptions extends CommonOptions {
  offset: number;
}

export function addPath(fabric: Command): void {
  addCommonOptions(fabric.command("path <from> <to>"))
    .summary("the way of a packet from one node to another, and back")
    .description(
      "Follows a packet through the switches' tables as they are now: every hop with its ports, or where and why it ends.",
    )
    .option("--offset <n>", "to LID number n of the other end, of the 2^LMC that it has, from 0", parseWhole, 0)
    .addHelpText("after", "\nFROM and TO are nodes, or NODE:PORT. Status 1 if a packet does not arrive, one way or the other.")
    .action(async (from: string, to: string, options: PathOptions) => {
      const { client } = await getFabricDomain(options.domain);
      const there = await client.path(from, to, options.offset);
      const back = await wayBack(client, to, from, options.offset);
      if (options.json === true) printJson({ there, back });
      else print(from, to, there, back);
      if (there.problem !== undefined || back.problem !== undefined) process.exitCode = ExitCode.FAILED;
    });
}

/** To the same number of LID, or to the first where there are not so many: a switch has one. */
async function wayBack(client: ControlClient, to: string, from: string, offset: number): Promise<PathView> {
  try {
    return await client.path(to, from, offset);
  } catch (error) {
    if (offset === 0 || !(error instanceof NotFoundError)) throw error;
    return client.path(to, from);
  }
}

function print(from: string, to: string, there: PathView, back: PathView): void {
  printLine(`${from} to ${to}, LID ${there.dlid}:`);
  printWay(there);
  if (back.problem === undefined && there.problem === undefined && isSame(there.hops, back.hops)) {
    printLine("and back the same way");
    return;
  }
  printLine(`${to} to ${from}, LID ${back.dlid}:`);
  printWay(back);
}

function printWay({ hops, problem }: PathView): void {
  for (const hop of hops) printLine(`  ${hopText(hop)}`);
  printLine(problem === undefined ? `  ${green("arrives")}` : `  ${red(`ends here: ${problem}`)}`);
}

/** `in 3  leaf1  out 36`. */
function hopText({ node, lid, in: ingress, out }: HopView): string {
  const facing = ingress === undefined ? "      " : `in ${String(ingress).padEnd(3)}`;
  return `${facing} ${node}${out === undefined ? "" : `  out ${out}`}${lid === 0 ? "" : `  (LID ${lid})`}`;
}

const isSame = (there: readonly HopView[], back: readonly HopView[]): boolean => {
  const text = (hops: readonly HopView[], isBack: boolean): string =>
    JSON.stringify(hops.map(({ node, in: ingress, out }) => (isBack ? [node, out, ingress] : [node, ingress, out])));
  return text(there, false) === text(back.toReversed(), true);
};
