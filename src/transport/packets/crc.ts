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

/** Bytes taken at once: table n says what a byte does to the rest n bytes later. */
const AT_ONCE = 8;

const icrcTables = newTables(ICRC_POLYNOMIAL);
const vcrcTables = newTables(VCRC_POLYNOMIAL);

function newTables(polynomial: number): Int32Array {
  const tables = new Int32Array(AT_ONCE * 256);
  for (let byte = 0; byte < 256; byte++) {
    let rest = byte;
    for (let bit = 0; bit < 8; bit++) rest = (rest & 1) === 0 ? rest >>> 1 : (rest >>> 1) ^ polynomial;
    tables[byte] = rest;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256]!;
    tables[i] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}

/** Scratch: what is left of both divisions. */
const rests = { icrc: 0, vcrc: 0 };

/**
 * Writes ICRC and VCRC behind the packet of `length` bytes that begins with its LRH at `at`: `CRC_BYTES` more. Any bytes may stand there.
 */
export function writeCrcs(bytes: Uint8Array, at: number, length: number): void {
  const end = at + length;
  const headersEnd = divideHeaders(bytes, at, length);
  rests.vcrc = divide(vcrcTables, 0xffff, bytes, at, headersEnd);
  divideBoth(bytes, headersEnd, end);
  const icrc = ~rests.icrc;
  for (let i = 0; i < ICRC_BYTES; i++) bytes[end + i] = icrc >>> (8 * i);
  const vcrc = ~divide(vcrcTables, rests.vcrc, bytes, end, end + ICRC_BYTES);
  bytes[end + ICRC_BYTES] = vcrc;
  bytes[end + ICRC_BYTES + 1] = vcrc >>> 8;
}

function divide(tables: Int32Array, start: number, bytes: Uint8Array, at: number, end: number): number {
  let rest = start;
  for (let i = at; i < end; i++) rest = (rest >>> 8) ^ tables[(rest ^ bytes[i]!) & 0xff]!;
  return rest;
}

/** What both leave of the same bytes, several at once: the first of them are summed with the rest before. */
function divideBoth(bytes: Uint8Array, at: number, end: number): void {
  let { icrc, vcrc } = rests;
  let i = at;
  for (; i + AT_ONCE <= end; i += AT_ONCE) {
    const b0 = bytes[i]!;
    const b1 = bytes[i + 1]!;
    const b2 = bytes[i + 2]!;
    const b3 = bytes[i + 3]!;
    const b4 = bytes[i + 4]!;
    const b5 = bytes[i + 5]!;
    const b6 = bytes[i + 6]!;
    const b7 = bytes[i + 7]!;
    icrc =
      icrcTables[0x700 | ((icrc ^ b0) & 0xff)]! ^
      icrcTables[0x600 | (((icrc >>> 8) ^ b1) & 0xff)]! ^
      icrcTables[0x500 | (((icrc >>> 16) ^ b2) & 0xff)]! ^
      icrcTables[0x400 | ((icrc >>> 24) ^ b3)]! ^
      icrcTables[0x300 | b4]! ^
      icrcTables[0x200 | b5]! ^
      icrcTables[0x100 | b6]! ^
      icrcTables[b7]!;
    vcrc =
      vcrcTables[0x700 | ((vcrc ^ b0) & 0xff)]! ^
      vcrcTables[0x600 | ((vcrc >>> 8) ^ b1)]! ^
      vcrcTables[0x500 | b2]! ^
      vcrcTables[0x400 | b3]! ^
      vcrcTables[0x300 | b4]! ^
      vcrcTables[0x200 | b5]! ^
      vcrcTables[0x100 | b6]! ^
      vcrcTables[b7]!;
  }
  rests.icrc = divide(icrcTables, icrc, bytes, i, end);
  rests.vcrc = divide(vcrcTables, vcrc, bytes, i, end);
}

/** Divides what may partly change on the way for the ICRC; returns where that ends. */
function divideHeaders(bytes: Uint8Array, at: number, length: number): number {
  const isGlobal = length > 1 && (bytes[at + 1]! & 3) === LrhNextHeader.GRH;
  const headersEnd = Math.min(at + length, at + Lrh.byteLength + (isGlobal ? Grh.byteLength : 0) + BTH_RESERVED + 1);
  let rest = -1;
  for (let i = at; i < headersEnd; i++) {
    rest = (rest >>> 8) ^ icrcTables[(rest ^ (bytes[i]! | variantBits(i - at, isGlobal))) & 0xff]!;
  }
  rests.icrc = rest;
  return headersEnd;
}

/** The invariant CRC of a packet of `length` bytes from the LRH on; its lowest byte goes out first. */
export function icrcOf(bytes: Uint8Array, at: number, length: number): number {
  const headersEnd = divideHeaders(bytes, at, length);
  return ~divide(icrcTables, rests.icrc, bytes, headersEnd, at + length);
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
  return ~divide(vcrcTables, 0xffff, bytes, at, at + length) & 0xffff;
}
