// How many 8-byte writes a second one engine thread carries out.

import { type Group, scaled } from "../context.ts";
import { atLeast, type Figure, ratioAtLeast } from "../figure.ts";
import { type Lane, Lanes } from "../lanes.ts";
import { WRITES_PER_BATCH, writeRate } from "../loops.ts";
import { median } from "../statistics.ts";

const BATCHES = 100_000;
const WARM_UP_BATCHES = 20_000;
const MILLION = 1e6;

/** Millions of writes a second. */
function rateOf(lane: Lane<undefined>, batches: number): number {
  const ns = Lanes.run(lane, (link) => writeRate(link, batches));
  return ((batches * WRITES_PER_BATCH) / ns) * (1e9 / MILLION);
}

export const rate: Group = {
  name: "rate",
  summary: "8 B writes per second, hundreds of them under way",
  async measure(context) {
    const lanes = await Lanes.open(context, { prepare: () => ({ value: undefined, near: [], far: [] }) });
    try {
      const batches = scaled(context, BATCHES);
      const engine: number[] = [];
      const c: number[] = [];
      for (const lane of lanes.all) rateOf(lane, scaled(context, WARM_UP_BATCHES));
      for (let round = 1; round <= context.rounds; round++) {
        context.show(`rate, round ${round} of ${context.rounds}`);
        engine.push(rateOf(lanes.engine, batches));
        if (lanes.c !== undefined) c.push(rateOf(lanes.c, batches));
      }
      const value = median(engine);
      const figures: Figure[] = [{ name: "8 B writes", value, unit: "M/s", goal: atLeast(8, "M/s") }];
      if (lanes.c === undefined) return figures;
      const reference = { name: "C engine", value: median(c) };
      return [...figures, { name: "8 B writes against C", value, unit: "M/s", reference, goal: ratioAtLeast(0.4) }];
    } finally {
      await lanes.close();
    }
  },
};
