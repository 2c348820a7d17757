// Words of `vhca hca show`: numbers, rings, keys, and lists that are cut.

import type { Listing } from "../../base/inspect.ts";
import { hex } from "../../base/names.ts";
import type { RingView } from "../../control/api.ts";
import { bytesText, dim } from "../output.ts";

/** Columns that everything keeps to. */
export const WIDTH = 100;

/** A number as the specification prints it and as the programs in the guest do. */
export const numberText = (number: number): string => `${hex(number)} (${number})`;

export const indented = (lines: readonly string[], by = 2): string[] => lines.map((line) => " ".repeat(by) + line);

/** `2 posted of 64, at 17`; a count that the ring cannot hold is the driver's mistake. */
export function ringText({ size, head, posted }: RingView): string {
  const count = posted > size ? `${posted} posted (more than it holds)` : `${posted} posted`;
  return `${count} of ${size}, at ${head}`;
}

/** Whether and for what a CQ is armed. */
export const armedText = (armed: string): string => (armed === "NONE" ? "no" : armed.toLowerCase());

const EVERYTHING = 2 ** 63;
export const lengthText = (bytes: number): string => (bytes >= EVERYTHING ? "everything" : bytesText(bytes));

const accessNames: Readonly<Record<string, string>> = {
  LOCAL_READ: "r",
  LOCAL_WRITE: "w",
  REMOTE_READ: "r",
  REMOTE_WRITE: "w",
  REMOTE_ATOMIC: "a",
};

/** `local rw, remote rwa`. */
export function accessText(access: readonly string[]): string {
  const of = (side: string): string =>
    access
      .filter((name) => name.startsWith(side))
      .map((name) => accessNames[name] ?? name)
      .join("");
  const parts = [
    ["local", of("LOCAL")],
    ["remote", of("REMOTE")],
  ].filter(([, rights]) => rights !== "");
  return parts.length === 0 ? "none" : parts.map((part) => part.join(" ")).join(", ");
}

/** The line below a list that leaves something out; nothing if it does not. */
export function moreText(listing: Listing<unknown>, isAll: boolean): string[] {
  if (!listing.isCut) return [];
  const left = listing.count - listing.items.length;
  return [dim(isAll ? `… and ${left} more (so many are not listed)` : `… and ${left} more (--all)`)];
}

const NS_PER_MS = 1e6;
export const millisText = (ns: number): string => `${(ns / NS_PER_MS).toFixed(ns < 10 * NS_PER_MS ? 1 : 0)} ms`;
