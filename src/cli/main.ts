// The command line. One file per command; this one puts them together and turns errors into exit statuses.

import { Command, CommanderError } from "commander";
import { addDoctor } from "./doctor.ts";
import { addDown } from "./down.ts";
import { addExec } from "./exec.ts";
import { addFabric } from "./fabric.ts";
import { addHca } from "./hca.ts";
import { addImage } from "./image.ts";
import { ExitCode, printError } from "./output.ts";
import { addRun } from "./run.ts";
import { addStatus } from "./status.ts";
import { addTour } from "./tour.ts";
import { addUp } from "./up.ts";
import { VERSION } from "./version.ts";

function buildProgram(): Command {
  const program = new Command("vhca")
    .description("Plugs an InfiniBand HCA into any virtual machine: stock QEMU, stock Linux guests, no RDMA hardware.")
    .version(VERSION)
    .showHelpAfterError("(vhca --help and vhca COMMAND --help say more)")
    .addHelpText(
      "after",
      `
Examples:
  vhca run -- ibv_devinfo                                     on two fresh VMs
  vhca run --on n1 'ib_write_bw' --on n2 'ib_write_bw n1'     a server and a client
  vhca run --nodes 4 -- ping -c 3 n1-ib                       IP over InfiniBand
  vhca up && vhca status                                      HCAs for your own VMs

Exit status: that of the first command that failed, else 0; 124 time-out; 2 wrong usage; 3 the lab itself failed.`,
    )
    .exitOverride();
  for (const add of [addRun, addExec, addUp, addDown, addStatus, addHca, addFabric, addImage, addDoctor, addTour]) add(program);
  return program;
}

/** Runs one command line; returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    process.exitCode = 0;
    await buildProgram().parseAsync(argv, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ExitCode.USAGE;
    return printError(error);
  }
}

process.exit(await main(process.argv.slice(2)));
