// Parts of a table, each made in a bounded time: so many objects, so many places looked at. A guest may spread its objects over
// tables of millions of places.

import type { Page } from "../../base/inspect.ts";

/** Objects described in one go: about half a millisecond at worst, with the copy that leaves the thread. */
export const PAGE_OBJECTS = 32;
/** Places looked at in one go: a third of a millisecond where nearly all are empty. */
export const PAGE_SLOTS = 1 << 14;

/** What lies from place `from` on in a table of `size` places that holds `count` objects. */
export function pageOf<T, V>(
  table: { readonly size: number; readonly count: number; at(index: number): T | undefined },
  from: number,
  limit: number,
  view: (object: T, index: number) => V,
): Page<V> {
  const items: V[] = [];
  const most = Math.min(limit, PAGE_OBJECTS);
  const end = Math.min(table.size, from + PAGE_SLOTS);
  let index = from;
  for (; index < end && items.length < most; index++) {
    const object = table.at(index);
    if (object !== undefined) items.push(view(object, index));
  }
  return { count: table.count, items, next: index < table.size ? index : undefined };
}
