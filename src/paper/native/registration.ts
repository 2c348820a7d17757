// What registering and deregistering memory costs a native process.

import { AccessFlag, type Context } from "../../verbs/index.ts";
import type { NativeResult } from "./test.ts";

const US_PER_MS = 1000;
const WARM_UP = 50;

/** Medians of µs for each size of region. */
export function measureRegistration(context: Context, sizes: readonly number[], iterations: number): NativeResult {
  const pd = context.allocPd();
  const memory = context.allocMemory(Math.max(...sizes));
  const once = (bytes: number): [number, number] => {
    const start = performance.now();
    const mr = pd.regMr(memory, AccessFlag.LOCAL_WRITE | AccessFlag.REMOTE_WRITE, { offset: 0, length: bytes });
    const registered = performance.now();
    mr.destroy();
    return [(registered - start) * US_PER_MS, (performance.now() - registered) * US_PER_MS];
  };
  for (let i = 0; i < WARM_UP; i++) once(4096);
  return sizes.map((x) => {
    const samples = Array.from({ length: iterations }, () => once(x));
    return { x, y: median(samples.map(([register]) => register)), second: median(samples.map(([, deregister]) => deregister)) };
  });
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
