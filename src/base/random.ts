// Seeded randomness (xoshiro128**, Blackman and Vigna 2018): the same seed gives the same run.

export class Random {
  readonly seed: number;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** @param seed any 32-bit number; print it when a test fails. */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    let state = this.seed;
    // splitmix32 spreads the seed over the four words
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
  }

  /** A uniform 32-bit unsigned number. */
  u32(): number {
    const rotated = Math.imul(this.#b, 5);
    const result = Math.imul((rotated << 7) | (rotated >>> 25), 9);
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** A whole number in 0..limit-1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** One of the given values; there must be at least one. */
  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new Error("invariant: nothing to pick from");
    return from[this.below(from.length)] as T;
  }

  /** True with the given probability (0..1). */
  chance(probability: number): boolean {
    return this.u32() / 2 ** 32 < probability;
  }
}
