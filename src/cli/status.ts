// vhca status: the device domains on this machine and their HCAs.

import type { Command } from "commander";
import { nameOf } from "../base/names.ts";
import type { Status } from "../control/api.ts";
import { PortState } from "../spec/ib/numbers.ts";
import { findDomains } from "./domains.ts";
import { bytesText, dim, printJson, printLine, table } from "./output.ts";

export function addStatus(program: Command): void {
  program
    .command("status")
    .summary("show the device domains and their HCAs")
    .description("Shows the device domains of this user on this machine, those of runs that go on among them, and their HCAs.")
    .option("--json", "print everything as JSON")
    .action(async (options: { json?: boolean }) => {
      const domains = (await findDomains()).map((d) => d.status);
      if (options.json === true) printJson(domains);
      else if (domains.length === 0) printLine("No device domain runs. vhca up starts one; vhca run starts one for itself.");
      else for (const status of domains) printStatus(status);
    });
}

function printStatus(status: Status): void {
  const kind = status.kind === "up" ? "up" : "of a vhca run";
  printLine(`Device domain ${kind}, process ${status.pid}, since ${status.startedAt} ${dim(`(vhca ${status.version})`)}`);
  const rows = status.hcas.map((hca) => [
    hca.name,
    hca.isConnected ? "connected" : "no VM",
    nameOf(PortState, hca.portState),
    hca.lid === 0 ? "-" : String(hca.lid),
    hca.doorbells,
    bytesText(hca.memoryBytes),
    requestsText(hca),
    String(hca.objects.qps),
    String(hca.counters.completions ?? 0),
    String(hca.messages.messagesIn ?? 0),
    hca.socketPath,
  ]);
  const head = ["HCA", "VM", "port", ">LID", "doorbells", ">memory", "requests", ">QPs", ">completions", ">messages", "socket"];
  printLine(table(head, rows));
}

/** Who carries out the commonest requests: the compiled program, as far as it reaches the VM's memory, or the engine, which takes about twice as long. */
function requestsText({ memoryBytes, compiledBytes }: Status["hcas"][number]): string {
  if (memoryBytes === 0) return "-";
  if (compiledBytes === 0) return "not compiled";
  return compiledBytes < memoryBytes ? "partly compiled" : "compiled";
}
