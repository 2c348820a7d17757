// Things that become due later: the earliest first, and of those due at the same time the one that came first. A binary heap in arrays
// that only grow, so that nothing is allocated once they are long enough.
//
// Times neither go into the hot functions nor come out of them as parameters and results: where V8 does not inline a call, it makes an object of
// each number beyond 2^31 that crosses it, and 2^31 ns are two seconds. Fields and typed arrays hold them as they are.

const FIRST_LENGTH = 16;

export class LateQueue<T> {
  #dueNs = new Float64Array(FIRST_LENGTH);
  /** Tells apart what is due at the same time. */
  #orders = new Float64Array(FIRST_LENGTH);
  readonly #items: (T | undefined)[] = [];
  #length = 0;
  #nextOrder = 0;
  /** When the first one is due; Infinity if there is none. To be read only. */
  dueNs: number = Number.POSITIVE_INFINITY;
  /** When the next one is due that `add` puts in. */
  addedDueNs: number = Number.POSITIVE_INFINITY;

  get length(): number {
    return this.#length;
  }

  push(dueNs: number, item: T): void {
    this.addedDueNs = dueNs;
    this.add(item);
  }

  /** Puts in what is due at `addedDueNs`. */
  add(item: T): void {
    let at = this.#length;
    if (at === this.#dueNs.length) this.#grow();
    this.#length = at + 1;
    this.#dueNs[at] = this.addedDueNs;
    this.#orders[at] = this.#nextOrder++;
    if (at === this.#items.length) this.#items.push(item);
    else this.#items[at] = item;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isEarlier(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
    this.dueNs = this.#dueNs[0]!;
  }

  /** Takes the first one out, due or not; undefined if there is none. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const first = this.#items[0];
    const last = this.#length - 1;
    this.#swap(0, last);
    this.#items[last] = undefined;
    this.#length = last;
    for (let at = 0; ; ) {
      const child = this.#earlierChild(at);
      if (child < 0 || !this.#isEarlier(child, at)) break;
      this.#swap(child, at);
      at = child;
    }
    this.dueNs = last === 0 ? Number.POSITIVE_INFINITY : this.#dueNs[0]!;
    return first;
  }

  #earlierChild(at: number): number {
    const left = 2 * at + 1;
    const right = left + 1;
    if (left >= this.#length) return -1;
    return right < this.#length && this.#isEarlier(right, left) ? right : left;
  }

  #isEarlier(at: number, other: number): boolean {
    const dueNs = this.#dueNs[at]!;
    const otherNs = this.#dueNs[other]!;
    return dueNs < otherNs || (dueNs === otherNs && this.#orders[at]! < this.#orders[other]!);
  }

  #swap(at: number, other: number): void {
    const dueNs = this.#dueNs[at]!;
    const order = this.#orders[at]!;
    const item = this.#items[at];
    this.#dueNs[at] = this.#dueNs[other]!;
    this.#orders[at] = this.#orders[other]!;
    this.#items[at] = this.#items[other];
    this.#dueNs[other] = dueNs;
    this.#orders[other] = order;
    this.#items[other] = item;
  }

  #grow(): void {
    const { length } = this.#dueNs;
    const dueNs = new Float64Array(2 * length);
    const orders = new Float64Array(2 * length);
    dueNs.set(this.#dueNs);
    orders.set(this.#orders);
    this.#dueNs = dueNs;
    this.#orders = orders;
  }
}
