// The two checksums of a packet. IBA vol 1, 7.8.1 (ICRC: what does not change on the way, end to end), 7.8.2 (VCRC: everything, link by
// link). Packets in memory carry none; they get them where they leave for a wire, or a capture file.

import { Grh, ICRC_BYTES, Lrh, LrhNextHeader, VCRC_BYTES } from "../../spec/ib/headers.ts";

/** x^32 + x^26 + … + 1 and x^16 + x^12 + x^3 + x + 1, the lowest power first: bits go out least significant first. */
const ICRC_POLYNOMIAL = 0xedb88320;
const VCRC_POLYNOMIAL = 0xd008;
const ONES = 0xff;
/** Byte of the BTH that is reserved and counts as ones. */
const BTH_RESERVED = 4;
const VL_MASK = 0xf0;

/** Bytes that both take. */
export const CRC_BYTES = ICRC_BYTES + VCRC_BYTES;

const icrcTable = newTable(ICRC_POLYNOMIAL);
const vcrcTable = newTable(VCRC_POLYNOMIAL);

/** What eight steps of division do to each value of a byte. */
function newTable(polynomial: number): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let rest = byte;
    for (let bit = 0; bit < 8; bit++) rest = (rest & 1) === 0 ? rest >>> 1 : (rest >>> 1) ^ polynomial;
    table[byte] = rest;
  }
  return table;
}

/**
 * Writes ICRC and VCRC behind the packet of `length` bytes that begins with its LRH at `at`: `CRC_BYTES` more. Any bytes may stand there.
 */
export function writeCrcs(bytes: Uint8Array, at: number, length: number): void {
  const end = at + length;
  const icrc = icrcOf(bytes, at, length);
  for (let i = 0; i < ICRC_BYTES; i++) bytes[end + i] = icrc >>> (8 * i);
  const vcrc = vcrcOf(bytes, at, length + ICRC_BYTES);
  bytes[end + ICRC_BYTES] = vcrc;
  bytes[end + ICRC_BYTES + 1] = vcrc >>> 8;
}

/** The invariant CRC of a packet of `length` bytes from the LRH on; its lowest byte goes out first. */
export function icrcOf(bytes: Uint8Array, at: number, length: number): number {
  const end = at + length;
  const isGlobal = length > 1 && (bytes[at + 1]! & 3) === LrhNextHeader.GRH;
  const headersEnd = Math.min(end, at + Lrh.byteLength + (isGlobal ? Grh.byteLength : 0) + BTH_RESERVED + 1);
  let rest = -1;
  for (let i = at; i < headersEnd; i++) {
    rest = (rest >>> 8) ^ icrcTable[(rest ^ (bytes[i]! | variantBits(i - at, isGlobal))) & 0xff]!;
  }
  for (let i = headersEnd; i < end; i++) rest = (rest >>> 8) ^ icrcTable[(rest ^ bytes[i]!) & 0xff]!;
  return ~rest;
}

/** Bits of byte `place` of the headers that may change on the way, and count as ones. */
function variantBits(place: number, isGlobal: boolean): number {
  if (place < Lrh.byteLength) return isGlobal ? ONES : place === 0 ? VL_MASK : 0;
  if (!isGlobal) return place === Lrh.byteLength + BTH_RESERVED ? ONES : 0;
  const inGrh = place - Lrh.byteLength;
  // Traffic class and flow label share the first word with the version; the hop limit is the last byte of the second.
  if (inGrh === 0) return 0x0f;
  if (inGrh < 4 || inGrh === Grh.hopLimit.offset) return ONES;
  return inGrh === Grh.byteLength + BTH_RESERVED ? ONES : 0;
}

/** The variant CRC of `length` bytes from the LRH to the ICRC; its lower byte goes out first. */
export function vcrcOf(bytes: Uint8Array, at: number, length: number): number {
  let rest = 0xffff;
  for (let i = at; i < at + length; i++) rest = (rest >>> 8) ^ vcrcTable[(rest ^ bytes[i]!) & 0xff]!;
  return ~rest & 0xffff;
}
