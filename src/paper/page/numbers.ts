// Numbers and sizes as a reader expects them, and where an axis has its ticks.

/** Three digits that matter below 1000, whole numbers with thousands set apart above. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

/** True for a unit that stands for bytes. */
export const isBytes = (unit: string): boolean => /^(b|bytes?)$/i.test(unit);

/** "message size (bytes)" */
export function withUnit({ name, unit }: { readonly name: string; readonly unit: string }): string {
  const word = isBytes(unit) ? "bytes" : unit;
  return word === "" || word === name ? name : `${name} (${word})`;
}

/** 1, 4, 16 … 1K … 64K, 1M, as the paper writes them; bytes that are no multiple stay as they are. */
export function formatBytes(bytes: number): string {
  for (const [unit, suffix] of [
    [2 ** 30, "G"],
    [2 ** 20, "M"],
    [2 ** 10, "K"],
  ] as const)
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  return String(bytes);
}

/** An axis: from where to where, and what is written at it. */
export interface Ticks {
  readonly domain: readonly [number, number];
  readonly values: readonly number[];
}

/** A logarithmic axis of sizes: a tick at each if there are at most `most`, else at powers of two in equal steps. */
export function sizeTicks(sizes: readonly number[], most: number): Ticks {
  const distinct = [...new Set(sizes)].sort((a, b) => a - b);
  const [least = 1, greatest = 1] = [distinct[0], distinct.at(-1)];
  const domain: [number, number] = least === greatest ? [least / 2, greatest * 2] : [least, greatest];
  if (distinct.length <= most) return { domain, values: distinct };
  const [from, to] = [Math.ceil(Math.log2(least)), Math.floor(Math.log2(greatest))];
  const step = [1, 2, 4, 8].find((each) => (to - from) / each < most) ?? 16;
  const values: number[] = [];
  for (let power = Math.ceil(from / step) * step; power <= to; power += step) values.push(2 ** power);
  return { domain, values };
}

/** A logarithmic axis of values: decades; 1, 2, 5 where there would be less than three. */
export function decadeTicks(least: number, greatest: number): Ticks {
  const domain: [number, number] = [roundedDown(least), roundedUp(greatest)];
  if (domain[0] === domain[1]) domain[1] = roundedUp(domain[0] * 1.5);
  const values: number[] = [];
  const isWide = Math.log10(domain[1] / domain[0]) >= 2;
  for (let power = Math.floor(Math.log10(domain[0])); power <= Math.ceil(Math.log10(domain[1])); power++)
    for (const digit of isWide ? [1] : [1, 2, 5]) values.push(digitAt(digit, power));
  return { domain, values: values.filter((each) => each >= domain[0] && each <= domain[1]) };
}

/** A linear axis from zero, in four to eight steps of 1, 2 or 5. */
export function linearTicks(greatest: number): Ticks {
  const top = greatest > 0 ? greatest : 1;
  const rough = top / 5;
  const power = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digitAt(digit, power)).find((each) => each >= rough * 0.7) ?? top;
  const count = Math.ceil(top / step);
  return { domain: [0, count * step], values: Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12))) };
}

const digitAt = (digit: number, power: number): number => Number(`${digit}e${power}`);

function roundedDown(value: number): number {
  const power = Math.floor(Math.log10(value));
  return [5, 2, 1].map((digit) => digitAt(digit, power)).find((each) => each <= value) ?? value;
}

function roundedUp(value: number): number {
  const power = Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((digit) => digitAt(digit, power)).find((each) => each >= value) ?? value;
}
