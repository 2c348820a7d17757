// What the paper's idea is about, by itself: a store to the HCA's doorbell page, which goes to memory or leaves the VM.

import { readFileSync } from "node:fs";
import { parseStoreCost, runGuestProgram } from "../../lab/guest-program.ts";
import type { FigureSpec, Step } from "../plan.ts";
import { pointsOf, repeat } from "../series.ts";

export const DOORBELL: FigureSpec = {
  ...{ id: "doorbell", experiment: 3, title: "A store in a VM", kind: "bars", isLowerBetter: true },
  x: { name: "to", unit: "", scale: "linear", categories: ["doorbell page", "memory"] },
  y: { name: "time", unit: "ns", scale: "log" },
  notes: [
    "Not in the paper. A store of 8 bytes; nobody else needs the processors meanwhile, so this is the path alone, without what schedulers add.",
  ],
};

export const doorbellStep = (side: "mapped" | "trapped" | "answered"): Step => ({
  figures: [DOORBELL.id],
  side,
  place: side,
  measure: async ({ pair, effort, say }) => {
    const source = readFileSync(new URL("../../../bench/guest/store.c", import.meta.url), "utf8");
    say("tcc -run store.c");
    const samples = await repeat(effort.runs, async () => {
      const { uarNs, ramNs } = parseStoreCost(await runGuestProgram(pair.lab.node("n1"), source));
      return [
        { x: 0, y: uarNs },
        { x: 1, y: ramNs },
      ];
    });
    return [{ figure: DOORBELL.id, series: { points: pointsOf(samples), command: "tcc -run store.c" } }];
  },
});
