// The pages of long messages, found entry by entry in the translation tables, and the copying.

import {
  PD,
  RANGE_FIRST,
  RANGE_PAGES,
  RANGE_WINDOW,
  REGION_LENGTH,
  REGION_LOG_PAGE,
  REGION_MTT,
  REGION_RIGHTS,
  REGION_START,
} from "../layout.ts";
import { ACCESS_SHIFT, big, PAGE_BYTES, PAGE_MASK, PAGE_SHIFT, PD_SHIFT } from "./memory.ts";
import { mttPageOf, rangeOf, regionOf } from "./tables.ts";

/** Page frame numbers have 31 bits: so many of an entry's upper word. */
const PFN_HI_BITS: u32 = 11;
const MTT_PRESENT: u32 = 1;
const LOG_MTT_BYTES: u32 = 3;
const MTT_BYTES: u32 = 1 << LOG_MTT_BYTES;
const LOG_MTTS_PER_PAGE: u32 = PAGE_SHIFT - LOG_MTT_BYTES;
const MTTS_PER_PAGE: u32 = 1 << LOG_MTTS_PER_PAGE;
const MTT_MASK: u32 = MTTS_PER_PAGE - 1;
/** LOCAL_WRITE, REMOTE_WRITE. */
const ANY_WRITE: u32 = (1 << 11) | (1 << 13);

// Words of a walk, by byte offset.
export const WALK_BYTES: i32 = 48;
const WALK_OWNER = 0;
/** Distance from the first page of the region, 64 bits. */
const WALK_OFFSET = 8;
const WALK_PAGE_MASK = 16;
const WALK_LOG_PAGE = 24;
/** Number of the region's first entry in the translation table. */
const WALK_FIRST = 28;
const WALK_IS_WRITE = 32;
/** The page of the translation table found last, its number, and the range of guest memory found last. */
const WALK_TABLE = 36;
const WALK_TABLE_NUMBER = 40;
const WALK_RANGE = 44;

/**
 * Begins a walk through the pages of [hi:lo, + length), `done` bytes after its beginning: as `find`, but by the HCA's tables, since long
 * messages would drive everything else out of the known pages.
 * @returns false if not all of it is open
 */
export function beginWalk(walk: u32, owner: u32, key: u32, access: u32, hi: u32, lo: u32, length: u32, done: u32): bool {
  const region = regionOf(owner, key);
  if (region === 0) return false;
  const rights = load<u32>(region, REGION_RIGHTS);
  if (rights >> PD_SHIFT !== load<u32>(owner, PD) || ((rights << ACCESS_SHIFT) & access) !== access) return false;
  const start = load<u64>(region, REGION_START);
  const size = load<u64>(region, REGION_LENGTH);
  const address = ((<u64>hi) << 32) | lo;
  const distance = address - start;
  if (address < start || distance > size || <u64>length > size - distance) return false;
  const logPage = load<u32>(region, REGION_LOG_PAGE);
  const pageMask = ((<u64>1) << logPage) - 1;
  store<u32>(walk, owner, WALK_OWNER);
  // The first entry describes the page that contains the start.
  store<u64>(walk, distance + done + (start & pageMask), WALK_OFFSET);
  store<u64>(walk, pageMask, WALK_PAGE_MASK);
  store<u32>(walk, logPage, WALK_LOG_PAGE);
  store<u32>(walk, load<u32>(region, REGION_MTT), WALK_FIRST);
  store<u32>(walk, u32((access & ANY_WRITE) !== 0), WALK_IS_WRITE);
  store<u32>(walk, 0, WALK_TABLE);
  store<u32>(walk, 0, WALK_RANGE);
  return true;
}

/** Where the walk is; the next one begins with the next page. 0 if no memory is there. */
function nextPage(walk: u32): u32 {
  const owner = load<u32>(walk, WALK_OWNER);
  const offset = load<u64>(walk, WALK_OFFSET);
  const pageMask = load<u64>(walk, WALK_PAGE_MASK);
  const number = load<u32>(walk, WALK_FIRST) + u32(offset >> load<u32>(walk, WALK_LOG_PAGE));
  let table = load<u32>(walk, WALK_TABLE);
  if (table === 0 || number >> LOG_MTTS_PER_PAGE !== load<u32>(walk, WALK_TABLE_NUMBER)) {
    table = mttPageOf(owner, number >> LOG_MTTS_PER_PAGE);
    if (table === 0) return 0;
    store<u32>(walk, table, WALK_TABLE);
    store<u32>(walk, number >> LOG_MTTS_PER_PAGE, WALK_TABLE_NUMBER);
  }
  const entry = table + ((number & MTT_MASK) << LOG_MTT_BYTES);
  const pageHi = big(entry);
  const pageLo = big(entry + 4);
  if ((pageLo & MTT_PRESENT) === 0 || pageHi >> PFN_HI_BITS !== 0) return 0;
  const pfn = ((pageHi << (32 - PAGE_SHIFT)) | (pageLo >> PAGE_SHIFT)) + u32((offset & pageMask) >> PAGE_SHIFT);
  let range = load<u32>(walk, WALK_RANGE);
  if (range === 0 || pfn - load<u32>(range, RANGE_FIRST) >= load<u32>(range, RANGE_PAGES)) {
    range = rangeOf(owner, pfn, load<u32>(walk, WALK_IS_WRITE) !== 0);
    if (range === 0) return 0;
    store<u32>(walk, range, WALK_RANGE);
  }
  store<u64>(walk, (offset | PAGE_MASK) + 1, WALK_OFFSET);
  const page = load<u32>(range, RANGE_WINDOW) + ((pfn - load<u32>(range, RANGE_FIRST)) << PAGE_SHIFT);
  return page + (u32(offset) & PAGE_MASK);
}

