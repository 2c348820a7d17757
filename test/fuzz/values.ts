// Values that find mistakes: small, at a boundary, or anything; and what turns right bytes into nearly right ones.

import type { Random } from "../../src/base/random.ts";

/** A number of at most `bits` bits: often small, often beside a power of two, sometimes anything. */
export function number32(random: Random, bits = 32): number {
  const limit = 2 ** bits;
  const kind = random.below(8);
  if (kind < 3) return random.below(Math.min(10, limit));
  if (kind < 5) return (2 ** random.below(bits) + random.below(3) - 1) % limit;
  if (kind === 5) return limit - 1 - random.below(2);
  return random.u32() % limit;
}

/** The same for 64 bits. */
export function number64(random: Random): bigint {
  const kind = random.below(8);
  if (kind < 2) return BigInt(random.below(10));
  if (kind < 5) return BigInt.asUintN(64, (1n << BigInt(random.below(64))) + BigInt(random.below(3)) - 1n);
  if (kind === 5) return 2n ** 64n - 1n - BigInt(random.below(2));
  return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
}

export function randomBytes(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = random.below(256);
  return bytes;
}

/** Changes up to four bytes or bits, mostly among the first `near`, where headers are. */
export function bend(random: Random, bytes: Uint8Array, near = 110): void {
  if (bytes.length === 0) return;
  for (let n = random.below(4); n >= 0; n--) {
    const at = random.chance(0.7) ? random.below(Math.min(bytes.length, near)) : random.below(bytes.length);
    const choice = random.below(4);
    if (choice === 0) bytes[at] = random.below(256);
    else if (choice === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    else bytes[at] = choice === 2 ? 0 : 0xff;
  }
}
