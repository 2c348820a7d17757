// Scratch objects of the engine, made once. An engine is one thread and does one thing at a time.

import { AddressSpace } from "../base/address-space.ts";
import { newMemory } from "../base/bytes.ts";
import { Icm } from "./icm.ts";
import { RegionTable } from "./memory.ts";
import { MemoryParty } from "./scatter-list.ts";

/** Memory that stands where there is none. */
export const nowhere = newMemory(8);

const noDma = new AddressSpace(nowhere);
const noRegions = new RegionTable(noDma, new Icm(noDma));

const parties: MemoryParty[] = [];

/** A side of a transfer that is not set yet, for as long as the engine runs. */
export function newParty(): MemoryParty {
  const party = new MemoryParty(noRegions, nowhere);
  parties.push(party);
  return party;
}

/** Lets go of all memory, for between two transfers: it may be that of a guest that has gone. */
export function forgetParties(): void {
  for (const party of parties) party.forget();
}
