// What a side looks like: a colour, told apart by line and marker as well (Okabe and Ito's colours, safe for colour-blind eyes).

import type { Figure, Side } from "../report.ts";
import { SIDE_NAMES } from "../report.ts";

/** Colours on white and on black; CSS knows them as `--native` and so on. */
export const COLOURS: Readonly<Record<Side, { light: string; dark: string }>> = {
  native: { light: "#0072b2", dark: "#56b4e9" },
  mapped: { light: "#00805c", dark: "#2fd3a3" },
  trapped: { light: "#c44e00", dark: "#ff8f50" },
  answered: { light: "#8b1a1a", dark: "#ff6b6b" },
  tcp: { light: "#a8517f", dark: "#e3a0c5" },
  rxe: { light: "#8a6d00", dark: "#f0c93d" },
  paper: { light: "#6b6b6b", dark: "#b0b0b0" },
};

const SHAPES: Readonly<Record<Side, string>> = {
  native: "square",
  mapped: "circle",
  trapped: "triangle-up",
  answered: "triangle-right",
  tcp: "diamond",
  rxe: "cross",
  paper: "triangle-down",
};

/** How one series is drawn. */
export interface Look {
  readonly name: string;
  readonly colour: string;
  readonly shape: string;
  /** Lengths of dashes and gaps; empty for a solid line. */
  readonly dash: readonly number[];
  /** A marker that is only an outline: a side's second series, or a published value. */
  readonly isHollow: boolean;
}

const DASHES: readonly (readonly number[])[] = [[], [2, 3], [8, 3, 2, 3]];

/** The looks of a figure's series, in their order. */
export function looksOf(figure: Figure): Look[] {
  const seen = new Map<Side, number>();
  return figure.series.map(({ side, label }) => {
    const nth = seen.get(side) ?? 0;
    seen.set(side, nth + 1);
    const isPaper = side === "paper";
    return {
      name: nameOf(side, label),
      colour: `var(--${side})`,
      shape: SHAPES[side],
      dash: isPaper ? (nth === 0 ? [6, 4] : [3, 4]) : (DASHES[nth % DASHES.length] ?? []),
      isHollow: isPaper || nth > 0,
    };
  });
}

/** A series in words: the side, and what sets it apart from its other series. */
export function nameOf(side: Side, label: string | undefined): string {
  return label === undefined || label === SIDE_NAMES[side] ? SIDE_NAMES[side] : `${SIDE_NAMES[side]}: ${label}`;
}
