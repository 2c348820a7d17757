// What a device domain costs while its guests are quiet, and how long the first operation takes after that.

import { setTimeout as sleep } from "node:timers/promises";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { Domain } from "../domain.ts";
import { atMost, type Figure } from "../figure.ts";
import { bootGuests, type Guest } from "../guest.ts";
import { joinGuests } from "../link.ts";
import { writeLatency } from "../loops.ts";
import { quantile, sorted } from "../statistics.ts";

const NAMES = ["n1", "n2"];
const SETTLE_MS = 4000;
const WATCH_MS = 10_000;
const QUIET_MS = 1000;
const FIRSTS = 20;
const WARM_UP = 10_000;
const NS_PER_MS = 1e6;

/** Share of a core that the domain's process takes, in percent. */
async function cpuPercent(domain: Domain, watchMs: number): Promise<number> {
  const before = domain.cpuMs();
  const start = performance.now();
  await sleep(watchMs);
  return (100 * (domain.cpuMs() - before)) / (performance.now() - start);
}

async function measureIdle(context: BenchContext, domain: Domain): Promise<Figure[]> {
  const guests = await bootGuests(domain, NAMES);
  const link = joinGuests(...(guests as [Guest, Guest]));
  writeLatency(link, new Float64Array(WARM_UP));
  context.show("waiting for quiet");
  await sleep(SETTLE_MS);
  context.show("CPU time of a quiet domain");
  const cpu = await cpuPercent(domain, scaled(context, WATCH_MS));
  const firsts: Float64Array[] = [];
  // It has been quiet for longer than a second now.
  writeLatency(link, new Float64Array(1));
  for (let i = 0, count = scaled(context, FIRSTS); i < count; i++) {
    context.show(`first operation after a second, ${i + 1} of ${count}`);
    await sleep(QUIET_MS);
    const sample = new Float64Array(1);
    writeLatency(link, sample);
    firsts.push(sample);
  }
  const first = sorted(firsts);
  for (const guest of guests) guest.access.close();
  return [
    { name: "a quiet domain with two guests", value: cpu, unit: "% of a core", goal: atMost(2, "% of a core") },
    { name: "first write after 1 s of quiet, p50", value: quantile(first, 0.5) / NS_PER_MS, unit: "ms", goal: atMost(1, "ms") },
    { name: "first write after 1 s of quiet, worst", value: quantile(first, 1) / NS_PER_MS, unit: "ms" },
  ];
}

export const idle: Group = {
  name: "idle",
  summary: "CPU time of a quiet domain, first operation after a second of quiet",
  async measure(context) {
    const domain = await Domain.start(NAMES);
    try {
      return await measureIdle(context, domain);
    } finally {
      await domain.stop();
    }
  },
};
