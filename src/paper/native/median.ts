// Medians of times.

const US_PER_MS = 1000;
const WARM_UP = 200;

/** The median of what calls of `once` take, in µs, after some that do not count. */
export function medianUs(once: () => void, iterations: number): number {
  for (let i = 0; i < WARM_UP; i++) once();
  const samples = new Float64Array(iterations);
  for (let i = 0; i < iterations; i++) {
    const start = performance.now();
    once();
    samples[i] = (performance.now() - start) * US_PER_MS;
  }
  return medianOf(samples);
}

/** @param samples sorted afterwards; of an even number the greater of the two in the middle */
export const medianOf = (samples: Float64Array): number => samples.sort()[samples.length >> 1] ?? Number.NaN;
