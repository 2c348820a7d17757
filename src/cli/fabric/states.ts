// States of links in words: nothing is said of a link that works.

import { formatDuration } from "../../base/duration.ts";
import type { LinkView } from "../../fabric/inspect-links.ts";
import type { LinkCounts, LinkFaults } from "../../fabric/link-faults.ts";

/** `4X DDR` and what is wrong: `4X DDR INIT`, `PULLED`. */
export function linkText(link: LinkView): string {
  return [rateText(link), troubleText(link)].filter((text) => text !== "").join(" ");
}

export const rateText = ({ width, speed }: LinkView): string => (width === "" ? "" : `${width} ${speed}`);

/** What keeps data from passing, or harms it; "" for nothing. */
export function troubleText(link: LinkView): string {
  const state = stateText(link) === "ACTIVE" ? "" : stateText(link);
  return [state, faultsText(link.faults)].filter((text) => text !== "").join(" ");
}

/** `loss 1%, delay 5us`. */
export function faultsText(faults: LinkFaults | undefined): string {
  if (faults === undefined) return "";
  const { loss, corruption, delayNs } = faults;
  const texts = [loss > 0 ? `loss ${partText(loss)}` : "", corruption > 0 ? `corruption ${partText(corruption)}` : ""];
  return [...texts, delayNs > 0 ? `delay ${formatDuration(delayNs)}` : ""].filter((text) => text !== "").join(", ");
}

/** A part of 1 as a percentage. */
export const partText = (part: number): string => `${Number((part * 100).toPrecision(4))}%`;

/** What a cable has done to packets; "" for nothing. */
export const countsText = (counts: LinkCounts): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");

/** ACTIVE, or what is in the way: the link itself, or the state of the end that is behind. */
export function stateText({ state, a, b }: LinkView): string {
  if (state !== "UP") return state;
  for (const wanted of ["DOWN", "INIT", "ARMED"]) if (a.state === wanted || b.state === wanted) return wanted;
  return a.state;
}