/**
 * Copies `length` bytes page by page: looking for a page between two copies makes those faster than all of them in one go (decision 16).
 * @param to where the first bytes go if they lie in one page; 0 if `target` walks there. The same for `from` and `source`
 * @returns false if there is no memory behind some of them
 */
export function copyPages(target: u32, source: u32, to: u32, from: u32, length: u32): bool {
  let toRoom: u32 = to === 0 ? 0 : length;
  let fromRoom: u32 = from === 0 ? 0 : length;
  for (let left = length; left > 0; ) {
    if (toRoom === 0 && fromRoom === 0 && left >= PAGE_BYTES) {
      const bytes = copyWholePages(target, source, left);
      left -= bytes;
      if (bytes > 0) continue;
    }
    if (toRoom === 0) {
      to = nextPage(target);
      if (to === 0) return false;
      toRoom = PAGE_BYTES - (to & PAGE_MASK);
    }
    if (fromRoom === 0) {
      from = nextPage(source);
      if (from === 0) return false;
      fromRoom = PAGE_BYTES - (from & PAGE_MASK);
    }
    let piece = fromRoom < toRoom ? fromRoom : toRoom;
    if (piece > left) piece = left;
    copy(to, from, piece);
    left -= piece;
    to += piece;
    from += piece;
    toRoom -= piece;
    fromRoom -= piece;
  }
  return true;
}

/**
 * Copies pages as long as what `nextPage` has found last, tables and ranges, describes the next ones, too; both walks are at the beginning of a page.
 * Their words are in locals meanwhile: between two pages there is next to nothing.
 * @returns bytes copied, whole pages; 0 if `nextPage` must look first
 */
function copyWholePages(target: u32, source: u32, length: u32): u32 {
  const toRange = load<u32>(target, WALK_RANGE);
  const fromRange = load<u32>(source, WALK_RANGE);
  if (toRange === 0 || fromRange === 0) return 0;
  let pages = length >> PAGE_SHIFT;
  pages = min(pages, min(entriesAhead(target), entriesAhead(source)));
  if (pages === 0) return 0;
  let toEntry = nextEntryOf(target);
  let fromEntry = nextEntryOf(source);
  const toFirst = <u64>load<u32>(toRange, RANGE_FIRST);
  const toPages = <u64>load<u32>(toRange, RANGE_PAGES);
  const toWindow = load<u32>(toRange, RANGE_WINDOW);
  const fromFirst = <u64>load<u32>(fromRange, RANGE_FIRST);
  const fromPages = <u64>load<u32>(fromRange, RANGE_PAGES);
  const fromWindow = load<u32>(fromRange, RANGE_WINDOW);
  let copied: u32 = 0;
  for (; pages > 0; pages--) {
    const toPage = bswap<u64>(load<u64>(toEntry));
    const fromPage = bswap<u64>(load<u64>(fromEntry));
    const toIndex = (toPage >> PAGE_SHIFT) - toFirst;
    const fromIndex = (fromPage >> PAGE_SHIFT) - fromFirst;
    if ((toPage & fromPage & MTT_PRESENT) === 0 || toIndex >= toPages || fromIndex >= fromPages) break;
    copy(toWindow + (u32(toIndex) << PAGE_SHIFT), fromWindow + (u32(fromIndex) << PAGE_SHIFT), PAGE_BYTES);
    toEntry += MTT_BYTES;
    fromEntry += MTT_BYTES;
    copied += PAGE_BYTES;
  }
  store<u64>(target, load<u64>(target, WALK_OFFSET) + copied, WALK_OFFSET);
  store<u64>(source, load<u64>(source, WALK_OFFSET) + copied, WALK_OFFSET);
  return copied;
}

/** Number in the translation table of the entry that the walk comes to next, where its pages are of 4 KiB. */
function nextNumber(walk: u32): u32 {
  return load<u32>(walk, WALK_FIRST) + u32(load<u64>(walk, WALK_OFFSET) >> PAGE_SHIFT);
}

/** Where that entry is in the page of the table found last. */
function nextEntryOf(walk: u32): u32 {
  return load<u32>(walk, WALK_TABLE) + ((nextNumber(walk) & MTT_MASK) << LOG_MTT_BYTES);
}

/** Entries from the next one on in the page of the table found last; 0 if the walk's pages are larger ones. */
function entriesAhead(walk: u32): u32 {
  if (load<u32>(walk, WALK_LOG_PAGE) !== PAGE_SHIFT) return 0;
  const number = nextNumber(walk);
  return number >> LOG_MTTS_PER_PAGE === load<u32>(walk, WALK_TABLE_NUMBER) ? MTTS_PER_PAGE - (number & MTT_MASK) : 0;
}

/**
 * Copies within a page. Loads and stores of 16 bytes are as fast as `memory.copy`, which is a call, and the processor looks for the next pages
 * meanwhile.
 */
export function copy(to: u32, from: u32, length: u32): void {
  const end = from + length;
  for (; from + 64 <= end; from += 64, to += 64) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    const c = v128.load(from, 32);
    const d = v128.load(from, 48);
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
  }
  for (; from + 8 <= end; from += 8, to += 8) store<u64>(to, load<u64>(from));
  for (; from < end; from++, to++) store<u8>(to, load<u8>(from));
}
