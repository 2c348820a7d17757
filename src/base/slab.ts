// Memory for small things that there are thousands of: a buffer for each would cost several times what is in it.

const SLAB_BYTES = 1 << 16;
/** What is larger has a buffer of its own. */
const LARGEST_PIECE = SLAB_BYTES >> 4;
const ALIGNMENT = 8;

/** Zeroed bytes of a buffer, from `offset`, a multiple of 8. */
export interface Piece {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
  /** The whole buffer as doubles: one view for all that lies in it. */
  readonly doubles: Float64Array;
}

/** Hands out pieces of slabs one after the other. A slab goes when nobody has a view of it any more. */
export class Slabs {
  #doubles: Float64Array<ArrayBuffer> = new Float64Array(0);
  #used = 0;

  take(bytes: number): Piece {
    if (bytes > LARGEST_PIECE) return this.#piece(newSlab(bytes), 0);
    if (this.#used + bytes > this.#doubles.byteLength) {
      this.#doubles = newSlab(SLAB_BYTES);
      this.#used = 0;
    }
    const offset = this.#used;
    this.#used = roundUp(offset + bytes);
    return this.#piece(this.#doubles, offset);
  }

  #piece(doubles: Float64Array<ArrayBuffer>, offset: number): Piece {
    return { buffer: doubles.buffer, offset, doubles };
  }
}

const roundUp = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
const newSlab = (bytes: number): Float64Array<ArrayBuffer> => new Float64Array(roundUp(bytes) / Float64Array.BYTES_PER_ELEMENT);
