// Guest memory as the compiled requests see it: pages that a key opens, found in the HCA's table of known translations.

import {
  GENERATION,
  HCA_MTT_PAGES,
  HCA_RANGES,
  HCA_REGIONS,
  LOG_MTT_PAGE_BYTES,
  LOG_RANGE_BYTES,
  LOG_REGION_BYTES,
  LOG_TLB_ENTRY_BYTES,
  MTT_PAGE_ENTRIES,
  MTT_PAGE_NUMBER,
  MTT_PAGE_WINDOW,
  PD,
  RANGE_FIRST,
  RANGE_IS_WRITABLE,
  RANGE_PAGES,
  RANGE_WINDOW,
  REGION_ENTRIES,
  REGION_KEY,
  REGION_LENGTH,
  REGION_LOG_PAGE,
  REGION_MTT,
  REGION_RIGHTS,
  REGION_START,
  TABLE,
  TLB,
  TLB_BOUNDS,
  TLB_ENTRIES,
  TLB_GENERATION,
  TLB_HI,
  TLB_KEY,
  TLB_PAGE,
  TLB_RIGHTS,
  TLB_WINDOW,
} from "../layout.ts";
import { describeRegion, findIcm, translate } from "./imports.ts";

export const PAGE_SHIFT: u32 = 12;
export const PAGE_BYTES: u32 = 1 << PAGE_SHIFT;
export const PAGE_MASK: u32 = PAGE_BYTES - 1;
/** Page frame numbers have 31 bits: so many of an entry's upper word. */
const PFN_HI_BITS: u32 = 11;
const MTT_PRESENT: u32 = 1;
const LOG_MTT_BYTES: u32 = 3;
const LOG_MTTS_PER_PAGE: u32 = PAGE_SHIFT - LOG_MTT_BYTES;
const MTT_MASK: u32 = (1 << LOG_MTTS_PER_PAGE) - 1;
/** LOCAL_WRITE, REMOTE_WRITE. */
const ANY_WRITE: u32 = (1 << 11) | (1 << 13);
const BEGIN_SHIFT: u32 = 16;
const END_MASK: u32 = 0xffff;
const PD_SHIFT: u32 = 5;
const ACCESS_SHIFT: u32 = 10;

/** A big-endian word of a WQE. The driver may change it at any moment: read once. */
export function big(at: u32): u32 {
  return bswap<u32>(load<u32>(at));
}

/** A big-endian doorbell record, after which what the driver stored before it can be read. */
export function record(at: u32): u32 {
  return bswap<u32>(atomic.load<u32>(at));
}

/**
 * Where in the window the `length` bytes at hi:lo are, all in one page; 0 if they are not known to be open to `access` under `key`.
 * @param owner queue pair or completion queue that names them
 */
export function find(owner: u32, key: u32, access: u32, hi: u32, lo: u32, length: u32): u32 {
  const found = known(owner, key, access, hi, lo, length);
  if (found !== 0) return found;
  if (!translate(load<u32>(owner, TABLE), key, load<u32>(owner, PD), access, hi, lo, length)) return 0;
  return known(owner, key, access, hi, lo, length);
}

/**
 * The same for entries of a ring, whose pages come again and again.
 * @param last two words: the page found last, if all of it is open
 */
export function findInRing(last: u32, owner: u32, key: u32, access: u32, hi: u32, lo: u32, length: u32): u32 {
  const inPage = lo & PAGE_MASK;
  const number = (lo >> PAGE_SHIFT) + 1;
  if (load<u32>(last) === number && inPage + length <= PAGE_BYTES) return load<u32>(last, 4) + inPage;
  const found = find(owner, key, access, hi, lo, length);
  const page = found === 0 ? 0 : known(owner, key, access, hi, lo - inPage, PAGE_BYTES);
  if (page !== 0) {
    store<u32>(last, number);
    store<u32>(last, page, 4);
  }
  return found;
}

function known(owner: u32, key: u32, access: u32, hi: u32, lo: u32, length: u32): u32 {
  const page = lo >> PAGE_SHIFT;
  const slot = (page ^ (key >> 8) ^ (key << 3)) & (TLB_ENTRIES - 1);
  const entry = load<u32>(owner, TLB) + (slot << LOG_TLB_ENTRY_BYTES);
  if (load<u32>(entry, TLB_PAGE) !== page || load<u32>(entry, TLB_KEY) !== key) return 0;
  if (load<u32>(entry, TLB_GENERATION) !== load<u32>(owner, GENERATION) || load<u32>(entry, TLB_HI) !== hi) return 0;
  if (load<u32>(entry, TLB_RIGHTS) !== ((load<u32>(owner, PD) << PD_SHIFT) | (access >> ACCESS_SHIFT))) return 0;
  const inPage = lo & PAGE_MASK;
  const bounds = load<u32>(entry, TLB_BOUNDS);
  if (inPage < bounds >> BEGIN_SHIFT || inPage + length > (bounds & END_MASK)) return 0;
  const page0 = load<u32>(entry, TLB_WINDOW);
  return page0 === 0 ? 0 : page0 + inPage;
}

// Where one end of a long message is in its pages: words of a walk, by byte offset.
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

/** Where the HCA's table has the region; 0 if none can be walked. */
function regionOf(owner: u32, key: u32): u32 {
  const slot = (key ^ (key >> 8)) & (REGION_ENTRIES - 1);
  const entry = load<u32>(owner, TLB) + HCA_REGIONS + (slot << LOG_REGION_BYTES);
  if (load<u32>(entry, REGION_KEY) === key && load<u32>(entry, REGION_LOG_PAGE) !== 0) return entry;
  return describeRegion(load<u32>(owner, TABLE), key) ? entry : 0;
}

/** The range of guest memory that has page frame `pfn`; 0 if there is none, or if it must not be written. */
function rangeOf(owner: u32, pfn: u32, isWrite: bool): u32 {
  let range = load<u32>(owner, TLB) + HCA_RANGES;
  for (; load<u32>(range, RANGE_PAGES) !== 0; range += 1 << LOG_RANGE_BYTES) {
    if (pfn - load<u32>(range, RANGE_FIRST) >= load<u32>(range, RANGE_PAGES)) continue;
    return isWrite && load<u32>(range, RANGE_IS_WRITABLE) === 0 ? 0 : range;
  }
  return 0;
}

/** Where a page of the translation table is; 0 if not in the window. */
function mttPageOf(owner: u32, page: u32): u32 {
  const slot = page & (MTT_PAGE_ENTRIES - 1);
  const entry = load<u32>(owner, TLB) + HCA_MTT_PAGES + (slot << LOG_MTT_PAGE_BYTES);
  if (load<u32>(entry, MTT_PAGE_NUMBER) === page + 1) return load<u32>(entry, MTT_PAGE_WINDOW);
  const at = findIcm(load<u32>(owner, TABLE), page);
  if (at === 0) return 0;
  store<u32>(entry, page + 1, MTT_PAGE_NUMBER);
  store<u32>(entry, at, MTT_PAGE_WINDOW);
  return at;
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
