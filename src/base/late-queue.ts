// Things that become due later: the earliest first, and of those due at the same time the one that came first. A binary heap in arrays
// that keep their length, so that nothing is allocated once they are long enough.

export class LateQueue<T> {
  readonly #dueNs: number[] = [];
  /** Tells apart what is due at the same time. */
  readonly #orders: number[] = [];
  readonly #items: T[] = [];
  #nextOrder = 0;

  get length(): number {
    return this.#items.length;
  }

  /** When the first one is due; Infinity if there is none. */
  get dueNs(): number {
    return this.#items.length === 0 ? Number.POSITIVE_INFINITY : this.#dueNs[0]!;
  }

  push(dueNs: number, item: T): void {
    let at = this.#items.length;
    const order = this.#nextOrder++;
    this.#dueNs.push(dueNs);
    this.#orders.push(order);
    this.#items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#dueNs[parent]! <= dueNs) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#put(at, dueNs, order, item);
  }

  /** Takes the first one out, due or not; undefined if there is none. */
  shift(): T | undefined {
    const first = this.#items[0];
    const item = this.#items.pop();
    const dueNs = this.#dueNs.pop();
    const order = this.#orders.pop();
    if (item === undefined || dueNs === undefined || order === undefined || this.#items.length === 0) return first;
    let at = 0;
    for (;;) {
      const child = this.#earlierChild(at);
      if (child < 0 || !this.#isEarlier(child, dueNs, order)) break;
      this.#move(child, at);
      at = child;
    }
    this.#put(at, dueNs, order, item);
    return first;
  }

  #earlierChild(at: number): number {
    const left = 2 * at + 1;
    const right = left + 1;
    if (left >= this.#items.length) return -1;
    return right < this.#items.length && this.#isEarlier(right, this.#dueNs[left]!, this.#orders[left]!) ? right : left;
  }

  #isEarlier(at: number, dueNs: number, order: number): boolean {
    return this.#dueNs[at]! < dueNs || (this.#dueNs[at] === dueNs && this.#orders[at]! < order);
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#dueNs[from]!, this.#orders[from]!, this.#items[from]!);
  }

  #put(at: number, dueNs: number, order: number, item: T): void {
    this.#dueNs[at] = dueNs;
    this.#orders[at] = order;
    this.#items[at] = item;
  }
}
