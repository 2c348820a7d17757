// A first-in first-out list with a bound.

/** Taken entries at the front before the rest moves up. */
const COMPACT_AT = 1024;

export class Fifo<T> {
  readonly #bound: number;
  #items: T[] = [];
  #head = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  /** False if it is full. */
  push(item: T): boolean {
    if (this.length >= this.#bound) return false;
    this.#items.push(item);
    return true;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.#head < this.#items.length) this.#head++;
    if (this.#head === this.#items.length || this.#head >= COMPACT_AT) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
