// A measured figure beside what it is held to.

export interface Goal {
  readonly text: string;
  /** @param ratio of the value to the reference; undefined if there is none */
  isMet(value: number, ratio: number | undefined): boolean | undefined;
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The same measured elsewhere in the same minutes. */
  readonly reference?: { readonly name: string; readonly value: number } | undefined;
  readonly goal?: Goal | undefined;
}

/** A figure as it is written to JSON; null where there is nothing. */
export interface FigureRecord {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Value of the reference, in the same unit. */
  readonly reference: number | null;
  readonly referenceName: string | null;
  readonly ratio: number | null;
  readonly goal: string | null;
  readonly met: boolean | null;
}

export const atMost = (limit: number, unit: string): Goal => ({
  text: `≤ ${limit} ${unit}`,
  isMet: (value) => value <= limit,
});

export const atLeast = (limit: number, unit: string): Goal => ({
  text: `≥ ${limit} ${unit}`,
  isMet: (value) => value >= limit,
});

export const ratioAtMost = (limit: number): Goal => ({
  text: `≤ ${limit} ×`,
  isMet: (_value, ratio) => (ratio === undefined ? undefined : ratio <= limit),
});

export const ratioAtLeast = (limit: number): Goal => ({
  text: `≥ ${limit} ×`,
  isMet: (_value, ratio) => (ratio === undefined ? undefined : ratio >= limit),
});

export function recordOf({ name, value, unit, reference, goal }: Figure): FigureRecord {
  const ratio = reference === undefined ? undefined : value / reference.value;
  return {
    name,
    value: rounded(value),
    unit,
    reference: reference === undefined ? null : rounded(reference.value),
    referenceName: reference?.name ?? null,
    ratio: ratio === undefined ? null : rounded(ratio),
    goal: goal?.text ?? null,
    met: goal?.isMet(value, ratio) ?? null,
  };
}

/** Four significant digits: more than any of this is good for. */
const rounded = (value: number): number => Number(value.toPrecision(4));
