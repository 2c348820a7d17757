// vhca run: fresh VMs joined by InfiniBand, commands in them, and nothing left afterwards.

import { type Command, InvalidArgumentError, Option } from "commander";
import type { Log } from "../base/log.ts";
import type { Quota } from "../hca/limits.ts";
import { LabError } from "../lab/lab-error.ts";
import type { DataPath } from "../transport/network.ts";
import { BootNews } from "./boot-news.ts";
import { addDataPathOption, assertDataPath } from "./data-path.ts";
import { addEnginesOption } from "./engines.ts";
import { catchInterrupts, type Interrupt } from "./interrupt.ts";
import { addManagerOptions, type ManagerFlags, managerOf } from "./manager.ts";
import { dim, ExitCode, printError, printJson, UsageError } from "./output.ts";
import { packagesOption } from "./packages-option.ts";
import { ProgressLine } from "./progress.ts";
import { addQuotaOption } from "./quota.ts";
import { type CommandResult, type NodeCommand, runCommands } from "./run-commands.ts";
import { addMpiOptions, type MpiOptions, type MpiReport, planMpi, runMpi } from "./run-mpi.ts";
import { type Doorbells, Session, type SessionOptions } from "./session.ts";
import { addTopologyOption, loadTopology } from "./topology.ts";

/** HCAs on the switch of a lab (fabric/lab-fabric.ts). */
const NODES_MAX = 64;
/** The longest time a timer of Node takes. */
const SECONDS_MAX = 2_147_483;

interface RunOptions extends ManagerFlags, MpiOptions {
  nodes: number;
  on: string[];
  image?: string;
  packages: string[];
  kernel: "6.12" | "newest";
  memory: number;
  cpus: number;
  accel: "auto" | "kvm" | "tcg";
  doorbells: Doorbells;
  sm: "builtin" | "none";
  mount?: string;
  cold?: boolean;
  quota?: Partial<Quota>;
  engines: number;
  topology?: string;
  dataPath: DataPath;
  timeout?: number;
  stagger: number;
  keepGoing?: boolean;
  json?: boolean;
  verbose?: boolean;
}

export function addRun(program: Command): void {
  const command = program
    .command("run")
    .summary("boot VMs joined by InfiniBand and run commands in them")
    .description(
      "Boots N VMs (n1, n2, …), each with an HCA on one switch or in a topology, runs commands, prints their output, cleans up.",
    )
    .usage("[options] [--on NODE COMMAND]… [-- COMMAND]")
    .argument("[command...]", "a command for every node, after --")
    .option("--nodes <n>", "how many VMs", parseNodes, 2)
    .addOption(
      new Option("--on <node command...>", "a command for one node; repeatable, all run at the same time")
        .argParser(collect)
        .default([], "none"),
    );
  addMpiOptions(command);
  addLabOptions(command);
  addQuotaOption(command);
  addEnginesOption(command);
  addTopologyOption(command);
  addManagerOptions(command);
  addDataPathOption(command);
  command
    .option("--timeout <seconds>", "end everything after this time, with status 124", parseSeconds)
    .option(
      "--stagger <seconds>",
      "start each --on command this long after the one before, so that servers listen first",
      parseSeconds,
      1,
    )
    .option("--keep-going", "let other commands finish when one has failed")
    .option("--json", "print one JSON document with every command's output and status, or why there is none")
    .option("--verbose", "say what the device domain says")
    .addHelpText(
      "after",
      `
Node names resolve in every guest: n1 over Ethernet, n1-ib over IP over InfiniBand. A folder given with --mount is at /mnt/host.
With --mpi the command is started once, from n1 by mpirun, in /mnt/host, which is the current folder unless --mount names another; its ranks
talk through the HCAs and nothing else, or fail.
Exit status: that of the first command that failed, else 0; 124 time-out; 2 wrong usage; 3 the lab itself failed.`,
    )
    .action(async (words: string[], options: RunOptions) => {
      process.exitCode = await run(words, options);
    });
}

