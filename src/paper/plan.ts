// What the evaluation consists of: figures, and the steps that fill them. A step measures one side of one or two figures.

import type { DomainView } from "../domain/protocol.ts";
import type { Lab } from "../lab/lab.ts";
import type { Effort } from "./effort.ts";
import type { Figure, Series, Side } from "./report.ts";

/** A figure without what a run puts into it. */
export type FigureSpec = Omit<Figure, "series" | "missing" | "seconds">;

/** Where a step runs: in a process of the host, or in two guests whose doorbells are mapped, trapped, or trapped and waited for. */
export const PLACES = ["host", "mapped", "trapped", "answered"] as const;
export type Place = (typeof PLACES)[number];
export type GuestPlace = Exclude<Place, "host">;

/** Two guests, n1 and n2, and the device domain of their HCAs. */
export interface Pair {
  readonly lab: Lab;
  describe(): Promise<DomainView>;
  stop(): Promise<void>;
}

/** What a step may use. */
export interface StepContext {
  readonly effort: Effort;
  readonly signal: AbortSignal;
  /** The guests of the step's place. @throws Error on the host, which has none */
  readonly pair: Pair;
  /** Tells what is being done now. */
  say(detail: string): void;
}

/** A series and the figure it belongs to. */
export interface Measured {
  readonly figure: string;
  readonly series: Omit<Series, "side">;
}

export interface Step {
  /** The figures that get a series of this side; all of them, or the step has failed. */
  readonly figures: readonly string[];
  readonly side: Side;
  readonly place: Place;
  /** A tiny run, which is to see that all of it works, does without. */
  readonly isSlow?: boolean | undefined;
  measure(context: StepContext): Promise<Measured[]>;
}

/** A part of the plan: figures, and the steps that fill them. */
export interface Experiment {
  readonly number: number;
  readonly name: string;
  readonly figures: readonly FigureSpec[];
  readonly steps: readonly Step[];
}
