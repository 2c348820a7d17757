// What is wrong with a cable: it loses packets, corrupts them, or is long. A corrupted packet arrives and fails its CRC there, so its
// receiver drops and counts it (IBA vol 1, 7.8 and 16.1.3.5, PortRcvErrors); of a lost one nobody hears.

import type { Random } from "../base/random.ts";
import type { Link } from "./link.ts";
import type { Port } from "./port.ts";
import { countPhysicalError } from "./port-counts.ts";

export interface LinkFaults {
  /** Part of the packets that get lost, 0 to 1. */
  readonly loss: number;
  /** Part of the others that arrive with a wrong CRC, 0 to 1. */
  readonly corruption: number;
  /** Time that a packet takes, one way. */
  readonly delayNs: number;
}

/** What a cable has done to packets, both ways. */
export interface LinkCounts {
  lost: number;
  corrupted: number;
  delayed: number;
}

export const NO_FAULTS: LinkFaults = { loss: 0, corruption: 0, delayNs: 0 };
/** Longer than any of the time-outs of a subnet manager, or of RC, that are in use. */
export const MAX_DELAY_NS = 10e9;

/** What became of a packet instead of a time that it takes. */
export const LOST = -1;

/**
 * One packet through a cable: management or data, it is decided and counted here. Returns the nanoseconds that it takes, or LOST.
 * @param arrival port at the other end, which drops and counts what arrives broken
 */
export function crossCable(link: Link, arrival: Port, random: Random): number {
  const { faults } = link;
  if (faults === undefined) return 0;
  if (faults.loss > 0 && random.chance(faults.loss)) {
    link.note("lost");
    return LOST;
  }
  if (faults.corruption > 0 && random.chance(faults.corruption)) {
    link.note("corrupted");
    countPhysicalError(arrival);
    return LOST;
  }
  if (faults.delayNs > 0) link.note("delayed");
  return faults.delayNs;
}

/** What is wrong with these values, or undefined. */
export function faultsProblem({ loss, corruption, delayNs }: LinkFaults): string | undefined {
  for (const [name, part] of Object.entries({ loss, corruption }))
    if (!(part >= 0 && part <= 1)) return `${name}: expected a part of 1, from 0 to 1, got ${part}`;
  if (Number.isSafeInteger(delayNs) && delayNs >= 0 && delayNs <= MAX_DELAY_NS) return undefined;
  return `delay: expected 0 ns to ${MAX_DELAY_NS / 1e9} s, got ${delayNs} ns`;
}

export const isFaulty = ({ loss, corruption, delayNs }: LinkFaults): boolean => loss > 0 || corruption > 0 || delayNs > 0;
