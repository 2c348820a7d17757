// Lines about a running target on stderr, if FUZZ_PROGRESS is set: `npm run fuzz` sets it, so that a long run can be watched and
// growth of memory is seen.

import { writeSync } from "node:fs";

const EVERY_MS = 10_000;
const STDERR = 2;
/** What a line starts with; the last one of a target says "done". */
export const PROGRESS_PREFIX = "fuzz: ";

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

/** Returns a function to call after each case with the cases and states so far. */
export function reporter(name: string, first: number): (cases: number, states: number, isLast?: boolean) => void {
  if (process.env.FUZZ_PROGRESS === undefined) return () => {};
  const start = performance.now();
  let next = start + EVERY_MS;
  return (cases, states, isLast = false) => {
    const now = performance.now();
    if (!isLast && now < next) return;
    next = now + EVERY_MS;
    const perSecond = (cases / ((now - start) / 1000)).toFixed(1);
    const { rss, heapUsed } = process.memoryUsage();
    const line = [
      `${PROGRESS_PREFIX}${name.padEnd(20)} ${isLast ? "done" : "    "} ${cases} cases from seed ${first}`,
      `${perSecond}/s, ${states} states, heap ${mebibytes(heapUsed)}, resident ${mebibytes(rss)}`,
    ].join(", ");
    writeSync(STDERR, `${line}\n`);
  };
}
