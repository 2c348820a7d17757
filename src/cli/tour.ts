// vhca tour (npm start): two fresh VMs, stock verbs programs between them, with doorbells mapped and trapped, one table.

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { Random } from "../base/random.ts";
import { warmUp } from "../domain/warm-up.ts";
import { systemClock } from "../host/clock.ts";
import { parseStoreCost, runGuestProgram } from "../lab/guest-program.ts";
import { LabError } from "../lab/lab-error.ts";
import { catchInterrupts } from "./interrupt.ts";
import { bold, dim, ExitCode, printLine, yellow } from "./output.ts";
import { ProgressLine } from "./progress.ts";
import { resultsFolder } from "./results-folder.ts";
import { addLabOptions, warningLog } from "./run.ts";
import { Session } from "./session.ts";
import { measureInProcess } from "./tour/in-process.ts";
import { MAPPED_EFFORT, type Measurement, measurements, TRAPPED_EFFORT } from "./tour/measurements.ts";
import { type Figure, measure } from "./tour/pair.ts";
import { printReport, type TourResult, writeResults } from "./tour/report.ts";

interface TourOptions {
  kernel: "6.12" | "newest";
  accel: "auto" | "kvm" | "tcg";
  inProcess?: boolean;
  results?: string;
}

export function addTour(program: Command): void {
  const command = program
    .command("tour")
    .summary("a short tour on two VMs: device, ping-pong, latency, bandwidth (npm start)")
    .description(
      "Boots two VMs with HCAs, runs stock verbs programs between them, with doorbells mapped and trapped, and prints one table.",
    )
    .option("--in-process", "no VMs: two guests inside this process")
    .option("--results <folder>", "where to write the figures");
  addLabOptions(command);
  command.action(async (options: TourOptions) => {
    process.exitCode = await tour(options);
  });
}

async function tour(options: TourOptions): Promise<number> {
  if (options.inProcess === true) return tourInProcess(options);
  const interrupt = catchInterrupts();
  try {
    return await tourOnVms(options, interrupt.signal);
  } catch (error) {
    if (interrupt.status !== undefined) return interrupt.status;
    if (!(error instanceof LabError) || !error.meansNoVms) throw error;
    printLine(yellow(`No VMs here: ${error.message}`));
    return tourInProcess(options);
  } finally {
    interrupt.dispose();
  }
}

async function tourOnVms(options: TourOptions, signal: AbortSignal): Promise<number> {
  printLine(bold("vhca: two Linux VMs joined by InfiniBand; the HCAs, the switch and the subnet manager are this program."));
  const mapped = await onPair(options, "mapped", signal);
  const trapped = await onPair(options, "trapped", signal);
  const result: TourResult = {
    accelerator: mapped.accelerator,
    bootSeconds: { mapped: mapped.bootSeconds, trapped: trapped.bootSeconds },
    store: mapped.store,
    mapped: mapped.figures,
    trapped: trapped.figures,
  };
  printReport(result);
  printLine(dim(`Figures written to ${writeResults(resultsFolder(options.results), result)}`));
  printLine(
    `\nNext: ${bold("npx vhca run -- ibv_devinfo")}, ${bold("npx vhca run --help")}, ${bold("npx vhca up")} for your own VMs.`,
  );
  return ExitCode.OK;
}

interface PairResult {
  accelerator: string;
  bootSeconds: number;
  store: TourResult["store"];
  figures: Figure[];
}

/** Boots two VMs, runs everything once, ends them. */
async function onPair(options: TourOptions, doorbells: "mapped" | "trapped", signal: AbortSignal): Promise<PairResult> {
  const progress = new ProgressLine();
  const start = performance.now();
  let preparedMs = 0;
  const session = await Session.start({
    nodes: 2,
    doorbells,
    kernel: options.kernel,
    accel: options.accel,
    signal,
    log: warningLog,
    onProgress: progress.show,
    onBootEvent: (node, event) => {
      if (preparedMs === 0) preparedMs = performance.now() - start - event.seconds * 1000;
      progress.show({ step: "booting two VMs", detail: `${node} ${event.event}` });
    },
  }).finally(() => progress.done());
  try {
    const bootSeconds = (performance.now() - start - preparedMs) / 1000;
    printLine(
      `\n${bold(doorbells === "mapped" ? "Doorbells mapped: the data path is shared memory" : "Doorbells trapped: every access goes through the VMM")}`,
    );
    printLine(`two VMs ready in ${bootSeconds.toFixed(1)} s (${session.lab.prepared.verdict.accelerator})`);
    if (doorbells === "mapped") await introduce(session);
    const store = doorbells === "mapped" ? await measureStore(session) : undefined;
    const figures = await measureAll(
      session,
      measurements(doorbells === "mapped" ? MAPPED_EFFORT : TRAPPED_EFFORT),
      progress,
      signal,
    );
    return { accelerator: session.lab.prepared.verdict.accelerator, bootSeconds, store, figures };
  } finally {
    progress.done();
    await session.stop();
  }
}

/** Shows what the guest itself says of the device. */
async function introduce(session: Session): Promise<void> {
  for (const command of ["ibv_devinfo", "ibstat -s"]) {
    printLine(dim(`\nn1 # ${command}`));
    const { stdout } = await session.lab.node("n1").exec(command);
    printLine(stdout.trimEnd());
  }
  printLine();
}

async function measureAll(
  session: Session,
  list: readonly Measurement[],
  progress: ProgressLine,
  signal: AbortSignal,
): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const [i, measurement] of list.entries()) {
    signal.throwIfAborted();
    progress.show({ step: `measuring ${measurement.name}`, detail: measurement.client, fraction: i / list.length });
    // Twice, and the second counts: in the first run an emulated guest also translates the program.
    await measure(session, measurement);
    const figure = await measure(session, measurement);
    progress.done();
    printLine(
      `  ${figure.name.padEnd(26)} ${figure.value.toFixed(1).padStart(9)} ${figure.unit.padEnd(5)} ${dim(`n2 # ${measurement.client}`)}`,
    );
    figures.push(figure);
  }
  return figures;
}

async function measureStore(session: Session): Promise<TourResult["store"]> {
  const source = readFileSync(new URL("../../bench/guest/store.c", import.meta.url), "utf8");
  const cost = parseStoreCost(await runGuestProgram(session.lab.node("n1"), source));
  return { doorbell: cost.uarNs, memory: cost.ramNs };
}

function tourInProcess(options: TourOptions): number {
  printLine(
    yellow("IN PROCESS: no VM, no Linux, no QEMU. Two guests inside this program drive the same HCA with our own driver."),
  );
  warmUp(systemClock, new Random(Date.now()));
  const mapped = measureInProcess(true);
  const trapped = measureInProcess(false);
  const result: TourResult = { accelerator: "in process, no VM", bootSeconds: undefined, store: undefined, mapped, trapped };
  printReport(result);
  printLine(yellow("These are the costs of function calls in one process; they say nothing about a VM."));
  printLine(dim(`Figures written to ${writeResults(resultsFolder(options.results), result)}`));
  return ExitCode.OK;
}
