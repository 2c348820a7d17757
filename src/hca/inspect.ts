// The device describes itself: a live HCA as plain values, for `vhca hca show`, the control API and tests. It only looks: no
// state of the device changes, guest memory is never written, and every answer is bounded, because it is made between two sweeps
// of the engine. Long listings therefore come in pages, each of them a moment of its own.

import { NotFoundError, type Page } from "../base/inspect.ts";
import { hex } from "../base/names.ts";
import type { Adapter } from "../transport/adapter.ts";
import type { Hca } from "./hca.ts";
import { groupsPage, regionDetails, regionView } from "./inspect/memory.ts";
import { PAGE_OBJECTS, pageOf } from "./inspect/page.ts";
import { qpDetails, qpView } from "./inspect/queue-pair.ts";
import { cqDetails, cqView, srqDetails, srqView } from "./inspect/queues.ts";
import type { ListKind, ObjectDetails, ObjectKind, ObjectViews } from "./inspect/views.ts";

export { inspectDevice } from "./inspect/device.ts";
export type * from "./inspect/views.ts";

export interface InspectOptions {
  readonly nowNs: number;
  /** Names the HCA at the other end of a connection. */
  readonly nameOfHca: (adapter: Adapter) => string;
}

/** What the objects of a kind are called where they are listed, and in messages. */
const listOf: Readonly<Record<ObjectKind, ListKind>> = { qp: "qps", cq: "cqs", srq: "srqs", region: "regions" };
const nameOfKind: Readonly<Record<ObjectKind, string>> = { qp: "QP", cq: "CQ", srq: "SRQ", region: "region with key" };
/** Objects named in the message that one of them does not exist. */
const NAMED_MAX = 8;

interface NumberedTable<T> {
  readonly size: number;
  readonly count: number;
  inSlotOf(number: number): T | undefined;
}

const byIndex = <T>(table: NumberedTable<T>): { size: number; count: number; at(index: number): T | undefined } => ({
  size: table.size,
  count: table.count,
  at: (index) => table.inSlotOf(index),
});

/** At most `limit` objects of a kind (and of one page) from place `from` of their table on. */
export function inspectList<K extends ListKind>(
  hca: Hca,
  kind: K,
  from: number,
  limit: number,
  options: InspectOptions,
): Page<ObjectViews[K]> {
  const { adapter } = hca;
  const pages: { [L in ListKind]: () => Page<ObjectViews[L]> } = {
    qps: () => pageOf(byIndex(adapter.qps), from, limit, (qp) => qpView(qp, options.nowNs)),
    cqs: () => pageOf(byIndex(adapter.cqs), from, limit, cqView),
    srqs: () => pageOf(byIndex(adapter.srqs), from, limit, srqView),
    regions: () => pageOf(adapter.regions, from, limit, regionView),
    groups: () => groupsPage(adapter.multicast, from, limit),
  };
  return pages[kind]();
}

/**
 * Everything about one object; a region is named by its key as the guest writes it.
 * @throws NotFoundError if there is none
 */
export function inspectObject<K extends ObjectKind>(
  hca: Hca,
  kind: K,
  number: number,
  options: InspectOptions,
): ObjectDetails[K] {
  const details = findDetails(hca, number, options)[kind]();
  if (details === undefined) throw new NotFoundError(missing(hca, kind, number, options));
  return details;
}

function findDetails(
  { adapter }: Hca,
  number: number,
  options: InspectOptions,
): { [K in ObjectKind]: () => ObjectDetails[K] | undefined } {
  const found = <T, V>(object: T | undefined, describe: (object: T) => V): V | undefined =>
    object === undefined ? undefined : describe(object);
  return {
    qp: () => found(adapter.qps.find(number), (qp) => qpDetails(qp, options.nowNs, options.nameOfHca)),
    cq: () => found(adapter.cqs.find(number), cqDetails),
    srq: () => found(adapter.srqs.find(number), srqDetails),
    region: () => regionDetails(adapter.regions, adapter.regions.find(number), adapter.noMemory),
  };
}

function missing(hca: Hca, kind: ObjectKind, number: number, options: InspectOptions): string {
  const { count, items } = inspectList(hca, listOf[kind], 0, PAGE_OBJECTS, options);
  const names = items.slice(0, NAMED_MAX).map((item) => ("key" in item ? item.key : "number" in item ? hex(item.number) : ""));
  const what = `${hca.name} has no ${nameOfKind[kind]} ${hex(number)}`;
  if (count === 0) return `${what}; it has none at all`;
  return `${what}; there ${count === 1 ? "is" : "are"} ${count}: ${names.join(", ")}${count > names.length ? " …" : ""}`;
}
