// How long a driver takes to register memory with an HCA behind a socket.

import { setTimeout as sleep } from "node:timers/promises";
import type { DmaBlock } from "../../../src/driver/dma-heap.ts";
import { Region } from "../../../src/driver/memory-region.ts";
import { type BenchContext, type Group, scaled } from "../context.ts";
import { Domain } from "../domain.ts";
import { atMost, type Figure } from "../figure.ts";
import { bootGuests, type Guest } from "../guest.ts";
import { ALL_ACCESS } from "../page-region.ts";
import { quantile, sorted } from "../statistics.ts";

const NAMES = ["n1"];
const GIB = 2 ** 30;
const SMALL_COUNT = 2000;
const LARGE_COUNT = 30;
/** Registrations in a row before a pause, so that what is measured is not the quota of commands per second. */
const BURST = 50;
const PAUSE_MS = 10;
const NS_PER_US = 1000;
const NS_PER_MS = 1e6;

/** Registers and deregisters again and again; the ns each registration took. */
async function registrations({ device }: Guest, block: DmaBlock, count: number): Promise<Float64Array> {
  const pd = device.allocatePd();
  const samples = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const before = performance.now();
    const region = new Region(device, block, { pd, access: ALL_ACCESS });
    samples[i] = (performance.now() - before) * NS_PER_MS;
    region.deregister();
    if (i % BURST === BURST - 1) await sleep(PAUSE_MS);
  }
  return sorted([samples]);
}

async function measureRegistration(context: BenchContext, domain: Domain): Promise<Figure[]> {
  const [guest] = (await bootGuests(domain, NAMES, { mtts: 2 ** 19 })) as [Guest];
  const small = guest.device.heap.allocate(4096);
  context.show("registering 4 KiB");
  await registrations(guest, small, scaled(context, SMALL_COUNT));
  const page = await registrations(guest, small, scaled(context, SMALL_COUNT));
  context.show("registering 1 GiB");
  // Pages are looked at when data move, so this registers what is not there: the work is the same.
  const large = { ...small, bytes: GIB };
  await registrations(guest, large, 2);
  const gib = await registrations(guest, large, scaled(context, LARGE_COUNT));
  guest.access.close();
  return [
    { name: "register 4 KiB, p50", value: quantile(page, 0.5) / NS_PER_US, unit: "µs", goal: atMost(60, "µs") },
    { name: "register 4 KiB, p99", value: quantile(page, 0.99) / NS_PER_US, unit: "µs" },
    { name: "register 1 GiB of 4 KiB pages, p50", value: quantile(gib, 0.5) / NS_PER_MS, unit: "ms", goal: atMost(5, "ms") },
  ];
}

export const registration: Group = {
  name: "registration",
  summary: "registering 4 KiB and 1 GiB of 4 KiB pages over the socket",
  async measure(context) {
    const domain = await Domain.start(NAMES);
    try {
      return await measureRegistration(context, domain);
    } finally {
      await domain.stop();
    }
  },
};
