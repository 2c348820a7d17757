// How long a packet takes to leave a port, and what its lanes may wait. IBA vol 1, 7.6.9, 14.2.5.6, 18.2.5.4.

import { LinkSpeed, LinkSpeedExt, LinkWidth } from "../../spec/mad/numbers.ts";
import { PortInfo } from "../../spec/mad/sm-attributes.ts";

const LANES: Readonly<Record<number, number>> = {
  [LinkWidth.W1X]: 1,
  [LinkWidth.W2X]: 2,
  [LinkWidth.W4X]: 4,
  [LinkWidth.W8X]: 8,
  [LinkWidth.W12X]: 12,
};
/** Signalling rate of a lane, and the part of it that is data: 8 of 10 bits up to QDR, 64 of 66 since (vol 2, 5.2, 5.3). */
const GBPS: Readonly<Record<number, number>> = { [LinkSpeed.SDR]: 2.5, [LinkSpeed.DDR]: 5, [LinkSpeed.QDR]: 10 };
const EXTENDED_GBPS: Readonly<Record<number, number>> = {
  [LinkSpeedExt.FDR]: 14.0625,
  [LinkSpeedExt.EDR]: 25.78125,
  [LinkSpeedExt.HDR]: 53.125,
  [LinkSpeedExt.NDR]: 106.25,
};
const BITS_PER_BYTE = 8;
const LIFE_UNIT_NS = 4096;
/** Higher values mean for ever (14.2.5.4, LifeTimeValue; 14.2.5.6, HOQLife). */
const LAST_LIFE = 19;

/** Data that the link of a port carries, in bytes per nanosecond; 0 while it is down. */
export function bytesPerNs(info: DataView): number {
  const lanes = LANES[PortInfo.linkWidthActive.get(info, 0)] ?? 0;
  const extended = EXTENDED_GBPS[PortInfo.linkSpeedExtActive.get(info, 0)];
  const gbps = extended === undefined ? ((GBPS[PortInfo.linkSpeedActive.get(info, 0)] ?? 0) * 8) / 10 : (extended * 64) / 66;
  return (lanes * gbps) / BITS_PER_BYTE;
}

/** Data lanes in force: codes 1 to 5 say 1, 2, 4, 8, 15 (14.2.5.6, OperationalVLs). */
export function dataLanes(info: DataView): number {
  const code = PortInfo.operationalVls.get(info, 0);
  return code >= 5 ? 15 : 1 << Math.max(0, code - 1);
}

/** The shortest that is at least so long: HOQLife or LifeTimeValue. */
export const lifeCode = (ns: number): number =>
  Math.min(LAST_LIFE + 1, Math.max(0, Math.ceil(Math.log2(Math.max(1, ns) / LIFE_UNIT_NS))));

/** What HOQLife or LifeTimeValue say: 4.096 µs × 2^value. */
export const lifeNs = (value: number): number => (value > LAST_LIFE ? Number.POSITIVE_INFINITY : LIFE_UNIT_NS * 2 ** value);
