// Guest memory as the compiled requests see it: pages that a key opens, found in the HCA's table of known translations.

import {
  GENERATION,
  LOG_TLB_ENTRY_BYTES,
  PD,
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
import { translate } from "./imports.ts";

export const PAGE_SHIFT: u32 = 12;
export const PAGE_BYTES: u32 = 1 << PAGE_SHIFT;
export const PAGE_MASK: u32 = PAGE_BYTES - 1;
const BEGIN_SHIFT: u32 = 16;
const END_MASK: u32 = 0xffff;
export const PD_SHIFT: u32 = 5;
export const ACCESS_SHIFT: u32 = 10;

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
