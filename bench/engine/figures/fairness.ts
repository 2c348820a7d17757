// One guest writes messages of 1 GiB, another one 8 bytes at a time: how long must the small ones wait?

import { PAGE_BYTES } from "../../../src/driver/dma-heap.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { Domain } from "../domain.ts";
import { atMost, type Figure } from "../figure.ts";
import { bootGuests, type Guest } from "../guest.ts";
import { type End, joinGuests, type Link } from "../link.ts";
import { clockCostNs, drain, postWrite, writeLatency } from "../loops.ts";
import { newPages, PageRegion } from "../page-region.ts";
import { quantile, sorted } from "../statistics.ts";

const NAMES = ["n1", "n2", "n3", "n4"];
const GIB = 2 ** 30;
/** Memory behind each GiB: its pages come again and again, since only the copying counts. */
const BACKED_BYTES = 64 * 2 ** 20;
const LARGE_IN_FLIGHT = 2;
/** Small writes between two looks at the large ones. */
const BURST = 16;
const BURSTS = 6000;
const WARM_UP_BURSTS = 500;
const NS_PER_US = 1000;

function largeRegion({ guest, region }: End): PageRegion {
  const pages = newPages(guest.device, BACKED_BYTES);
  const repeated = Array.from({ length: GIB / PAGE_BYTES }, (_, i) => pages[i % pages.length] ?? 0);
  return new PageRegion(guest.device, region.pd, repeated);
}

/** Keeps messages of 1 GiB under way. */
class LargeWrites {
  readonly #near: End;
  readonly #from: PageRegion;
  readonly #to: PageRegion;
  #posted = 0;
  done = 0;

  constructor({ near, far }: Link) {
    this.#near = near;
    this.#from = largeRegion(near);
    this.#to = largeRegion(far);
  }

  /** Posts as many as may be under way. */
  tend(): void {
    while (this.#near.cq.peek()) this.#take();
    for (; this.#posted - this.done < LARGE_IN_FLIGHT; this.#posted++) postWrite(this.#near, this.#from, this.#to, 0, GIB);
  }

  /** Waits for those that are under way. */
  finish(): void {
    drain(this.#near.cq, this.#posted - this.done);
    this.done = this.#posted;
  }

  #take(): void {
    drain(this.#near.cq, 1);
    this.done++;
  }
}

/** Small writes while `between` is called now and then; all their times. */
function smallWrites(link: Link, bursts: number, between: () => void): Float64Array {
  const all = new Float64Array(bursts * BURST);
  for (let i = 0; i < bursts; i++) {
    between();
    writeLatency(link, all.subarray(i * BURST, (i + 1) * BURST));
  }
  return all;
}

async function measureFairness(context: BenchContext, domain: Domain): Promise<Figure[]> {
  const guests = await bootGuests(domain, NAMES, { memoryMiB: 128, mtts: 2 ** 19 });
  const [a, b, c, d] = guests as [Guest, Guest, Guest, Guest];
  const small = joinGuests(a, b);
  const large = new LargeWrites(joinGuests(c, d));
  const bursts = scaled(context, BURSTS);
  context.show("8 B writes alone");
  smallWrites(small, WARM_UP_BURSTS, () => {});
  const alone = sorted([smallWrites(small, bursts, () => {})]);
  context.show("8 B writes beside messages of 1 GiB");
  smallWrites(small, WARM_UP_BURSTS, () => large.tend());
  const before = performance.now();
  const doneBefore = large.done;
  const beside = sorted([smallWrites(small, bursts, () => large.tend())]);
  const gigabytes = ((large.done - doneBefore) * GIB) / ((performance.now() - before) * 1e6);
  large.finish();
  for (const guest of guests) guest.access.close();
  const clockNs = clockCostNs();
  const at = (samples: Float64Array, fraction: number): number => (quantile(samples, fraction) - clockNs) / NS_PER_US;
  const row = (label: string, fraction: number): Figure => ({
    name: `8 B write beside another guest's 1 GiB writes, ${label}`,
    value: at(beside, fraction),
    unit: "µs",
    reference: { name: "alone", value: at(alone, fraction) },
  });
  return [
    row("p50", 0.5),
    { ...row("p99", 0.99), goal: atMost(20, "µs") },
    row("p99.9", 0.999),
    { name: "what the 1 GiB writes get meanwhile", value: gigabytes, unit: "GB/s" },
  ];
}

export const fairness: Group = {
  name: "fairness",
  summary: "8 B writes of one guest while another writes messages of 1 GiB",
  async measure(context) {
    context.show("starting the device domain");
    const domain = await Domain.start(NAMES);
    try {
      return await measureFairness(context, domain);
    } finally {
      await domain.stop();
    }
  },
};
