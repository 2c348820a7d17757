// Carries out the plan, place by place, so that guests are booted once for all that runs in them; keeps the report up to date meanwhile.

import { loadavg } from "node:os";
import { claimsOf } from "./claims.ts";
import { EFFORTS } from "./effort.ts";
import { EXPERIMENTS, specOf } from "./experiments.ts";
import { type Measured, type Pair, PLACES, type Place, type Step } from "./plan.ts";
import { type Figure, type Report, SIDES } from "./report.ts";

/** What happens, for whoever shows progress. */
export interface PaperProgress {
  readonly step: string;
  readonly detail?: string;
  /** 0 to 1 of the steps. */
  readonly fraction: number;
}

export interface RunnerOptions {
  /** Figures to fill; the others are left as they are. */
  readonly figures: readonly string[];
  readonly signal: AbortSignal;
  /** Boots two guests. */
  readonly startPair: (doorbells: "mapped" | "trapped") => Promise<Pair>;
  /** Called after each step with the report so far. */
  readonly onReport: (report: Report) => void;
  readonly onProgress: (progress: PaperProgress) => void;
  /** A step that failed; the others go on. */
  readonly onFailure: (step: Step, why: string) => void;
}

/**
 * Measures what `report` does not have yet, and writes it there.
 * @param report of this run so far: empty, or of a run that was interrupted
 * @throws the signal's reason when it is aborted, after the guests have ended
 */
export async function runPaper(report: Report, options: RunnerOptions): Promise<void> {
  const steps = EXPERIMENTS.flatMap((experiment) => experiment.steps)
    .filter((step) => step.figures.some((id) => options.figures.includes(id)))
    .filter((step) => !isDone(report, step));
  const progress = { done: 0, all: steps.length };
  for (const place of PLACES) {
    const here = steps.filter((step) => step.place === place);
    if (here.length > 0) await runPlace(report, place, here, options, progress);
  }
  report.isComplete = true;
  report.machine.load.push(load());
  report.claims = claimsOf(report);
  options.onReport(report);
}

/** Processes that wanted to run during the last minute. */
export const load = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100;

const isDone = (report: Report, { figures, side }: Step): boolean =>
  figures.every((id) => figureOf(report, id)?.series.some((series) => series.side === side) === true);

const figureOf = (report: Report, id: string): Figure | undefined => report.figures.find((figure) => figure.id === id);

async function runPlace(
  report: Report,
  place: Place,
  steps: readonly Step[],
  options: RunnerOptions,
  progress: { done: number; all: number },
): Promise<void> {
  let pair: Pair | undefined;
  const news = (step: string, detail?: string): void =>
    options.onProgress({ step, ...(detail === undefined ? {} : { detail }), fraction: progress.done / progress.all });
  try {
    if (place !== "host") {
      news(`booting two VMs with doorbells ${place}`);
      pair = await tryStart(report, place, steps, options);
      if (pair === undefined) return;
    }
    for (const step of steps) {
      options.signal.throwIfAborted();
      const name = `${step.figures.join(", ")}: ${step.side}`;
      news(name);
      await runStep(report, step, options, pair, (detail) => news(name, detail));
      progress.done++;
      report.claims = claimsOf(report);
      options.onReport(report);
    }
  } finally {
    await pair?.stop();
  }
}

/** Guests; undefined if there are none: then the report says so of all steps. */
async function tryStart(
  report: Report,
  doorbells: "mapped" | "trapped",
  steps: readonly Step[],
  { signal, startPair, onFailure, onReport }: RunnerOptions,
): Promise<Pair | undefined> {
  try {
    return await startPair(doorbells);
  } catch (error) {
    signal.throwIfAborted();
    const why = error instanceof Error ? error : new Error(String(error));
    for (const step of steps) {
      enter(report, step, why, 0);
      onFailure(step, why.message);
    }
    onReport(report);
    return undefined;
  }
}

async function runStep(
  report: Report,
  step: Step,
  { signal, onFailure }: RunnerOptions,
  pair: Pair | undefined,
  say: (detail: string) => void,
): Promise<void> {
  const start = performance.now();
  const context = {
    ...{ effort: EFFORTS[report.mode], signal, say },
    get pair(): Pair {
      if (pair === undefined) throw new Error("a step of the host has no guests");
      return pair;
    },
  };
  const outcome = await step
    .measure(context)
    .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  signal.throwIfAborted();
  const seconds = (performance.now() - start) / 1000;
  report.seconds += seconds;
  enter(report, step, outcome, seconds);
  if (outcome instanceof Error) onFailure(step, outcome.message);
}

/** Puts what a step has measured, or why it has not, into its figures. */
function enter(report: Report, { figures, side }: Step, outcome: readonly Measured[] | Error, seconds: number): void {
  for (const id of figures) {
    const figure = openFigure(report, id);
    figure.seconds += seconds / figures.length;
    figure.series = figure.series.filter((series) => series.side !== side);
    figure.missing = figure.missing.filter((missing) => missing.side !== side);
    if (outcome instanceof Error) figure.missing.push({ side, why: outcome.message });
    else figure.series.push(...outcome.filter((measured) => measured.figure === id).map(({ series }) => ({ side, ...series })));
    figure.series.sort((a, b) => SIDES.indexOf(a.side) - SIDES.indexOf(b.side));
  }
}

/** The figure of the report, which gets its place there if it has none. */
function openFigure(report: Report, id: string): Figure {
  const there = figureOf(report, id);
  if (there !== undefined) return there;
  const figure: Figure = { ...structuredClone(specOf(id)), series: [], missing: [], seconds: 0 };
  report.figures.push(figure);
  const order = EXPERIMENTS.flatMap(({ figures }) => figures.map((spec) => spec.id));
  report.figures.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
  return figure;
}
