// vhca bench paper: the evaluation of the paper, on this machine.

import { type Command, Option } from "commander";
import { LabError } from "../lab/lab-error.ts";
import { NPB_CLASSES, NPB_PACKAGES, type NpbClass } from "../lab/mpi/npb.ts";
import { findNpb } from "../lab/mpi/npb-sources.ts";
import { type Prepared, prepareLab } from "../lab/prepare.ts";
import type { Mode } from "../paper/effort.ts";
import type { NpbSource } from "../paper/experiments/npb.ts";
import { experimentsWith, figureIds, figuresNamed } from "../paper/experiments.ts";
import { describeMachine } from "../paper/machine.ts";
import { renderPage } from "../paper/page.ts";
import type { Experiment, Pair } from "../paper/plan.ts";
import type { Report } from "../paper/report.ts";
import { runPaper } from "../paper/runner.ts";
import { findInterrupted, saveReport, writeWhole } from "../paper/store.ts";
import { summaryText } from "../paper/summary-text.ts";
import { catchInterrupts } from "./interrupt.ts";
import { bold, dim, ExitCode, green, printJson, printLine, red, UsageError, yellow } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { resultsFolder } from "./results-folder.ts";
import { warningLog } from "./run.ts";
import { type Doorbells, Session } from "./session.ts";
import { VERSION } from "./version.ts";

interface PaperOptions {
  only?: string[];
  npb?: string;
  npbClass: NpbClass;
  quick?: boolean;
  tiny?: boolean;
  fresh?: boolean;
  results?: string;
  accel: "auto" | "kvm" | "tcg";
  kernel: "6.12" | "newest";
  json?: boolean;
}

export function addBench(program: Command): void {
  const bench = program
    .command("bench")
    .summary("measure: the paper's evaluation on this machine")
    .description("Measures this machine with the experiments of the paper.");
  bench
    .command("paper")
    .summary("repeat the paper's evaluation; writes JSON and a page with the figures")
    .description(
      "Repeats the experiments of High Performance VMM-Bypass I/O in Virtual Machines (USENIX ATC 2006) on this machine: native, in VMs with doorbells mapped and trapped, and over TCP and soft-RoCE on virtio-net. Writes one report: JSON and a page with the figures.",
    )
    .option("--only <figure...>", "these only: experiments by number or name, or figures by id")
    .option("--quick", "less of everything: a few minutes")
    .addOption(new Option("--tiny", "just enough to see that all of it works").conflicts("quick").hideHelp())
    .option("--npb <folder>", "run the NAS Parallel Benchmarks, too: the folder with their sources for MPI, NPB3.x-MPI")
    .addOption(new Option("--npb-class <class>", "size of their problems").choices(NPB_CLASSES).default("S"))
    .option("--fresh", "start anew, even if a run of the last day was interrupted")
    .option("--results <folder>", "where to write the report")
    .addOption(new Option("--kernel <which>", "guest kernel").choices(["6.12", "newest"]).default("6.12"))
    .addOption(new Option("--accel <which>", "accelerator").choices(["auto", "kvm", "tcg"]).default("auto"))
    .option("--json", "print the report as JSON")
    .addHelpText("after", helpText())
    .action(async (options: PaperOptions) => {
      process.exitCode = await paper(options);
    });
}

function helpText(): string {
  const lines = experimentsWith().map(
    ({ number, name, figures }) => `  ${number} ${name.padEnd(14)} ${figures.map(({ id }) => id).join(", ")}`,
  );
  return `
Experiments and their figures, for --only:
${lines.join("\n")}
With --npb, experiment 7 has the figure npb, too.

A run that was interrupted goes on where it stopped when it is called again in the same way within a day.
The machine should have nothing else to do meanwhile.`;
}

/** The ids that `--only` names. */
function chosen(experiments: readonly Experiment[], words: readonly string[] | undefined): string[] | undefined {
  return words?.flatMap((word) => {
    const ids = figuresNamed(experiments, word);
    if (ids.length > 0) return ids;
    if (word === "npb") throw new UsageError("--only npb: name the folder with their sources: --npb FOLDER");
    const names = experiments.map(({ number, name }) => `${number} ${name}`).join(", ");
    const figures = figureIds(experiments).join(", ");
    throw new UsageError(`--only ${word}: no such figure; there are the experiments ${names}, and the figures ${figures}`);
  });
}

