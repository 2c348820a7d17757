// vhca bench paper: the evaluation of the paper, on this machine.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { LabError } from "../lab/lab-error.ts";
import { type Prepared, prepareLab } from "../lab/prepare.ts";
import type { Mode } from "../paper/effort.ts";
import { EXPERIMENTS, FIGURE_IDS, figuresNamed } from "../paper/experiments.ts";
import { describeMachine } from "../paper/machine.ts";
import { renderPage } from "../paper/page.ts";
import type { Pair } from "../paper/plan.ts";
import type { Report } from "../paper/report.ts";
import { runPaper } from "../paper/runner.ts";
import { findInterrupted, saveReport, writeWhole } from "../paper/store.ts";
import { summaryText } from "../paper/summary-text.ts";
import { catchInterrupts } from "./interrupt.ts";
import { bold, dim, ExitCode, green, printJson, printLine, red, UsageError, yellow } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { warningLog } from "./run.ts";
import { Session } from "./session.ts";
import { VERSION } from "./version.ts";

/** What guests need besides the default image. */
const PACKAGES = ["netperf", "openmpi-bin", "hpcc"];

interface PaperOptions {
  only?: string[];
  quick?: boolean;
  tiny?: boolean;
  fresh?: boolean;
  results?: string;
  accel: "auto" | "kvm" | "tcg";
  kernel: "6.12" | "newest";
  json?: boolean;
}

export function addBench(program: Command): void {
  const bench = program.command("bench").summary("measure: the paper's evaluation on this machine");
  bench
    .command("paper")
    .summary("repeat the paper's evaluation; writes JSON and a page with the figures")
    .description(
      "Repeats the experiments of High Performance VMM-Bypass I/O in Virtual Machines (USENIX ATC 2006) on this machine: native, in VMs with doorbells mapped and trapped, and over TCP and soft-RoCE on virtio-net. Writes one report: JSON and a page with the figures.",
    )
    .option("--only <figure...>", "these only: experiments by number or name, or figures by id")
    .option("--quick", "less of everything: a few minutes")
    .addOption(new Option("--tiny", "just enough to see that all of it works").conflicts("quick").hideHelp())
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
  const lines = EXPERIMENTS.map(
    ({ number, name, figures }) => `  ${number} ${name.padEnd(14)} ${figures.map(({ id }) => id).join(", ")}`,
  );
  return `
Experiments and their figures, for --only:
${lines.join("\n")}

A run that was interrupted goes on where it stopped when it is called again in the same way within a day.
The machine should have nothing else to do meanwhile.`;
}

/** The ids that `--only` names. */
function chosen(words: readonly string[] | undefined): string[] | undefined {
  if (words === undefined) return undefined;
  return words.flatMap((word) => {
    const ids = figuresNamed(word);
    if (ids.length > 0) return ids;
    const names = EXPERIMENTS.map(({ number, name }) => `${number} ${name}`).join(", ");
    throw new UsageError(
      `--only ${word}: no such figure; there are the experiments ${names}, and the figures ${FIGURE_IDS.join(", ")}`,
    );
  });
}

const modeOf = ({ quick, tiny }: PaperOptions): Mode => (tiny === true ? "tiny" : quick === true ? "quick" : "full");

async function paper(options: PaperOptions): Promise<number> {
  const only = chosen(options.only);
  const progress = new ProgressLine(options.json);
  const interrupt = catchInterrupts();
  const { signal } = interrupt;
  try {
    const prepared = await prepare(options, signal, progress);
    const folder = resultsFolder(options);
    const report = begin(options, folder, prepared, only);
    let file = "";
    await runPaper(report, {
      experiments: EXPERIMENTS,
      figures: only ?? FIGURE_IDS,
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
    return await prepareLab({ packages: PACKAGES, kernel, accel, signal, onProgress: progress.show });
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
  { kernel, accel }: PaperOptions,
  prepared: Prepared | undefined,
  doorbells: "mapped" | "trapped",
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<Pair> {
  if (prepared === undefined) throw new Error("there are no VMs here");
  const session = await Session.start({
    ...{ nodes: 2, doorbells, kernel, accel, packages: PACKAGES, prepared, signal, log: warningLog },
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

/** bench/results of this checkout, or of the current folder if vhca is an installed package; unless told otherwise. */
function resultsFolder(options: PaperOptions): string {
  const isCheckout = import.meta.url.endsWith(".ts");
  return options.results ?? join(isCheckout ? fileURLToPath(new URL("../..", import.meta.url)) : ".", "bench", "results");
}
