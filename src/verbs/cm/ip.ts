// IP addresses, as bytes and as text. RFC 4291, 2.2; RFC 4391, 8: the link-local address of a port.

import { VerbsError } from "../error.ts";
import { gidText } from "../gid.ts";

const V4_BYTES = 4;
const V6_BYTES = 16;
const V6_GROUPS = 8;
const LOCAL_BIT = 0x02;
const GUID_AT = 8;

/**
 * @returns 4 or 16 bytes
 * @throws VerbsError EINVAL for what is no IP address
 */
export function parseIp(text: string): Uint8Array {
  const found = text.includes(":") ? parseV6(text) : parseV4(text);
  if (found === undefined) throw new VerbsError("EINVAL", `"${text}" is no IP address, such as 10.87.0.1 or fe80::1`);
  return found;
}

function parseV4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== V4_BYTES || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 0xff)) return undefined;
  return Uint8Array.from(parts, Number);
}

/** The last 32 bits may be written like an IPv4 address. */
function parseV6(text: string): Uint8Array | undefined {
  const dotted = /^(.*:)([\d.]+)$/.exec(text);
  const v4 = dotted?.[2]?.includes(".") === true ? parseV4(dotted[2]) : undefined;
  if (v4 !== undefined) return parseV6(`${dotted?.[1]}${groupText(v4, 0)}:${groupText(v4, 2)}`);
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  if (head === undefined) return undefined;
  const missing = V6_GROUPS - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...new Array<string>(missing).fill("0"), ...(tail ?? [])];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return Uint8Array.from(groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

const groupText = (bytes: Uint8Array, at: number): string => (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16);

/** @param ip 4 or 16 bytes */
export const ipText = (ip: Uint8Array): string => (ip.length === V6_BYTES ? gidText(ip) : ip.join("."));

/** The IPv6 address that IPoIB gives the port with this GID: link-local, its GUID as interface identifier. */
export function linkLocalOf(gid: Uint8Array): Uint8Array {
  const ip = new Uint8Array(V6_BYTES);
  ip.set([0xfe, 0x80]);
  ip.set(gid.subarray(GUID_AT), GUID_AT);
  ip[GUID_AT] = (ip[GUID_AT] ?? 0) | LOCAL_BIT;
  return ip;
}