/** The sources of the NAS Parallel Benchmarks. @throws LabError("usage") if there are none where the user says */
const npbOf = ({ npb, npbClass }: PaperOptions): NpbSource | undefined =>
  npb === undefined ? undefined : { folder: findNpb(npb), problemClass: npbClass };

/** What guests need besides the default image. */
const packagesFor = ({ npb }: PaperOptions): string[] => [
  ...["netperf", "openmpi-bin", "hpcc"],
  ...(npb === undefined ? [] : NPB_PACKAGES),
];

const modeOf = ({ quick, tiny }: PaperOptions): Mode => (tiny === true ? "tiny" : quick === true ? "quick" : "full");

async function paper(options: PaperOptions): Promise<number> {
  const experiments = experimentsWith(npbOf(options));
  const only = chosen(experiments, options.only);
  const progress = new ProgressLine(options.json);
  const interrupt = catchInterrupts();
  const { signal } = interrupt;
  try {
    const prepared = await prepare(options, signal, progress);
    const folder = resultsFolder(options.results);
    const report = begin(options, folder, prepared, only);
    let file = "";
    await runPaper(report, {
      experiments,
      figures: only ?? figureIds(experiments),
      signal,
      startPair: (doorbells) => startPair(options, prepared, doorbells, signal, progress),
      onReport: (soFar) => {
        file = saveReport(folder, soFar);
      },
      onProgress: progress.show,
      onFailure: ({ figures: ids, side }, why) => {
        progress.done();
        process.stderr.write(yellow(`vhca: ${ids.join(", ")} (${side}): ${why}\n`));
      },
    });
    progress.done();
    await finish(options, report, file);
    return report.isComplete ? ExitCode.OK : ExitCode.FAILED;
  } catch (error) {
    progress.done();
    if (interrupt.status === undefined) throw error;
    process.stderr.write("vhca: interrupted; the same command goes on from here\n");
    return interrupt.status;
  } finally {
    interrupt.dispose();
  }
}

/** What VMs are made of; undefined where there can be none: then only native processes are measured. */
async function prepare(options: PaperOptions, signal: AbortSignal, progress: ProgressLine): Promise<Prepared | undefined> {
  try {
    const { kernel, accel } = options;
    return await prepareLab({ packages: packagesFor(options), kernel, accel, signal, onProgress: progress.show });
  } catch (error) {
    if (!(error instanceof LabError) || !error.meansNoVms) throw error;
    progress.done();
    process.stderr.write(yellow(`vhca: no VMs here: ${error.message}\n`));
    return undefined;
  }
}

/** A new report, or that of a run that was interrupted. */
function begin(options: PaperOptions, folder: string, prepared: Prepared | undefined, only: string[] | undefined): Report {
  const machine = describeMachine(prepared, VERSION);
  const mode = modeOf(options);
  const now = new Date();
  const earlier = options.fresh === true ? undefined : findInterrupted(folder, { mode, machine, only }, now.getTime());
  if (earlier !== undefined) {
    process.stderr.write(dim(`vhca: going on with the run that began at ${earlier.startedAt}; --fresh starts anew\n`));
    earlier.machine.load.push(...machine.load);
    return earlier;
  }
  return {
    ...{ schema: "vhca.paper/1", mode, startedAt: now.toISOString(), seconds: 0, isComplete: false, machine },
    ...{ figures: [], claims: [], ...(only === undefined ? {} : { only }) },
  };
}

async function startPair(
  options: PaperOptions,
  prepared: Prepared | undefined,
  doorbells: Doorbells,
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<Pair> {
  if (prepared === undefined) throw new Error("there are no VMs here");
  const { kernel, accel } = options;
  const session = await Session.start({
    ...{ nodes: 2, doorbells, kernel, accel, packages: packagesFor(options), prepared, signal, log: warningLog },
    onProgress: progress.show,
    onBootEvent: (node, event) =>
      progress.show({ step: `booting two VMs with doorbells ${doorbells}`, detail: `${node} ${event.event}` }),
  });
  return { lab: session.lab, describe: () => session.describe(), stop: () => session.stop() };
}

async function finish(options: PaperOptions, report: Report, file: string): Promise<void> {
  const page = writeWhole(file.replace(/\.json$/, ".html"), await renderPage(report));
  if (options.json === true) return printJson(report);
  printLine(summaryText(report, { bold, dim, good: green, bad: red }).trimEnd());
  printLine(`\nFigures: ${page}\nData:    ${file}`);
}
