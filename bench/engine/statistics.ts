// What many samples say.

/** All samples of some rounds in one array, ascending. */
export function sorted(rounds: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(rounds.reduce((sum, round) => sum + round.length, 0));
  let at = 0;
  for (const round of rounds) {
    all.set(round, at);
    at += round.length;
  }
  return all.sort();
}

/** The value below which `fraction` of the sorted samples lie. */
export function quantile(ascending: Float64Array, fraction: number): number {
  const index = Math.min(ascending.length - 1, Math.floor(ascending.length * fraction));
  return ascending[index] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}
