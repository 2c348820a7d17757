// Named counters as slots of one Float64Array: a hot path does `values[Counter.x]! += 1`, another thread reads the same
// memory. Doubles count exactly up to 2^53.

/** Maps names to consecutive slots: `const C = counterSlots("rxPackets", "rxBytes")` gives C.rxPackets === 0, … */
export function counterSlots<const N extends readonly string[]>(
  ...names: N
): { readonly [K in N[number]]: number } & { readonly names: N } {
  const slots: Record<string, number> = {};
  names.forEach((name, slot) => {
    slots[name] = slot;
  });
  return { ...slots, names } as { readonly [K in N[number]]: number } & { readonly names: N };
}

/** Storage for one set of counters; pass a shared buffer to let another thread read it. */
export function newCounters(
  set: { readonly names: readonly string[] },
  buffer?: SharedArrayBuffer,
  byteOffset = 0,
): Float64Array {
  return buffer === undefined ? new Float64Array(set.names.length) : new Float64Array(buffer, byteOffset, set.names.length);
}

/** The counters as an object, for printing; zeros left out on request. */
export function countersObject(
  set: { readonly names: readonly string[] },
  values: Float64Array,
  withZeros = true,
): Record<string, number> {
  const out: Record<string, number> = {};
  set.names.forEach((name, slot) => {
    const value = values[slot] ?? 0;
    if (withZeros || value !== 0) out[name] = value;
  });
  return out;
}
