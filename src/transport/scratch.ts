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

/** A side of a transfer that is not set yet. */
export const newParty = (): MemoryParty => new MemoryParty(noRegions, nowhere);