/** Options that say what VMs to boot. */
export function addLabOptions(command: Command): void {
  command
    .option("--image <name>", "a guest image made with vhca image build")
    .addOption(packagesOption())
    .addOption(new Option("--kernel <which>", "guest kernel").choices(["6.12", "newest"]).default("6.12"))
    .option("--memory <MiB>", "memory of each VM", parseCount, 1024)
    .option("--cpus <n>", "processors of each VM", parseCount, 1)
    .addOption(new Option("--accel <which>", "accelerator").choices(["auto", "kvm", "tcg"]).default("auto"))
    .addOption(
      new Option(
        "--doorbells <how>",
        "mapped into the guest; trapped: each leaves the VM and becomes a message; or answered: the same, and the guest waits for the answer",
      )
        .choices(["mapped", "trapped", "answered"])
        .default("mapped"),
    )
    .addOption(
      new Option("--sm <which>", "who manages the subnet: ourselves, or OpenSM in a guest")
        .choices(["builtin", "none"])
        .default("builtin"),
    )
    .option("--mount <folder>", "host folder to mount in every VM at /mnt/host")
    .option("--cold", "boot every VM from its kernel, not from a snapshot");
}

/** `--on n1 'cmd'` comes as two words. */
function collect(word: string, words: string[]): string[] {
  return [...words, word];
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("expected a whole number of at least 1");
  return value;
}

function parseNodes(text: string): number {
  const value = parseCount(text);
  if (value > NODES_MAX) throw new InvalidArgumentError(`expected at most ${NODES_MAX}: the switch has no more ports`);
  return value;
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= SECONDS_MAX)) {
    throw new InvalidArgumentError(`expected a number of seconds, at most ${SECONDS_MAX}`);
  }
  return value;
}

/** Pairs `--on` words with nodes and adds the command for every node. */
export function planCommands(on: readonly string[], words: readonly string[], nodes: number): NodeCommand[] {
  if (on.length % 2 !== 0)
    throw new UsageError(`--on takes a node and a command: --on n1 'ibstat'; got only '${on.at(-1)}' at the end`);
  const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
  const commands: NodeCommand[] = [];
  for (let i = 0; i < on.length; i += 2) {
    const [node = "", command = ""] = on.slice(i, i + 2);
    if (!names.includes(node))
      throw new UsageError(`--on ${node}: there is no such node; with --nodes ${nodes} there are ${names.join(", ")}`);
    commands.push({ node, command });
  }
  if (words.length > 0) for (const node of names) commands.push({ node, command: words.join(" ") });
  if (commands.length === 0) throw new UsageError("nothing to run: give a command after --, or --on NODE COMMAND");
  return commands;
}

async function run(words: readonly string[], given: RunOptions): Promise<number> {
  const options = planMpi(given, words);
  const commands = options.mpi === undefined ? planCommands(options.on, words, options.nodes) : [];
  const { topology: text, nodes, engines, sm, lmc, dataPath } = options;
  assertDataPath(dataPath, engines);
  const topology = await loadTopology({ text, hcas: nodes, engines, sm, lmc });
  const progress = new ProgressLine(options.json);
  const news = new BootNews(nodes, progress);
  const interrupt = catchInterrupts();
  const timeout = options.timeout === undefined ? undefined : AbortSignal.timeout(options.timeout * 1000);
  const signal = timeout === undefined ? interrupt.signal : AbortSignal.any([interrupt.signal, timeout]);
  let session: Session | undefined;
  try {
    session = await Session.start({ ...sessionOptions(options, news, signal), topology });
    progress.done();
    const boot = await describeBoot(session);
    const how = { signal, isCollected: options.json === true, keepsGoing: options.keepGoing === true };
    const { results, report } = await runAll(session, commands, words, options, how);
    const status = interrupt.status ?? statusOf(results, timeout);
    if (options.json === true) printJson({ status, boot, ...report, commands: results, domain: await session.describe() });
    if (interrupt.status === undefined) sayWhatWasEnded(results, timeout);
    return interrupt.status ?? status;
  } catch (error) {
    progress.done();
    const failure = failureOf(error, interrupt, timeout, news);
    if (options.json === true) printJson({ ...failure, boot: news.view, commands: [] });
    return failure.status;
  } finally {
    await session?.stop();
    interrupt.dispose();
  }
}

