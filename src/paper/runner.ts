// Carries out the plan, place by place, so that guests are booted once for all that runs in them; keeps the report up to date meanwhile.

import { LabError } from "../lab/lab-error.ts";
import { claimsOf } from "./claims.ts";
import { EFFORTS } from "./effort.ts";
import { load } from "./machine.ts";
import {
  type Experiment,
  type GuestPlace,
  type Measured,
  type Pair,
  PLACES,
  type Place,
  type Step,
  type StepContext,
} from "./plan.ts";
import { type Figure, type Report, SIDES } from "./report.ts";

/** What happens, for whoever shows progress. */
export interface PaperProgress {
  readonly step: string;
  readonly detail?: string;
  /** 0 to 1 of the steps. */
  readonly fraction: number;
}

export interface RunnerOptions {
  readonly experiments: readonly Experiment[];
  /** Ids of the figures to fill; the others are left as they are. */
  readonly figures: readonly string[];
  readonly signal: AbortSignal;
  /** Boots two guests. */
  readonly startPair: (doorbells: GuestPlace) => Promise<Pair>;
  /** Called after each step with the report so far. */
  readonly onReport: (report: Report) => void;
  readonly onProgress: (progress: PaperProgress) => void;
  /** A step that failed; the others go on. */
  readonly onFailure: (step: Step, why: string) => void;
}

/**
 * Measures what `report` does not have yet, and writes it there. The report is complete if nothing failed.
 * @param report of this run so far: empty, or of a run that was interrupted or in which something failed
 * @throws the signal's reason when it is aborted, after the guests have ended
 */
export async function runPaper(report: Report, options: RunnerOptions): Promise<void> {
  await new Runner(report, options).run();
}

class Runner {
  readonly #report: Report;
  readonly #options: RunnerOptions;
  readonly #steps: readonly Step[];
  #done = 0;

  constructor(report: Report, options: RunnerOptions) {
    this.#report = report;
    this.#options = options;
    this.#steps = options.experiments
      .flatMap(({ steps }) => steps)
      .filter(({ figures }) => figures.some((id) => options.figures.includes(id)))
      .filter(({ isSlow }) => isSlow !== true || report.mode !== "tiny")
      .filter((step) => !this.#isDone(step));
  }

  async run(): Promise<void> {
    for (const place of PLACES) {
      const steps = this.#steps.filter((step) => step.place === place);
      if (steps.length > 0) await this.#runPlace(place, steps);
    }
    this.#report.isComplete = this.#report.figures.every(({ missing }) => missing.length === 0);
    this.#report.machine.load.push(load());
    this.#save();
  }

  #isDone({ figures, side }: Step): boolean {
    return figures.every((id) =>
      this.#report.figures.find((figure) => figure.id === id)?.series.some((each) => each.side === side),
    );
  }

  async #runPlace(place: Place, steps: readonly Step[]): Promise<void> {
    let pair: Pair | undefined;
    try {
      if (place !== "host") {
        this.#tell(`booting two VMs with doorbells ${place}`);
        pair = await this.#tryStart(place, steps);
        if (pair === undefined) return;
      }
      for (const step of steps) await this.#runStep(step, pair);
    } finally {
      await pair?.stop();
    }
  }

  /** Guests; undefined if there are none: then the report says so of all steps. */
  async #tryStart(doorbells: GuestPlace, steps: readonly Step[]): Promise<Pair | undefined> {
    try {
      return await this.#options.startPair(doorbells);
    } catch (error) {
      this.#options.signal.throwIfAborted();
      for (const step of steps) this.#enter(step, asError(error), 0);
      this.#save();
      return undefined;
    }
  }

  async #runStep(step: Step, pair: Pair | undefined): Promise<void> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    const name = `${step.figures.join(", ")}: ${step.side}`;
    this.#tell(name);
    const start = performance.now();
    const context: StepContext = {
      ...{ effort: EFFORTS[this.#report.mode], signal, say: (detail) => this.#tell(name, detail) },
      get pair(): Pair {
        if (pair === undefined) throw new Error("a step of the host has no guests");
        return pair;
      },
    };
    const outcome = await step.measure(context).catch(asError);
    signal.throwIfAborted();
    this.#enter(step, outcome, (performance.now() - start) / 1000);
    this.#done++;
    this.#save();
  }

  /** Puts what a step has measured, or why it has not, into its figures. */
  #enter(step: Step, outcome: readonly Measured[] | Error, seconds: number): void {
    const { figures, side } = step;
    this.#report.seconds += seconds;
    for (const id of figures) {
      const figure = this.#openFigure(id);
      figure.seconds += seconds / figures.length;
      figure.series = figure.series.filter((series) => series.side !== side);
      figure.missing = figure.missing.filter((missing) => missing.side !== side);
      if (outcome instanceof Error) figure.missing.push({ side, why: whyOf(outcome) });
      else figure.series.push(...outcome.filter((each) => each.figure === id).map(({ series }) => ({ side, ...series })));
      figure.series.sort((a, b) => SIDES.indexOf(a.side) - SIDES.indexOf(b.side));
    }
    if (outcome instanceof Error) this.#options.onFailure(step, whyOf(outcome));
  }

  /** The figure of the report, which gets its place there if it has none. */
  #openFigure(id: string): Figure {
    const { figures } = this.#report;
    const there = figures.find((figure) => figure.id === id);
    if (there !== undefined) return there;
    const specs = this.#options.experiments.flatMap((experiment) => experiment.figures);
    const order = specs.map((spec) => spec.id);
    const spec = specs[order.indexOf(id)];
    if (spec === undefined) throw new Error(`there is no figure ${id}`);
    const figure: Figure = { ...structuredClone(spec), series: [], missing: [], seconds: 0 };
    figures.push(figure);
    figures.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id));
    return figure;
  }

  #save(): void {
    this.#report.claims = claimsOf(this.#report);
    this.#options.onReport(this.#report);
  }

  #tell(step: string, detail?: string): void {
    const fraction = this.#done / this.#steps.length;
    this.#options.onProgress({ step, ...(detail === undefined ? {} : { detail }), fraction });
  }
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/** With the last words of the program that failed. */
const whyOf = (error: Error): string =>
  error instanceof LabError && error.details !== "" ? `${error.message}:\n${error.details}` : error.message;
