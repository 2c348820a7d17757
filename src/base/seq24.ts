// Arithmetic on 24-bit numbers that wrap: PSN, MSN, SSN (IBA vol 1, 9.7.2). Positions are ints in 0..2^24-1; differences
// are signed, in -2^23..2^23-1. Nowhere else is a PSN added or compared.

const MASK = 0xffffff;

/** `a + n`, wrapped. */
export const add24 = (a: number, n: number): number => (a + n) & MASK;

/** How far `a` is ahead of `b`: positive when ahead, negative when behind. */
export const diff24 = (a: number, b: number): number => ((a - b) << 8) >> 8;

/** True when `a` comes before `b`. */
export const isBefore24 = (a: number, b: number): boolean => (a - b) << 8 < 0;