async function runAll(
  session: Session,
  commands: readonly NodeCommand[],
  words: readonly string[],
  options: RunOptions,
  how: { signal: AbortSignal; isCollected: boolean; keepsGoing: boolean },
): Promise<{ results: CommandResult[]; report?: { mpi: MpiReport } }> {
  if (options.mpi === undefined)
    return { results: await runCommands(session.lab, commands, { ...how, staggerMs: options.stagger * 1000 }) };
  const { results, report } = await runMpi(session, options, words, how);
  return { results, report: { mpi: report } };
}

/** How the VMs came to life. `seconds` counts from the start of this program, those of a VM from the start of its QEMU. */
async function describeBoot({ lab }: Session): Promise<{ seconds: number; nodes: object[] }> {
  const seconds = Math.round(performance.now()) / 1000;
  const nodes = await Promise.all(lab.nodes.map(async ({ name, ready }) => ({ node: name, ...(await ready) })));
  return { seconds, nodes };
}

/** Commands that were not left to end by themselves, and why, on stderr. */
function sayWhatWasEnded(results: readonly CommandResult[], timeout: AbortSignal | undefined): void {
  const named = ({ node, command }: NodeCommand): string => `'${command}' on ${node}`;
  const ended = results.filter(({ wasEnded }) => wasEnded).map(named);
  if (ended.length === 0) return;
  const failed = firstFailure(results);
  const why =
    timeout?.aborted === true || failed === undefined ? "out of time" : `${named(failed)} failed with status ${failed.status}`;
  process.stderr.write(`vhca: ${why}; ended what was still running: ${ended.join(", ")}\n`);
}

/** The command that failed first, of those that ended by themselves. */
function firstFailure(results: readonly CommandResult[]): CommandResult | undefined {
  return results.filter((r) => r.status !== 0 && !r.wasEnded).sort((a, b) => a.endedAtMs - b.endedAtMs)[0];
}

interface Failure {
  status: number;
  /** Why, in one line. */
  error: string;
  /** Further lines, such as the end of a VM's serial log. */
  details?: string;
}

/** What ended a run before its commands could say it, also told on stderr. */
function failureOf(error: unknown, { signal, status }: Interrupt, timeout: AbortSignal | undefined, { step }: BootNews): Failure {
  if (status !== undefined) return { status, error: messageOf(signal.reason) };
  if (timeout?.aborted === true) {
    const message = `out of time before the VMs were ready${step === undefined ? "" : `, at this step: ${step}`}`;
    process.stderr.write(`vhca: ${message}\n`);
    return { status: ExitCode.TIMEOUT, error: message };
  }
  const details = error instanceof LabError && error.details !== "" ? { details: error.details } : {};
  return { status: printError(error), error: messageOf(error), ...details };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function statusOf(results: readonly CommandResult[], timeout: AbortSignal | undefined): number {
  if (timeout?.aborted === true) return ExitCode.TIMEOUT;
  return firstFailure(results)?.status ?? 0;
}

function sessionOptions(options: RunOptions, news: BootNews, signal: AbortSignal): SessionOptions {
  return {
    nodes: options.nodes,
    image: options.image,
    packages: options.packages,
    kernel: options.kernel,
    memoryMiB: options.memory,
    cpus: options.cpus,
    accel: options.accel,
    doorbells: options.doorbells,
    sm: options.sm,
    manager: managerOf(options),
    mount: options.mount,
    start: options.cold === true ? "cold" : "warm",
    quota: options.quota,
    engines: options.engines,
    dataPath: options.dataPath,
    signal,
    log: options.verbose === true ? verboseLog : warningLog,
    onProgress: news.onProgress,
    onBootEvent: news.onBootEvent,
  };
}

/** What people should hear without asking: warnings. */
export const warningLog: Log = {
  debug: () => {},
  info: () => {},
  warn: (message) => process.stderr.write(`${dim(`vhca: ${message}`)}\n`),
};

const verboseLog: Log = {
  debug: () => {},
  info: (message) => process.stderr.write(`${dim(`vhca: ${message}`)}\n`),
  warn: (message) => process.stderr.write(`vhca: ${message}\n`),
};
