// Objects by number, as the InfiniHost numbers them: the low bits index a table, the upper bits count reuses, and the whole
// number must match (docs "infinihost" 4.1.2, P-5).

export class NumberTable<T extends { readonly number: number }> {
  #slots: (T | undefined)[] = [];
  #mask = 0;
  count = 0;

  /** Empties the table and gives it 2^logSize slots. */
  reset(logSize: number): void {
    this.#slots = new Array<T | undefined>(2 ** logSize).fill(undefined);
    this.#mask = 2 ** logSize - 1;
    this.count = 0;
  }

  /** Empties the table and leaves it without slots. */
  clear(): void {
    this.#slots = [];
    this.#mask = 0;
    this.count = 0;
  }

  /** The object with exactly this number. */
  find(number: number): T | undefined {
    const object = this.#slots[number & this.#mask];
    return object !== undefined && object.number === number ? object : undefined;
  }

  /** The object in the slot of `number`, whatever its upper bits. */
  inSlotOf(number: number): T | undefined {
    return this.#slots[number & this.#mask];
  }

  get size(): number {
    return this.#slots.length;
  }

  /** Puts an object into its slot, which must be free. */
  add(object: T): void {
    this.#slots[object.number & this.#mask] = object;
    this.count++;
  }

  remove(object: T): void {
    const slot = object.number & this.#mask;
    if (this.#slots[slot] !== object) return;
    this.#slots[slot] = undefined;
    this.count--;
  }

  *values(): Generator<T> {
    for (const object of this.#slots) if (object !== undefined) yield object;
  }
}
