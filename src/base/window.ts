// The memory that compiled code sees. A WebAssembly program has one memory and reaches nothing else; what it shall reach
// (guest memory, tables) is given a place in there.

import "./webassembly.ts";
import { type Memory, memoryOf, OUTSIDE } from "./bytes.ts";

const PAGE_BYTES = 4096;
/** A page of WebAssembly (core specification, 4.2.8); V8 grants at most 65536 of them. */
const WASM_PAGE_BYTES = 65536;
const MAX_WASM_PAGES = 65536;
/** Static data of the compiled program; never given out. */
export const STATIC_BYTES = WASM_PAGE_BYTES;
/** All that 32 bits reach except the last page, so that no address in it is `OUTSIDE`. */
export const MAX_WINDOW_BYTES = (MAX_WASM_PAGES - 1) * WASM_PAGE_BYTES;
/** A sixteenth. A smaller one would hold no guest. */
const MIN_WINDOW_BYTES = 2 ** 28 - WASM_PAGE_BYTES;

/** Bytes [from, end). */
interface Stretch {
  from: number;
  end: number;
}

/** A WebAssembly memory, and which parts of it are free. It never grows. */
export class Window {
  readonly memory: WebAssembly.Memory;
  /** Over all of it. */
  readonly words: Int32Array;
  /** Less than half is free, and there may be more as soon as the garbage collector looks for dead views. */
  isShort = false;
  /** In ascending order and apart from each other. */
  readonly #free: Stretch[];
  /** Some stretches will be given back when their last views have died, and the garbage collector has not looked for those yet. */
  #hasUnseen = false;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.words = new Int32Array(memory.buffer);
    this.#free = [{ from: STATIC_BYTES, end: memory.buffer.byteLength }];
  }

  /**
   * Takes the first free stretch of `byteLength` bytes, rounded up to pages of 4 KiB.
   * @returns its offset, a multiple of 4096 from 0 to 2^32, or OUTSIDE if there is no room.
   */
  take(byteLength: number): number {
    const length = wholePages(byteLength);
    const index = this.#free.findIndex(({ from, end }) => end - from >= length);
    const stretch = this.#free[index];
    const from = stretch?.from ?? OUTSIDE;
    if (stretch !== undefined) {
      stretch.from += length;
      if (stretch.from === stretch.end) this.#free.splice(index, 1);
    }
    this.#noteWhetherShort();
    return from;
  }

  /** Says that a `give` will follow when the garbage collector has seen the last views die. */
  willGive(): void {
    this.#hasUnseen = true;
    this.#noteWhetherShort();
  }

  /** The garbage collector looks now: once for each that will be given back, in case its views live on. */
  collects(): void {
    this.#hasUnseen = false;
    this.isShort = false;
  }

  /** Gives back what `take(byteLength)` has returned. */
  give(offset: number, byteLength: number): void {
    const end = offset + wholePages(byteLength);
    const next = this.#free.findIndex((stretch) => stretch.from >= offset);
    const at = next < 0 ? this.#free.length : next;
    const before = this.#free[at - 1];
    const after = this.#free[at];
    if ((before?.end ?? STATIC_BYTES) > offset || (after?.from ?? this.memory.buffer.byteLength) < end) {
      throw new Error("invariant: what is given back was taken");
    }
    const stretch = { from: before?.end === offset ? before.from : offset, end: after?.from === end ? after.end : end };
    const first = stretch.from === offset ? at : at - 1;
    this.#free.splice(first, at - first + (stretch.end === end ? 0 : 1), stretch);
  }

  #noteWhetherShort(): void {
    const free = this.#free.reduce((sum, { from, end }) => sum + end - from, 0);
    this.isShort = this.#hasUnseen && free < this.words.byteLength / 2;
  }

  /** Memory of `byteLength` bytes from `offset`, a multiple of 4. */
  memoryAt(offset: number, byteLength: number): Memory {
    return memoryOf(this.memory.buffer, offset, byteLength, offset);
  }
}

const wholePages = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;

/**
 * A window of `bytes`, or of the largest half, quarter and so on that the engine grants: it wants addresses, of which `ulimit -v` may
 * leave few. Pages cost nothing until they are touched.
 * @returns undefined if not even 256 MiB (less 64 KiB) can be had.
 */
export function newWindow(bytes = MAX_WINDOW_BYTES): Window | undefined {
  for (let size = bytes; size >= MIN_WINDOW_BYTES; size /= 2) {
    const pages = Math.floor(size / WASM_PAGE_BYTES);
    try {
      return new Window(new WebAssembly.Memory({ initial: pages, maximum: pages }));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  return undefined;
}
