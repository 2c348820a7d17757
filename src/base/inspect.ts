// Live objects as plain values: what can be said of a device is made into numbers, strings, lists and records that survive
// JSON and a message between threads. Cold code only.

import type { LayoutInfo } from "./layout.ts";

/** Objects of one kind: as many as were asked for, and how many there are. */
export interface Listing<T> {
  readonly count: number;
  /** True if `items` leaves some out. */
  readonly isCut: boolean;
  readonly items: T[];
}

/** A part of a listing, made in one go; `next` is where the following part begins. */
export interface Page<T> {
  readonly count: number;
  readonly items: T[];
  readonly next: number | undefined;
}

/** What was asked for does not exist; the message says what does. */
export class NotFoundError extends Error {}

/** What was asked for cannot be done as it was asked; the message says why and how to mend it. */
export class RefusedError extends Error {}

/** Two 32-bit halves as one hexadecimal number. */
export function hex64(hi: number, lo: number): string {
  return `0x${(((BigInt(hi) & 0xffffffffn) << 32n) | (BigInt(lo) & 0xffffffffn)).toString(16)}`;
}

/** A byte address below 2^53 in hexadecimal. */
export const addressText = (address: number): string => `0x${address.toString(16)}`;

/** A GID as eight groups of four digits, the way the diagnostic tools print it. */
export function gidText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
  return text.replace(/(.{4})(?=.)/g, "$1:");
}

/** Every field of a record by its name; 64-bit quantities and runs of bytes as hexadecimal text. */
export function describeRecord(of: { readonly info: LayoutInfo }, view: DataView, at: number): Record<string, number | string> {
  const out: Record<string, number | string> = {};
  for (const [name, field] of of.info.fields) {
    if (field.kind === "number") out[name] = field.get(view, at);
    else if (field.kind === "half64") out[name] = hex64(field.hi.get(view, at), field.lo.get(view, at));
    else out[name] = field.length === 16 ? gidText(field.get(view, at)) : Buffer.from(field.get(view, at)).toString("hex");
  }
  return out;
}
