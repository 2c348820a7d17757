// Durations as people write them: "250ns", "5us", "1.5ms", "2s", "1m".

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9 };

/** @returns whole nanoseconds, or undefined if `text` is no duration. */
export function parseDuration(text: string): number | undefined {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-zµ]+)$/.exec(text.trim()) ?? [];
  const factor = Object.hasOwn(UNITS, unit) ? UNITS[unit] : undefined;
  const ns = factor === undefined ? Number.NaN : Math.round(Number(number) * factor);
  return Number.isSafeInteger(ns) ? ns : undefined;
}

/** The other way, in the largest unit that keeps three digits. */
export function formatDuration(ns: number): string {
  const [unit, factor] = (Object.entries({ s: 1e9, ms: 1e6, us: 1e3 }).find(([, each]) => ns >= each) ?? ["ns", 1]) as [
    string,
    number,
  ];
  return `${Number((ns / factor).toPrecision(3))}${unit}`;
}
