// Objects by number, as the InfiniHost numbers them: the low bits index a table, the upper bits count reuses, and the whole
// number must match (docs "infinihost" 4.1.2, P-5).

import { SparseSlots } from "../base/sparse-slots.ts";

export class NumberTable<T extends { readonly number: number }> {
  readonly #slots = new SparseSlots<T>();
  #mask = 0;
  count = 0;

  /** Empties the table and gives it 2^logSize slots. */
  reset(logSize: number): void {
    this.#slots.reset(2 ** logSize);
    this.#mask = 2 ** logSize - 1;
    this.count = 0;
  }

  /** Empties the table and leaves it without slots. */
  clear(): void {
    this.#slots.reset(0);
    this.#mask = 0;
    this.count = 0;
  }

  /** The object with exactly this number. */
  find(number: number): T | undefined {
    const object = this.#slots.get(number & this.#mask);
    return object !== undefined && object.number === number ? object : undefined;
  }

  /** The object in the slot of `number`, whatever its upper bits. */
  inSlotOf(number: number): T | undefined {
    return this.#slots.get(number & this.#mask);
  }

  get size(): number {
    return this.#slots.length;
  }

  /** Puts an object into its slot, which must be free. */
  add(object: T): void {
    this.#slots.set(object.number & this.#mask, object);
    this.count++;
  }

  remove(object: T): void {
    const slot = object.number & this.#mask;
    if (this.#slots.get(slot) !== object) return;
    this.#slots.set(slot, undefined);
    this.count--;
  }

  *values(): Generator<T> {
    for (const [, object] of this.#slots.entries()) yield object;
  }
}
