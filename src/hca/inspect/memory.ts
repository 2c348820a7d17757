// Memory regions and multicast groups as plain values. Docs "infinihost" 4.5, 3.4, 4.6.

import { addressText, gidText, hex64, type Page } from "../../base/inspect.ts";
import { hex } from "../../base/names.ts";
import { Access, MGM_QP_VALID, MGM_QPN_MASK, MGM_QPS_AT, MGM_QPS_MAX, Mgm } from "../../spec/hca/contexts.ts";
import { Cursor, type MemoryRegion, NO_REGION, type RegionTable } from "../../transport/memory.ts";
import type { MulticastTable } from "../../transport/multicast.ts";
import { PAGE_OBJECTS } from "./page.ts";
import type { GroupView, RegionDetails, RegionView } from "./views.ts";
import { NOT_MAPPED } from "./work-requests.ts";

const PAGES_SHOWN = 8;
/** Multicast entries looked at in one go; a driver has a few, a hostile one a million. */
const ENTRIES_SEEN_MAX = 8192;

/** The key as the guest writes it: the MPT key rotated left by 8 (4.5). */
const guestKey = (key: number): string => hex((key << 8) | (key >>> 24), 8);

export function regionView(region: MemoryRegion): RegionView {
  return {
    key: guestKey(region.key),
    pd: region.pd,
    start: hex64(region.startHi, region.startLo),
    length: region.length,
    pageBytes: 2 ** region.logPageBytes,
    access: Object.entries(Access).flatMap(([name, bit]) => ((region.access & bit) === 0 ? [] : [name])),
    isPhysical: region.isPhysical,
    mttAddress: region.isPhysical ? undefined : addressText(region.mttAddress),
  };
}

/** @param index of the region in its table; undefined if it names none */
export function regionDetails(table: RegionTable, index: number, none: Cursor["memory"]): RegionDetails | undefined {
  const region = index === NO_REGION ? undefined : table.at(index);
  if (region === undefined) return undefined;
  const pageBytes = 2 ** region.logPageBytes;
  // The first entry describes the page that contains the start.
  const first = pageBytes - (region.startLo % pageBytes);
  const count = region.length === 0 ? 0 : 1 + Math.ceil(Math.max(0, region.length - first) / pageBytes);
  const cursor = new Cursor(none);
  const pages = Array.from({ length: Math.min(count, PAGES_SHOWN) }, (_, i) => {
    const offset = i === 0 ? 0 : first + (i - 1) * pageBytes;
    const isMapped = table.translate(index, region.startHi, region.startLo | 0, offset, 1, cursor);
    return { offset, dmaAddress: dmaAddressOf(table, region, i), problem: isMapped ? undefined : NOT_MAPPED };
  });
  return { ...regionView(region), index, pages };
}

/** What the MTT entry of page `page` holds, or "-" where there is none. */
function dmaAddressOf(table: RegionTable, region: MemoryRegion, page: number): string {
  if (region.isPhysical) return hex64(region.startHi, region.startLo);
  const at = region.mttAddress + page * 8;
  const icmPage = Math.floor(at / 4096);
  if (!table.icm.locate(icmPage, at - icmPage * 4096)) return "-";
  const { memory, at: from } = table.dma;
  return hex64(memory.view.getUint32(from), memory.view.getUint32(from + 4) & ~0xfff);
}

/** Multicast groups that have a name or members, from entry number `from` of those written on. */
export function groupsPage(table: MulticastTable, from: number, limit: number): Page<GroupView> {
  const items: GroupView[] = [];
  const most = Math.min(limit, PAGE_OBJECTS);
  let seen = 0;
  let next: number | undefined;
  for (const [index, entry] of table.written) {
    if (items.length === most || seen === ENTRIES_SEEN_MAX) {
      next = items.length === 0 ? from : seen;
      break;
    }
    if (seen++ < from) continue;
    const group = groupView(index, entry);
    if (group !== undefined) items.push(group);
  }
  return { count: table.written.size, items, next };
}

function groupView(index: number, entry: DataView): GroupView | undefined {
  const qps: number[] = [];
  for (let i = 0; i < MGM_QPS_MAX; i++) {
    const word = entry.getUint32(MGM_QPS_AT + 4 * i);
    if (word < MGM_QP_VALID) break;
    qps.push(word & MGM_QPN_MASK);
  }
  const mgid = Mgm.mgid.get(entry, 0);
  if (qps.length === 0 && mgid.every((byte) => byte === 0)) return undefined;
  return { index, mgid: gidText(mgid), qps };
}
