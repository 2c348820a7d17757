// MTU and rate codes with an order, and the selectors that choose among them. IBA vol 1, 15.2.5.16 (PathRecord) and 9.2.

import { Mtu } from "../../spec/ib/numbers.ts";
import { Selector } from "../../spec/mad/numbers.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";

/** Rate codes of SA records by megabits per second, slowest first. */
const RATES: readonly (readonly [code: number, megabits: number])[] = [
  [2, 2_500],
  [5, 5_000],
  [3, 10_000],
  [6, 20_000],
  [4, 30_000],
  [7, 40_000],
  [8, 60_000],
  [9, 80_000],
  [10, 120_000],
];
export const RATE_10_GBPS = 3;
/** Codes of rates that records here do not name. */
const FOREIGN_RATES: ReadonlyMap<number, number> = new Map([
  [11, 14_062],
  [12, 56_250],
  [13, 112_500],
  [14, 168_750],
  [15, 25_781],
  [16, 103_125],
  [17, 206_250],
  [18, 309_375],
  [19, 28_125],
  [20, 53_125],
  [21, 425_000],
  [22, 637_500],
  [23, 850_000],
  [24, 1_275_000],
]);

const LANES: Readonly<Record<number, number>> = { 1: 1, 2: 4, 4: 8, 8: 12, 16: 2 };
/** Of FDR to NDR; records name the next lower of the rates above. */
const EXTENDED_LANE_MEGABITS: Readonly<Record<number, number>> = { 1: 14_062, 2: 25_781, 4: 53_125, 8: 106_250 };
const LANE_MEGABITS: Readonly<Record<number, number>> = { 1: 2_500, 2: 5_000, 4: 10_000 };

/** Position of a rate code in the order of speed, halfway between two for one that no link here has; -1 for what is no rate. */
export function rateRank(code: number): number {
  const foreign = FOREIGN_RATES.get(code);
  if (foreign === undefined) return RATES.findIndex(([other]) => other === code);
  return RATES.filter(([, megabits]) => megabits < foreign).length - 0.5;
}

/** Rate code at a position in the order of speed. */
export const rateAt = (rank: number): number => RATES[rank]?.[0] ?? 0;

/** Rank of the rate of a link, by one end's PortInfo. */
export function linkRateRank(info: DataView): number {
  const lanes = LANES[PortInfo.linkWidthActive.get(info, 0)] ?? 1;
  const extended = EXTENDED_LANE_MEGABITS[PortInfo.linkSpeedExtActive.get(info, 0)];
  const megabits = lanes * (extended ?? LANE_MEGABITS[PortInfo.linkSpeedActive.get(info, 0)] ?? LANE_MEGABITS[1] ?? 0);
  let rank = 0;
  RATES.forEach(([, other], i) => {
    if (other <= megabits) rank = i;
  });
  return rank;
}

/**
 * The value that fits a selector on a path that can do up to `best`: what is slower than the path is always possible.
 * @param wanted negative for something that does not exist
 * @returns undefined if nothing fits.
 */
export function choose(selector: number, wanted: number, best: number, lowest: number): number | undefined {
  switch (selector) {
    case Selector.GREATER:
      return wanted >= 0 && best > wanted ? best : undefined;
    case Selector.LESS:
      return fit(Math.min(best, Math.ceil(wanted) - 1), lowest);
    case Selector.EXACTLY:
      return best >= wanted && Number.isInteger(wanted) ? fit(wanted, lowest) : undefined;
    default:
      return best;
  }
}

const fit = (value: number, lowest: number): number | undefined => (value >= lowest ? value : undefined);

/** The same for lifetimes, where longer is always possible. */
export function chooseLifeTime(selector: number, wanted: number, shortest: number): number | undefined {
  switch (selector) {
    case Selector.GREATER:
      return Math.max(shortest, wanted + 1);
    case Selector.LESS:
      return shortest < wanted ? shortest : undefined;
    case Selector.EXACTLY:
      return shortest <= wanted ? wanted : undefined;
    default:
      return shortest;
  }
}

export const LOWEST_MTU: number = Mtu.MTU_256;
