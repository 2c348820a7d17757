// What an HCA's tables say of long messages: regions, pages of the translation table, ranges of guest memory.

import {
  HCA_MTT_PAGES,
  HCA_RANGES,
  HCA_REGIONS,
  LOG_MTT_PAGE_BYTES,
  LOG_RANGE_BYTES,
  LOG_REGION_BYTES,
  MTT_PAGE_ENTRIES,
  MTT_PAGE_NUMBER,
  MTT_PAGE_WINDOW,
  RANGE_FIRST,
  RANGE_IS_WRITABLE,
  RANGE_PAGES,
  REGION_ENTRIES,
  REGION_KEY,
  REGION_LOG_PAGE,
  TABLE,
  TLB,
} from "../layout.ts";
import { describeRegion, findIcm } from "./imports.ts";

/** Where the HCA's table has the region; 0 if none can be walked. */
export function regionOf(owner: u32, key: u32): u32 {
  const slot = (key ^ (key >> 8)) & (REGION_ENTRIES - 1);
  const entry = load<u32>(owner, TLB) + HCA_REGIONS + (slot << LOG_REGION_BYTES);
  if (load<u32>(entry, REGION_KEY) === key && load<u32>(entry, REGION_LOG_PAGE) !== 0) return entry;
  return describeRegion(load<u32>(owner, TABLE), key) ? entry : 0;
}

/** The range of guest memory that has page frame `pfn`; 0 if there is none, or if it must not be written. */
export function rangeOf(owner: u32, pfn: u32, isWrite: bool): u32 {
  let range = load<u32>(owner, TLB) + HCA_RANGES;
  for (; load<u32>(range, RANGE_PAGES) !== 0; range += 1 << LOG_RANGE_BYTES) {
    if (pfn - load<u32>(range, RANGE_FIRST) >= load<u32>(range, RANGE_PAGES)) continue;
    return isWrite && load<u32>(range, RANGE_IS_WRITABLE) === 0 ? 0 : range;
  }
  return 0;
}

/** Where a page of the translation table is; 0 if not in the window. */
export function mttPageOf(owner: u32, page: u32): u32 {
  const slot = page & (MTT_PAGE_ENTRIES - 1);
  const entry = load<u32>(owner, TLB) + HCA_MTT_PAGES + (slot << LOG_MTT_PAGE_BYTES);
  if (load<u32>(entry, MTT_PAGE_NUMBER) === page + 1) return load<u32>(entry, MTT_PAGE_WINDOW);
  const at = findIcm(load<u32>(owner, TABLE), page);
  if (at === 0) return 0;
  store<u32>(entry, page + 1, MTT_PAGE_NUMBER);
  store<u32>(entry, at, MTT_PAGE_WINDOW);
  return at;
}
