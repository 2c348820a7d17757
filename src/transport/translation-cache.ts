// What small messages need most: pages of regions whose key, domain, access and translation have been checked before. A real HCA keeps
// such a table too; its driver takes the region back (HW2SW_MPT) before it gives the pages another meaning. IBA vol 1, 10.6.

import { PAGE_BYTES, PAGE_SHIFT } from "../base/address-space.ts";
import { type Memory, OUTSIDE } from "../base/bytes.ts";
import * as Layout from "./plain/layout.ts";

const PAGE_MASK = PAGE_BYTES - 1;
const ENTRIES = Layout.TLB_ENTRIES;
/** Words of an entry, which compiled requests read, too. */
const Word = {
  KEY: Layout.TLB_KEY >> 2,
  HI: Layout.TLB_HI >> 2,
  PAGE: Layout.TLB_PAGE >> 2,
  RIGHTS: Layout.TLB_RIGHTS >> 2,
  AT: Layout.TLB_AT >> 2,
  WINDOW: Layout.TLB_WINDOW >> 2,
  BOUNDS: Layout.TLB_BOUNDS >> 2,
  GENERATION: Layout.TLB_GENERATION >> 2,
} as const;
const WORDS_SHIFT = Layout.LOG_TLB_ENTRY_BYTES - 2;
/** `Word.RIGHTS` holds the protection domain, and bits 10 to 14 of the access. */
const PD_SHIFT = 5;
const ACCESS_SHIFT = 10;
/** `Word.BOUNDS` holds where in the page the region begins and ends. */
const BEGIN_SHIFT = 16;
const END_MASK = 0xffff;

export class TranslationCache {
  /** Memory of the page that `find` has found, and where in it the byte lies. */
  memory: Memory;
  at = 0;
  readonly #none: Memory;
  #words: Int32Array;
  readonly #memories: Memory[];

  /** @param table memory for it, zeroed, if it is to be found by others */
  constructor(none: Memory, table?: Memory) {
    this.#words = table?.words ?? new Int32Array(ENTRIES << WORDS_SHIFT);
    this.#none = none;
    this.memory = none;
    this.#memories = new Array<Memory>(ENTRIES).fill(none);
  }

  /**
   * True if all `length` bytes from hi:lo lie in one page that is known to be open to `access` by `pd` under `key`.
   * @param generation of the tables that the answer depends on, never 0
   */
  find(key: number, pd: number, access: number, hi: number, lo: number, length: number, generation: number): boolean {
    const page = lo >>> PAGE_SHIFT;
    const slot = slotOf(key, page);
    const at = slot << WORDS_SHIFT;
    const words = this.#words;
    if (words[at + Word.PAGE] !== page || words[at + Word.KEY] !== key || words[at + Word.GENERATION] !== generation)
      return false;
    if (words[at + Word.HI] !== hi || words[at + Word.RIGHTS] !== rightsOf(pd, access)) return false;
    const inPage = lo & PAGE_MASK;
    const bounds = words[at + Word.BOUNDS]!;
    if (inPage < bounds >>> BEGIN_SHIFT || inPage + length > (bounds & END_MASK)) return false;
    this.memory = this.#memories[slot]!;
    this.at = words[at + Word.AT]! + inPage;
    return true;
  }

  /**
   * Keeps the page of hi:lo, whose first byte is at `pageAt` of `memory`; the region reaches from byte `begin` of the page to `end`.
   */
  keep(
    key: number,
    pd: number,
    access: number,
    hi: number,
    lo: number,
    begin: number,
    end: number,
    memory: Memory,
    pageAt: number,
    generation: number,
  ): void {
    const page = lo >>> PAGE_SHIFT;
    const slot = slotOf(key, page);
    const at = slot << WORDS_SHIFT;
    const words = this.#words;
    words[at + Word.KEY] = key;
    words[at + Word.HI] = hi;
    words[at + Word.PAGE] = page;
    words[at + Word.RIGHTS] = rightsOf(pd, access);
    words[at + Word.AT] = pageAt;
    words[at + Word.WINDOW] = memory.windowAt === OUTSIDE ? 0 : memory.windowAt + pageAt;
    words[at + Word.BOUNDS] = (begin << BEGIN_SHIFT) | end;
    words[at + Word.GENERATION] = generation;
    this.#memories[slot] = memory;
  }

  /** Forgets everything, and touches the memory it was given no more. */
  leave(): void {
    this.#words = new Int32Array(ENTRIES << WORDS_SHIFT);
    this.clear();
  }

  /** Forgets everything, so that memory that has gone is not held. */
  clear(): void {
    this.#words.fill(0);
    this.#memories.fill(this.#none);
    this.memory = this.#none;
  }
}

/** Protection domain and access, bits 10 to 14, in one word. */
export const rightsOf = (pd: number, access: number): number => (pd << PD_SHIFT) | (access >>> ACCESS_SHIFT);

const slotOf = (key: number, page: number): number => (page ^ (key >>> 8) ^ (key << 3)) & (ENTRIES - 1);
