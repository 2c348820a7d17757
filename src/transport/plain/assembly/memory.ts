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

/**
 * Writes down where the pages of `piece` bytes are, one word each, that begin `done` bytes after hi:lo: as `find`, but by the HCA's tables,
 * since long messages would drive everything else out of the known pages.
 * @param whole bytes from hi:lo on, all of which must be open
 */
export function findAll(
  pages: u32,
  owner: u32,
  key: u32,
  access: u32,
  hi: u32,
  lo: u32,
  whole: u32,
  done: u32,
  piece: u32,
): bool {
  const region = regionOf(owner, key);
  if (region === 0) return false;
  const rights = load<u32>(region, REGION_RIGHTS);
  if (rights >> PD_SHIFT !== load<u32>(owner, PD) || ((rights << ACCESS_SHIFT) & access) !== access) return false;
  const start = load<u64>(region, REGION_START);
  const size = load<u64>(region, REGION_LENGTH);
  const address = ((<u64>hi) << 32) | lo;
  const distance = address - start;
  if (address < start || distance > size || <u64>whole > size - distance) return false;
  const logPage = load<u32>(region, REGION_LOG_PAGE);
  const first = load<u32>(region, REGION_MTT);
  const pageMask = ((<u64>1) << logPage) - 1;
  const isWrite = (access & ANY_WRITE) !== 0;
  // The first entry describes the page that contains the start.
  let offset = distance + done + (start & pageMask);
  // A region may reach to the end of all addresses: no sum of them says where this ends.
  const last = pages + (((((lo + done) & PAGE_MASK) + piece - 1) >> PAGE_SHIFT) << 2);
  let table: u32 = 0;
  let tableNumber: u32 = 0;
  let range: u32 = 0;
  for (; pages <= last; pages += 4) {
    const number = first + u32(offset >> logPage);
    if (table === 0 || number >> LOG_MTTS_PER_PAGE !== tableNumber) {
      tableNumber = number >> LOG_MTTS_PER_PAGE;
      table = mttPageOf(owner, tableNumber);
      if (table === 0) return false;
    }
    const entry = table + ((number & MTT_MASK) << LOG_MTT_BYTES);
    const pageHi = big(entry);
    const pageLo = big(entry + 4);
    if ((pageLo & MTT_PRESENT) === 0 || pageHi >> PFN_HI_BITS !== 0) return false;
    const pfn = ((pageHi << (32 - PAGE_SHIFT)) | (pageLo >> PAGE_SHIFT)) + u32((offset & pageMask) >> PAGE_SHIFT);
    if (range === 0 || pfn - load<u32>(range, RANGE_FIRST) >= load<u32>(range, RANGE_PAGES)) {
      range = rangeOf(owner, pfn, isWrite);
      if (range === 0) return false;
    }
    const page = load<u32>(range, RANGE_WINDOW) + ((pfn - load<u32>(range, RANGE_FIRST)) << PAGE_SHIFT);
    store<u32>(pages, page + (u32(offset) & PAGE_MASK));
    offset = (offset | PAGE_MASK) + 1;
  }
  return true;
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

/** Copies `length` bytes between pages that `findAll` has found. */
export function copyAll(target: u32, source: u32, length: u32): void {
  let to = load<u32>(target);
  let from = load<u32>(source);
  for (let left = length; ; ) {
    const toRoom = PAGE_BYTES - (to & PAGE_MASK);
    const fromRoom = PAGE_BYTES - (from & PAGE_MASK);
    let piece = fromRoom < toRoom ? fromRoom : toRoom;
    if (piece > left) piece = left;
    memory.copy(to, from, piece);
    left -= piece;
    if (left === 0) return;
    if (piece === toRoom) {
      target += 4;
      to = load<u32>(target);
    } else to += piece;
    if (piece === fromRoom) {
      source += 4;
      from = load<u32>(source);
    } else from += piece;
  }
}

/** Up to here loads and stores are faster than the call that `memory.copy` is. */
const SHORT_BYTES: u32 = 64;

/** Copies a few bytes or many. */
export function copy(to: u32, from: u32, length: u32): void {
  if (length > SHORT_BYTES) {
    memory.copy(to, from, length);
    return;
  }
  const end = from + length;
  for (; from + 8 <= end; from += 8, to += 8) store<u64>(to, load<u64>(from));
  for (; from < end; from++, to++) store<u8>(to, load<u8>(from));
}
