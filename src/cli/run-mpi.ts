// vhca run --mpi: one program over all VMs, started once from n1, whose messages go through the HCAs and nowhere else.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { HcaView } from "../domain/plugged-hca.ts";
import { MPI_FACTS, MPI_IMPLEMENTATIONS, type MpiImplementation, missingMpiPackages, quote } from "../lab/mpi/implementation.ts";
import { Mpi } from "../lab/mpi/mpi.ts";
import { UsageError } from "./output.ts";
import { type CommandResult, type RunCommandsOptions, runCommands } from "./run-commands.ts";
import type { Session } from "./session.ts";

/** Where the mounted folder is in every VM: the working folder of the program. */
const FOLDER = "/mnt/host";
const RANKS_MAX = 1024;

export interface MpiOptions {
  /** True: the default one, or what the packages speak of. */
  mpi?: MpiImplementation | true;
  ranks?: number;
  build?: string;
}

/** What a run over MPI did, besides its output. */
export interface MpiReport {
  /** The implementation, with its version. */
  title: string;
  ranks: number;
  /** What went through each HCA meanwhile. */
  hcas: { node: string; messages: number; bytes: number }[];
}

export function addMpiOptions(command: Command): void {
  command
    .addOption(
      new Option(
        "--mpi [implementation]",
        "start the command once, as an MPI program over all VMs: openmpi (default) or mpich",
      ).argParser(parseImplementation),
    )
    .option("--ranks <n>", "with --mpi: ranks in all, dealt out to the VMs in turn (default: one for each VM)", parseRanks)
    .option("--build <command>", "with --mpi: a command on n1 before, such as 'mpicc -o a.out a.c'");
}

function parseImplementation(text: string): MpiImplementation {
  const found = MPI_IMPLEMENTATIONS.find((each) => each === text);
  if (found !== undefined) return found;
  throw new InvalidArgumentError(`expected ${MPI_IMPLEMENTATIONS.join(" or ")}; the program comes after --: --mpi -- ./a.out`);
}

function parseRanks(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > RANKS_MAX)
    throw new InvalidArgumentError(`expected a whole number from 1 to ${RANKS_MAX}`);
  return value;
}

const wantedOf = (options: MpiOptions): MpiImplementation | undefined => MPI_IMPLEMENTATIONS.find((each) => each === options.mpi);

/** Checks what was typed and fills in what follows from `--mpi`: the current folder mounted, and a package with an MPI. */
export function planMpi<T extends MpiOptions & { on: string[]; image?: string; packages: string[]; mount?: string }>(
  options: T,
  words: readonly string[],
): T {
  if (options.mpi === undefined) {
    const stray = (["ranks", "build"] as const).find((name) => options[name] !== undefined);
    if (stray !== undefined) throw new UsageError(`--${stray} is for MPI programs: add --mpi`);
    return options;
  }
  if (options.on.length > 0)
    throw new UsageError(
      "--on and --mpi exclude each other: --mpi starts one program over all VMs; --build runs a command on n1 before",
    );
  if (words.length === 0) throw new UsageError("nothing to run: give the MPI program after --, as in --mpi -- ./a.out");
  // a named image is left as it is: what it lacks is said when it is looked at
  const added = options.image === undefined ? missingMpiPackages(options.packages, wantedOf(options)) : [];
  return { ...options, packages: [...options.packages, ...added], mount: options.mount ?? process.cwd() };
}

/** Runs the program, after the command of `--build`. */
export async function runMpi(
  session: Session,
  options: MpiOptions,
  words: readonly string[],
  runOptions: Omit<RunCommandsOptions, "isPrefixed" | "staggerMs">,
): Promise<{ results: CommandResult[]; report: MpiReport }> {
  const mpi = Mpi.of(session.lab, wantedOf(options));
  const program = { command: words.join(" "), ranks: options.ranks, folder: FOLDER };
  const run = (command: string): Promise<CommandResult[]> =>
    runCommands(session.lab, [{ node: "n1", command }], { ...runOptions, staggerMs: 0, isPrefixed: false });
  const built = options.build === undefined ? [] : await run(`cd ${quote(FOLDER)} && ${options.build}`);
  const { ranks } = mpi.job(program);
  const before = await session.describe();
  const isBuilt = built.every(({ status }) => status === 0);
  const results = [...built, ...(isBuilt ? await run(mpi.commandLine(program)) : [])];
  const hcas = compare(before.hcas, (await session.describe()).hcas);
  if (isBuilt && results.at(-1)?.status === 0) warnIfUnused(hcas.slice(0, ranks), mpi);
  return {
    results,
    report: { title: mpi.title, ranks, hcas },
  };
}

/** Counters of an HCA that count work requests. */
const MESSAGES = ["sends", "rdmaWrites", "rdmaReads", "atomics"];

type Use = MpiReport["hcas"][number];

function compare(before: readonly HcaView[], after: readonly HcaView[]): Use[] {
  return after.map(({ name, counters }) => {
    const old = before.find((each) => each.name === name)?.counters ?? {};
    const since = (counter: string): number => (counters[counter] ?? 0) - (old[counter] ?? 0);
    return { node: name, messages: MESSAGES.reduce((sum, name) => sum + since(name), 0), bytes: since("bytes") };
  });
}

/** Every message of UCX has a head, so that a program that communicates at all has moved bytes; IPoIB's datagrams do not count as such. */
function warnIfUnused(uses: readonly Use[], mpi: Mpi): void {
  if (uses.length < 2 || uses.some(({ bytes }) => bytes > 0)) return;
  const title = MPI_FACTS[mpi.installed.implementation].title;
  process.stderr.write(
    `vhca: nothing went through the HCAs: the program has sent no message, or is not made for ${title}, which has started it\n`,
  );
}
