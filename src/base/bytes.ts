// Memory as the core sees it, and the only place that copies it.

/** A stretch of memory with the views that hot code needs; all of them show the same bytes. */
export interface Memory {
  readonly bytes: Buffer;
  /** Big- and little-endian access at any offset. */
  readonly view: DataView;
  /** Aligned words in host order, for shadow compares and Atomics. */
  readonly words: Int32Array;
  /**
   * Where its first byte lies in the window of this thread (window.ts), as an int32: negative above 2 GiB. Or OUTSIDE. Others may move
   * in there as soon as nobody holds the views any more, so a copy of the number is good only while somebody does.
   */
  readonly windowAt: number;
}

/** `windowAt` of memory that compiled code cannot see. No address in a window: they end before the last 64 KiB. */
export const OUTSIDE = -1;

/** Wraps `length` bytes of `buffer` from `offset` (a multiple of 4), which lie at `windowAt` in the window. */
export function memoryOf(
  buffer: ArrayBufferLike,
  offset = 0,
  length = buffer.byteLength - offset,
  windowAt: number = OUTSIDE,
): Memory {
  return {
    bytes: Buffer.from(buffer as ArrayBuffer, offset, length),
    view: new DataView(buffer, offset, length),
    words: new Int32Array(buffer, offset, length >> 2),
    windowAt: windowAt | 0,
  };
}

/** `length` bytes of a memory from byte `at` (a multiple of 4). */
export function sliceOf(memory: Memory, at: number, length: number): Memory {
  const windowAt = memory.windowAt === OUTSIDE ? OUTSIDE : memory.windowAt + at;
  return memoryOf(memory.bytes.buffer, memory.bytes.byteOffset + at, length, windowAt);
}

/** Zeroed private memory of `length` bytes (rounded up to 8). */
export function newMemory(length: number): Memory {
  return memoryOf(new ArrayBuffer((length + 7) & ~7));
}

/** Below this many bytes a loop beats the call into the runtime (measured; decision 10). */
const LOOP_LIMIT = 64;

/**
 * Copies `length` bytes. The ranges must lie inside their memories (callers have checked); they may be the same memory
 * and may overlap. Allocates nothing.
 */
export function copyBytes(from: Memory, fromAt: number, to: Memory, toAt: number, length: number): void {
  if (length <= LOOP_LIMIT && from !== to) {
    const source = from.view;
    const target = to.view;
    let i = 0;
    for (; i + 4 <= length; i += 4) target.setInt32(toAt + i, source.getInt32(fromAt + i, true), true);
    for (; i < length; i++) target.setUint8(toAt + i, source.getUint8(fromAt + i));
    return;
  }
  from.bytes.copy(to.bytes, toAt, fromAt, fromAt + length);
}

/**
 * Stores one aligned 32-bit word, in host order, after everything stored before it. JavaScript promises no order between plain
 * stores to shared memory; x86-64 keeps them in program order and so does V8 for stores of unknown aliasing. This is the
 * one function that hands memory over to another processor.
 */
export function publishWord(memory: Memory, at: number, value: number): void {
  Atomics.store(memory.words, at >> 2, value);
}

/**
 * A big-endian word at `at`, a multiple of 4, read as a whole: another processor may store there at any moment. Code that is not compiled yet reads those
 * of a DataView byte by byte.
 */
export const loadBig32 = (memory: Memory, at: number): number => swap32(memory.words[at >> 2]!);

/** Stores one as a whole; only the low 32 bits of `value` count. */
export function storeBig32(memory: Memory, at: number, value: number): void {
  memory.words[at >> 2] = swap32(value);
}

/** Swaps the 4 bytes of a word: from big-endian memory read in host order, or back. */
export const swap32 = (word: number): number => (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
