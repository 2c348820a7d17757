// A large array of which few places are used. A guest chooses the size of its tables; memory and time are spent on what it uses.

const CHUNK_SHIFT = 10;
const CHUNK_SLOTS = 1 << CHUNK_SHIFT;
const CHUNK_MASK = CHUNK_SLOTS - 1;

export class SparseSlots<T> {
  /** Stands for every chunk that nothing has been written to. */
  readonly #empty: (T | undefined)[] = newChunk();
  #chunks: (T | undefined)[][] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Empties it and gives it `length` places. */
  reset(length: number): void {
    this.#chunks = new Array<(T | undefined)[]>(Math.ceil(length / CHUNK_SLOTS)).fill(this.#empty);
    this.#length = length;
  }

  /** What is at `index`; undefined if nothing is, or `index` is not below `length`. */
  get(index: number): T | undefined {
    const chunk = this.#chunks[index >>> CHUNK_SHIFT];
    return chunk === undefined ? undefined : chunk[index & CHUNK_MASK];
  }

  /** Puts something at `index`, which must be below `length`, or takes it away. */
  set(index: number, value: T | undefined): void {
    const at = index >>> CHUNK_SHIFT;
    let chunk = this.#chunks[at];
    if (chunk === undefined) throw new Error(`invariant: slot ${index} of ${this.#length}`);
    if (chunk === this.#empty) {
      if (value === undefined) return;
      chunk = newChunk();
      this.#chunks[at] = chunk;
    }
    chunk[index & CHUNK_MASK] = value;
  }

  /** Everything there is, in order, with its index. */
  *entries(): Generator<[number, T]> {
    for (const [at, chunk] of this.#chunks.entries()) {
      if (chunk === this.#empty) continue;
      for (const [i, value] of chunk.entries()) if (value !== undefined) yield [(at << CHUNK_SHIFT) + i, value];
    }
  }
}

function newChunk<T>(): (T | undefined)[] {
  return new Array<T | undefined>(CHUNK_SLOTS).fill(undefined);
}
