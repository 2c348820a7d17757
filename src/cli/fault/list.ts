// Faults in words.

import { formatDuration } from "../../base/duration.ts";
import type { ActiveFault, Fault, FaultCounts, FaultsView } from "../../domain/faults/operations.ts";
import type { LinkView } from "../../fabric/inspect-links.ts";
import type { CommonOptions } from "../fabric/common.ts";
import { endText } from "../fabric/graph.ts";
import { countsText, faultsText, partText } from "../fabric/states.ts";
import { alignColumns, dim, printJson, printLine } from "../output.ts";

export function printFaults(view: FaultsView, { json }: CommonOptions): void {
  if (json === true) {
    printJson(view);
    return;
  }
  if (view.active.length === 0) printLine("Nothing is wrong on purpose.");
  for (const line of alignColumns(view.active.map(activeWords))) printLine(line);
  const { plan } = view;
  if (plan !== undefined && plan.done < plan.total)
    printLine(`A schedule runs: ${plan.done} of ${plan.total} done, seed ${plan.seed}.`);
  printLine(dim(countsLine(view.counts)));
}

function activeWords(fault: ActiveFault): string[] {
  switch (fault.kind) {
    case "spoil":
      return [
        cableText(fault.link),
        [faultsText(fault.link.faults), countsText(fault.link.counts)].filter((text) => text !== "").join("; "),
        leftText(fault.leftNs),
      ];
    case "pull":
      return [cableText(fault.link), "pulled", leftText(fault.leftNs)];
    case "flap":
      return [fault.end, `flaps, ${fault.isDown ? "down" : "up"} now`, `${fault.timesLeft} to go`];
    case "freeze":
      return [`HCA ${fault.hca}`, "frozen", leftText(fault.leftNs)];
    case "sm":
      return ["subnet manager", "dead", leftText(fault.leftNs)];
  }
}

const cableText = ({ a, b }: LinkView): string => `${endText(a)} ── ${endText(b)}`;
const leftText = (leftNs: number | undefined): string => (leftNs === undefined ? "" : `for ${formatDuration(leftNs)} more`);

function countsLine(counts: FaultCounts): string {
  const { cablesSpoiled, cablesPulled, freezes, managerDeaths, lost, corrupted, delayed } = counts;
  return (
    `Since the start: cables made bad ${cablesSpoiled}, pulled ${cablesPulled}; HCAs frozen ${freezes}; subnet manager died ${managerDeaths}; ` +
    `packets lost ${lost}, corrupted ${corrupted}, delayed ${delayed}.`
  );
}

/** One step of a schedule: `flap leaf1:3, 3 times 200ms down and 1s up`. */
export function faultText(fault: Fault): string {
  const time = "forNs" in fault && fault.forNs !== undefined ? ` for ${formatDuration(fault.forNs)}` : "";
  switch (fault.kind) {
    case "spoil": {
      const { loss = 0, corruption = 0, delayNs = 0 } = fault.faults;
      return `${fault.end}: ${faultsText({ loss, corruption, delayNs }) || partText(0)}${time}`;
    }
    case "pull":
      return `${fault.end}: pulled${time}`;
    case "flap":
      return `${fault.end}: flaps, ${fault.times} times ${formatDuration(fault.downNs)} down and ${formatDuration(fault.upNs)} up`;
    case "freeze":
      return `HCA ${fault.hca}: frozen${time}`;
    case "sm":
      return `subnet manager: dead${time}`;
    case "clear":
      return `clear ${fault.what ?? "all"}`;
  }
}
