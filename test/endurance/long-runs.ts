// Short runs belong to the tests; ENDURANCE=1 (npm run endurance) makes the same runs long and prints what they do.
// ENDURANCE_SEED repeats the random choices of a run, as far as the guests' own timing allows.

import { Random } from "../../src/base/random.ts";

export const isLong = process.env.ENDURANCE === "1";

/** One value for tests, another for `npm run endurance`. */
export const shortOrLong = <T>(short: T, long: T): T => (isLong ? long : short);

const SEED = Number(process.env.ENDURANCE_SEED ?? Date.now() % 2 ** 32);

/** Randomness of one run; says which seed repeats it. */
export function seeded(what: string): Random {
  say(`${what}: ENDURANCE_SEED=${SEED}`);
  return new Random(SEED);
}

/** A line for whoever waits. */
export function say(line: string): void {
  process.stderr.write(`# ${line}\n`);
}

/** Rows under a heading, columns aligned. */
export function sayTable(heading: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
  const lines = [heading, ...rows].map((row) => row.map(String));
  const widths = heading.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  for (const line of lines) say(line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
}
