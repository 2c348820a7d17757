// A large table of fixed-size records of 32-bit words, of which few are used. Memory is spent in blocks, when the first record of a
// block is written; a record costs its words and nothing else.

const BLOCK_SHIFT = 8;
const BLOCK_RECORDS = 1 << BLOCK_SHIFT;
const BLOCK_MASK = BLOCK_RECORDS - 1;

export class SparseRecords {
  readonly #wordsPerRecord: number;
  /** Stands for every block that nothing has been written to: all zeros. */
  readonly #empty: Int32Array;
  #blocks: Int32Array[] = [];
  #length = 0;

  constructor(wordsPerRecord: number) {
    this.#wordsPerRecord = wordsPerRecord;
    this.#empty = new Int32Array(BLOCK_RECORDS * wordsPerRecord);
  }

  /** How many records the table has. */
  get length(): number {
    return this.#length;
  }

  /** Makes all records zero and gives the table `length` of them. */
  reset(length: number): void {
    this.#blocks = new Array<Int32Array>(Math.ceil(length / BLOCK_RECORDS)).fill(this.#empty);
    this.#length = length;
  }

  /** The block that holds record `index`, which must be below `length`; its words start at `wordsAt(index)`. For reading only. */
  block(index: number): Int32Array {
    return this.#blocks[index >>> BLOCK_SHIFT]!;
  }

  /** The same for writing. */
  blockForWriting(index: number): Int32Array {
    const at = index >>> BLOCK_SHIFT;
    let block = this.#blocks[at];
    if (block === undefined) throw new Error(`invariant: record ${index} of ${this.#length}`);
    if (block === this.#empty) {
      block = new Int32Array(BLOCK_RECORDS * this.#wordsPerRecord);
      this.#blocks[at] = block;
    }
    return block;
  }

  /** Where the words of record `index` start in its block. */
  wordsAt(index: number): number {
    return (index & BLOCK_MASK) * this.#wordsPerRecord;
  }
}
