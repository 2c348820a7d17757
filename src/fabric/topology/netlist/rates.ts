// Lanes and bit rates in a netlist. Every port has masks of what is enabled, as in PortInfo (IBA vol 1, 14.2.5.6); a cable has the most that both
// of its ends have.
//
//   width=3  speed=7  extspeed=1         for the ports of the nodes that follow; 4X, SDR and none if nothing is said, as in ibsim
//   [1] "Hca1"[1] w=2 s=3 e=0            for a port
//   [1] "Hca1"[1] # "name" lid 4 4xEDR   as ibnetdiscover prints what a cable had: that and everything below

import { LinkSpeed, LinkSpeedExt, LinkWidth } from "../../../spec/mad/numbers.ts";
import { SPEEDS, type SpeedName, WIDTHS, type WidthName } from "../topology.ts";

/** Bits of LinkWidthEnabled, LinkSpeedEnabled and LinkSpeedExtEnabled. */
export interface PortRates {
  readonly widths: number;
  readonly speeds: number;
  readonly extended: number;
}

export const DEFAULT_RATES: PortRates = { widths: LinkWidth.W4X, speeds: LinkSpeed.SDR, extended: 0 };

const EVERY_SPEED = LinkSpeed.SDR | LinkSpeed.DDR | LinkSpeed.QDR;
const LANES: Readonly<Record<string, number>> = {
  1: LinkWidth.W1X,
  2: LinkWidth.W2X,
  4: LinkWidth.W1X | LinkWidth.W4X,
  8: LinkWidth.W8X,
  12: LinkWidth.W1X | LinkWidth.W4X | LinkWidth.W12X,
};
/** FDR10 is not in PortInfo, which shows QDR then. */
const BIT_RATES: Readonly<Record<string, Partial<PortRates>>> = {
  SDR: { speeds: LinkSpeed.SDR },
  DDR: { speeds: LinkSpeed.SDR | LinkSpeed.DDR },
  QDR: { speeds: EVERY_SPEED },
  FDR10: { speeds: EVERY_SPEED },
  FDR: { speeds: EVERY_SPEED, extended: LinkSpeedExt.FDR },
  EDR: { speeds: EVERY_SPEED, extended: LinkSpeedExt.FDR | LinkSpeedExt.EDR },
  HDR: { speeds: EVERY_SPEED, extended: LinkSpeedExt.FDR | LinkSpeedExt.EDR | LinkSpeedExt.HDR },
  NDR: { speeds: EVERY_SPEED, extended: LinkSpeedExt.FDR | LinkSpeedExt.EDR | LinkSpeedExt.HDR | LinkSpeedExt.NDR },
};

/** The masks that can be set: their statement, the letter of their option, the highest value and the lowest. */
const MASKS = [
  { key: "widths", statement: "width", letter: "w", min: 1, max: 31 },
  { key: "speeds", statement: "speed", letter: "s", min: 1, max: 7 },
  { key: "extended", statement: "extspeed", letter: "e", min: 0, max: 15 },
] as const;

/**
 * `width=`, `speed=` or `extspeed=`, or an option of a port.
 * @param name the statement, or the letter
 * @returns the masks with that one changed, undefined if no mask is called so, or what is wrong with it
 */
export function withMask(rates: PortRates, name: string, value: number): PortRates | string | undefined {
  const mask = MASKS.find(({ statement, letter }) => name === statement || name === letter);
  if (mask === undefined) return undefined;
  const { key, letter, min, max } = mask;
  const meant = name === letter && letter === "s" && value === 0 ? LinkSpeed.QDR : value;
  return meant < min || meant > max
    ? `${name}=: expected a mask from ${min} to ${max}, got ${value}`
    : { ...rates, [key]: meant };
}

/** What ibnetdiscover says of a cable, at the end of a line: `4xEDR`. */
const RATE = /\b(\d+)x([A-Z]+\d*)\b[^"]*$/;

/** The masks of a port after what its line says behind the name of the other end. */
export function ratesOf(rest: string, before: PortRates): PortRates | string {
  let rates = before;
  for (const [, letter = "", value] of rest.replace(/"[^"]*"/g, "").matchAll(/([a-zA-Z])[^a-zA-Z=]*=\s*(0x[0-9a-fA-F]+|\d+)?/g)) {
    const changed = withMask(rates, letter, Number(value ?? 0));
    if (typeof changed === "string") return changed;
    rates = changed ?? rates;
  }
  const [, lanes = "", bitRate = ""] = RATE.exec(rest) ?? [];
  if (Object.hasOwn(LANES, lanes)) rates = { ...rates, widths: LANES[lanes] ?? rates.widths };
  return Object.hasOwn(BIT_RATES, bitRate) ? { ...rates, ...BIT_RATES[bitRate] } : rates;
}

const WIDEST_FIRST: readonly WidthName[] = ["12X", "8X", "4X", "2X", "1X"];
const EXTENDED_FIRST = [
  ["NDR", LinkSpeedExt.NDR],
  ["HDR", LinkSpeedExt.HDR],
  ["EDR", LinkSpeedExt.EDR],
  ["FDR", LinkSpeedExt.FDR],
] as const;
const FASTEST_FIRST = ["QDR", "DDR", "SDR"] as const;

/** What a cable between two ports comes up with, or why it does not. */
export function rateBetween(a: PortRates, b: PortRates): { width: WidthName; speed: SpeedName } | string {
  const width = WIDEST_FIRST.find((name) => (a.widths & b.widths & WIDTHS[name]) !== 0);
  const basic = FASTEST_FIRST.find((name) => (a.speeds & b.speeds & SPEEDS[name]) !== 0);
  if (width === undefined) return `widths ${a.widths} and ${b.widths} have nothing in common; enable one at both ends`;
  if (basic === undefined) return `speeds ${a.speeds} and ${b.speeds} have nothing in common; enable one at both ends`;
  const extended = EXTENDED_FIRST.find(([, bit]) => (a.extended & b.extended & bit) !== 0);
  return { width, speed: extended?.[0] ?? basic };
}
