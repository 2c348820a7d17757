// The general SA query: a table of records, those that match the given components are the answer. IBA vol 1, 15.2.1.2, 15.4.

import type { AnyField } from "../../base/layout.ts";
import type { Component } from "../../spec/mad/components.ts";
import { MadHeader } from "../../spec/mad/headers.ts";
import type { Asker, SaRequest } from "./request.ts";

/** One kind of record. */
export interface RecordTable {
  readonly attribute: number;
  /** Bytes of a record; in tables records lie on 8-byte boundaries. */
  readonly bytes: number;
  readonly components: readonly Component[];
  /** Only requests with the SM_Key are answered (15.4.1.2). */
  readonly isForTrusted?: boolean;
  /** All records that `asker` may see, each in a view of its own; those of a LID are enough where the query gives one, as component 0. */
  records(asker: Asker, lid: number | undefined): Iterable<DataView>;
  /** Another way to compare than equality, for the components in which it applies. `modifier` is the request's attribute modifier. */
  matches?(bit: number, wanted: DataView, wantedAt: number, record: DataView, modifier: number): boolean | undefined;
}

/** Bytes from one record to the next in a table. */
export const strideOf = (bytes: number): number => (bytes + 7) & ~7;

export const newRecord = (bytes: number): DataView => new DataView(new ArrayBuffer(bytes));

/** Whether bit `bit` of a component mask (two halves) is set. */
export const hasComponent = (maskHi: number, maskLo: number, bit: number): boolean =>
  bit < 32 ? ((maskLo >>> bit) & 1) === 1 : ((maskHi >>> (bit - 32)) & 1) === 1;

/** The records of `table` that have every given component as in the request. */
export function* select(table: RecordTable, request: SaRequest): Generator<DataView> {
  const { view, at, maskHi, maskLo } = request;
  const modifier = MadHeader.attributeModifier.get(view, 0);
  const given: [number, Component][] = [];
  table.components.forEach((component, bit) => {
    if (component !== undefined && hasComponent(maskHi, maskLo, bit)) given.push([bit, component]);
  });
  for (const record of table.records(request, lidOf(table, request))) {
    const isMatch = given.every(([bit, component]) => {
      const special = table.matches?.(bit, view, at, record, modifier);
      if (special !== undefined) return special;
      return component === undefined || isEqual(component.field, view, at + component.at, record, component.at);
    });
    if (isMatch) yield record;
  }
}

/** The LID that a query gives, if that is what its component 0 is. */
function lidOf({ components: [first] }: RecordTable, { view, at, maskHi, maskLo }: SaRequest): number | undefined {
  const isLid = first?.at === 0 && first.field.kind === "number" && first.field.offset === 0 && first.field.width === 16;
  return isLid && hasComponent(maskHi, maskLo, 0) ? (first.field.get(view, at) as number) : undefined;
}

function isEqual(field: AnyField, a: DataView, aAt: number, b: DataView, bAt: number): boolean {
  if (field.kind === "number") return field.get(a, aAt) === field.get(b, bAt);
  if (field.kind === "half64") {
    return field.hi.get(a, aAt) === field.hi.get(b, bAt) && field.lo.get(a, aAt) === field.lo.get(b, bAt);
  }
  const other = field.get(b, bAt);
  return field.get(a, aAt).every((byte, i) => byte === other[i]);
}
