// What registering and deregistering memory costs a native process.

import { AccessFlag, type Context } from "../../verbs/index.ts";
import { medianOf } from "./median.ts";
import type { NativeResult } from "./test.ts";

const US_PER_MS = 1000;
const WARM_UP = 50;

/** Medians of µs for each size of region. */
export function measureRegistration(context: Context, sizes: readonly number[], iterations: number): NativeResult {
  const pd = context.allocPd();
  const memory = context.allocMemory(Math.max(...sizes));
  const [registering, deregistering] = [new Float64Array(iterations), new Float64Array(iterations)];
  return sizes.map((x) => {
    for (let i = -WARM_UP; i < iterations; i++) {
      const start = performance.now();
      const mr = pd.regMr(memory, AccessFlag.LOCAL_WRITE | AccessFlag.REMOTE_WRITE, { offset: 0, length: x });
      const registered = performance.now();
      mr.destroy();
      const end = performance.now();
      if (i < 0) continue;
      registering[i] = (registered - start) * US_PER_MS;
      deregistering[i] = (end - registered) * US_PER_MS;
    }
    return { x, y: medianOf(registering), second: medianOf(deregistering) };
  });
}
