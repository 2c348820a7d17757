// vhca hca add|rm|show: the HCAs of a running device domain.

import { type Command, Option } from "commander";
import { nameOf } from "../base/names.ts";
import type { HcaView } from "../domain/device-domain.ts";
import { PortState } from "../spec/ib/numbers.ts";
import { getHca, getUpDomain } from "./domains.ts";
import { bytesText, printJson, printLine } from "./output.ts";
import { qemuHint } from "./qemu-hint.ts";

export function addHca(program: Command): void {
  const hca = program.command("hca").summary("add, remove or show HCAs of a running device domain");
  hca
    .command("add <name>")
    .description("Plugs another HCA into the switch of the domain that is up.")
    .addOption(
      new Option("--doorbells <how>", "map doorbells into the guest, or trap them")
        .choices(["mapped", "trapped"])
        .default("mapped"),
    )
    .option("--json", "print the HCA as JSON")
    .action(async (name: string, options: { doorbells: "mapped" | "trapped"; json?: boolean }) => {
      const { client } = await getUpDomain();
      const view = await client.addHca({ name, doorbells: options.doorbells });
      if (options.json === true) printJson(view);
      else printLine(`${name}:\n${qemuHint(view.socketPath)}`);
    });
  hca
    .command("rm <name>")
    .description("Unplugs an HCA; a VM that uses it loses it.")
    .action(async (name: string) => {
      const { client } = await getUpDomain();
      await client.removeHca(name);
    });
  hca
    .command("show <name>")
    .description("Prints the objects and counters of a live HCA.")
    .option("--json", "print everything as JSON")
    .action(async (name: string, options: { json?: boolean }) => {
      const { hca: view } = await getHca(name);
      if (options.json === true) printJson(view);
      else printHca(view);
    });
}

function printHca(hca: HcaView): void {
  printLine(`${hca.name}  MT25204  node GUID ${hca.nodeGuid}`);
  printLine(`  socket      ${hca.socketPath} (${hca.isConnected ? "a VM is connected" : "no VM"})`);
  printLine(`  doorbells   ${hca.doorbells}`);
  printLine(`  port 1      ${nameOf(PortState, hca.portState)}, LID ${hca.lid}`);
  printLine(`  memory      ${bytesText(hca.memoryBytes)} of the guest mapped`);
  printGroup("objects", hca.objects);
  printGroup("counters", hca.counters);
  printGroup("vfio-user messages", hca.messages);
}

function printGroup(title: string, values: Readonly<Record<string, number>>): void {
  printLine(`  ${title}`);
  const width = Math.max(0, ...Object.keys(values).map((name) => name.length));
  for (const [name, value] of Object.entries(values)) printLine(`    ${name.padEnd(width)}  ${value}`);
}
