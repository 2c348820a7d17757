// The command line. One file per command; this one puts them together and turns errors into exit statuses.

import { Command, CommanderError } from "commander";
import { ExitCode, printError } from "./output.ts";
import { flushOutput, watchStandardOutput } from "./standard-output.ts";
import { VERSION } from "./version.ts";

/** What adds each command, in the order of the help. Loaded when needed: all of them take longer to load than some take to run. */
const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  run: async () => (await import("./run.ts")).addRun,
  exec: async () => (await import("./exec.ts")).addExec,
  up: async () => (await import("./up.ts")).addUp,
  down: async () => (await import("./down.ts")).addDown,
  status: async () => (await import("./status.ts")).addStatus,
  hca: async () => (await import("./hca.ts")).addHca,
  fabric: async () => (await import("./fabric.ts")).addFabric,
  fault: async () => (await import("./fault.ts")).addFault,
  capture: async () => (await import("./capture.ts")).addCapture,
  image: async () => (await import("./image.ts")).addImage,
  bench: async () => (await import("./bench.ts")).addBench,
  doctor: async () => (await import("./doctor.ts")).addDoctor,
  tour: async () => (await import("./tour.ts")).addTour,
};

/** The program with the command that is called, or with all where help or a correction is due. */
async function buildProgram(called: string): Promise<Command> {
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
  vhca run --nodes 4 --mpi -- ./a.out                         an MPI program in this folder
  vhca up && vhca status                                      HCAs for your own VMs
  vhca capture all.pcapng                                     their packets, for Wireshark

Exit status: that of the first command that failed, else 0; 124 time-out; 2 wrong usage; 3 the lab itself failed.`,
    )
    .exitOverride();
  const names = called in commands ? [called] : Object.keys(commands);
  for (const name of names) (await commands[name]?.())?.(program);
  return program;
}

/** `help` of a command that does not exist is the same mistake as to call it; commander would print the general help. */
function correctedHelp(argv: readonly string[]): readonly string[] {
  const [first, name] = argv;
  return first === "help" && name !== undefined && name !== "help" && !(name in commands) ? [name] : argv;
}

/** Runs one command line; returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    process.exitCode = 0;
    const program = await buildProgram(argv[0] ?? "");
    await program.parseAsync(correctedHelp(argv), { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ExitCode.USAGE;
    return printError(error);
  }
}

watchStandardOutput();
const status = await main(process.argv.slice(2));
await flushOutput();
process.exit(status);
