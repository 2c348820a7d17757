// What every group of figures is given.

import type { CTools } from "./c-tools.ts";
import type { Figure } from "./figure.ts";

export interface BenchContext {
  /** The C references; undefined where there is no compiler. */
  readonly tools: CTools | undefined;
  /** How often the things that are compared take turns. */
  readonly rounds: number;
  /** What a count is multiplied with: less than 1 for a quick look. */
  readonly scale: number;
  /** Shows what is being done. */
  readonly show: (step: string) => void;
}

/** A group of figures that are measured together. */
export interface Group {
  readonly name: string;
  readonly summary: string;
  measure(context: BenchContext): Promise<Figure[]>;
}

/** A whole number of operations, at least 1. */
export const scaled = (context: BenchContext, count: number): number => Math.max(1, Math.round(count * context.scale));
