// How often something may happen: a bucket of tokens that fills with time.

const NS_PER_SECOND = 1e9;

export class RateLimit {
  readonly #perSecond: number;
  #tokens: number;
  #filledAtNs = Number.NEGATIVE_INFINITY;

  /** @param perSecond how often on average, and how many at once after a second of rest; Infinity: no limit */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#tokens = perSecond;
  }

  /** True if it may happen now; then it counts. Allocates nothing. */
  take(nowNs: number): boolean {
    if (this.#perSecond === Number.POSITIVE_INFINITY) return true;
    if (nowNs > this.#filledAtNs) {
      const gained = ((nowNs - this.#filledAtNs) / NS_PER_SECOND) * this.#perSecond;
      this.#tokens = Math.min(this.#perSecond, this.#tokens + gained);
      this.#filledAtNs = nowNs;
    }
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
