// Registered memory of every shape for the differential test: contiguous and scattered pages, starts inside a page, bounds inside
// a page, large pages, addresses across 4 GiB, missing rights, missing pages, keys taken back. Docs "infinihost" 4.5, 3.4.

import type { Random } from "../../src/base/random.ts";
import { Region } from "../../src/driver/memory-region.ts";
import { MTT_BYTES, MTT_PRESENT } from "../../src/spec/hca/contexts.ts";
import type { Guest } from "../in-process/pair.ts";
import { type Range, type ReferenceMemory, type RegionFacts, Right } from "./reference-memory.ts";

const PAGE = 4096;
const { LOCAL_READ, LOCAL_WRITE, REMOTE_READ, REMOTE_WRITE, REMOTE_ATOMIC } = Right;
const ALL = LOCAL_READ | LOCAL_WRITE | REMOTE_READ | REMOTE_WRITE | REMOTE_ATOMIC;

/** Pages and rights of each kind. Messages that must succeed use the first two. */
const KINDS = {
  wide: { pages: 40, rights: ALL },
  small: { pages: 3, rights: ALL },
  readonly: { pages: 2, rights: LOCAL_READ | REMOTE_READ },
  local: { pages: 2, rights: LOCAL_READ | LOCAL_WRITE },
  noAtomic: { pages: 2, rights: ALL & ~REMOTE_ATOMIC },
  foreign: { pages: 2, rights: ALL },
  holey: { pages: 3, rights: ALL },
  gone: { pages: 1, rights: ALL },
} as const;
export type Kind = keyof typeof KINDS;
export const BAD_KINDS: readonly Kind[] = ["readonly", "local", "noAtomic", "foreign", "holey", "gone"];

/** A set of regions that one direction of one connection has for itself at one end. */
export type Arena = Readonly<Record<Kind, RegionFacts>>;

export function newArena(random: Random, guest: Guest, memory: ReferenceMemory): Arena {
  const arena = {} as Record<Kind, RegionFacts>;
  for (const kind of Object.keys(KINDS) as Kind[]) arena[kind] = newRegion(random, guest, memory, kind);
  return arena;
}

/** A range of a region; it may leave it. */
export const rangeOf = ({ key, start }: RegionFacts, offset: number, length: number): Range => ({
  key,
  address: start + BigInt(offset),
  length,
});

function newRegion(random: Random, guest: Guest, memory: ReferenceMemory, kind: Kind): RegionFacts {
  const { rights, pages } = KINDS[kind];
  const { device, pd } = guest;
  const pageBytes = random.chance(0.2) ? 2 * PAGE : PAGE;
  const count = Math.max(kind === "holey" ? 2 : 1, Math.ceil((pages * PAGE) / pageBytes));
  const block = device.heap.allocate(count * pageBytes, pageBytes);
  const skipped = random.pick([0, 0, 8, 4088, random.below(512) * 8]);
  const cut = random.pick([0, 0, 8, random.below(PAGE - 16)]);
  const start = firstPage(random, pageBytes) + BigInt(skipped);
  const length = count * pageBytes - skipped - (count * pageBytes > skipped + cut + 64 ? cut : 0);
  const ownPd = kind === "foreign" ? device.allocatePd() : pd;
  const region = new Region(device, block, { pd: ownPd, access: rights, virtualAddress: start, length, pageBytes });
  const bytes = guest.node.access.memory.bytes;
  for (let at = block.at; at < block.at + block.bytes; at += 4) bytes.writeUInt32LE(random.u32(), at);
  const order = pageOrder(random, count);
  const places = order.map((page) => block.at + page * pageBytes);
  const hole = kind === "holey" ? 1 : -1;
  const facts = { key: region.lkey, pd: ownPd, rights: rights | LOCAL_READ, start, length, pageBytes };
  places.forEach((place, i) => {
    writeMtt(guest, region.mttAddress + i * MTT_BYTES, (guest.node.access.dmaBase + place) | (i === hole ? 0 : MTT_PRESENT));
  });
  const registered = { ...facts, pages: places.map((place, i) => (i === hole ? undefined : place)) };
  if (kind === "gone") region.deregister();
  else memory.register(registered);
  return registered;
}

/** Where page 0 begins: beside a power of two where halves of an address carry over, or anywhere. */
function firstPage(random: Random, pageBytes: number): bigint {
  const page = BigInt(pageBytes);
  const below = page * BigInt(random.below(4));
  if (random.chance(0.3)) return 2n ** 32n - below;
  if (random.chance(0.2)) return 2n ** BigInt(33 + random.below(29)) - below;
  return page * BigInt(1 + random.below(2 ** 24));
}

/** In a row, at random, or in runs. */
function pageOrder(random: Random, count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  const swaps = random.pick([0, 1, 2, count * 2]);
  for (let n = 0; n < swaps; n++) {
    const [a, b] = [random.below(count), random.below(count)];
    [order[a], order[b]] = [order[b] ?? 0, order[a] ?? 0];
  }
  return order;
}

function writeMtt({ device }: Guest, address: number, value: number): void {
  const { view } = device.access.memory;
  view.setUint32(device.icm.mttAt(address), 0);
  view.setUint32(device.icm.mttAt(address) + 4, value);
}
