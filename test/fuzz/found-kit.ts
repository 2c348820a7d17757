// What tests of found cases share.

import assert from "node:assert/strict";
import type { Buffer64, Guest } from "../in-process/pair.ts";

const PAGE = 4096;

/** Syndromes of the completions that have come, oldest first. */
export const syndromes = (guest: Guest): number[] => guest.cq.poll().map(({ syndrome }) => syndrome);

/** Clears the present bit of the MTT of a region's page: keys and bounds are right, but no memory is there. */
export function takePageAway(guest: Guest, buffer: Buffer64, page: number): void {
  const { regions, icm, dma } = guest.node.hca.adapter;
  const address = (regions.at(regions.find(buffer.region.lkey))?.mttAddress ?? 0) + 8 * page;
  assert.ok(icm.locate(Math.floor(address / PAGE), address % PAGE));
  dma.memory.view.setUint32(dma.at + 4, 0);
}
