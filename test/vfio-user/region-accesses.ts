// Accesses to regions of the toy device, for the tests of REGION_READ and REGION_WRITE.

import { RegionAccess } from "../../src/spec/vfio-user/messages.ts";
import { record } from "./raw-peer.ts";
import { BAR0_BYTES } from "./toy-device.ts";

export const access = (region: number, offset: number | bigint, count: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  record(RegionAccess, { offset: BigInt(offset), region, count }, data);

/** Region, offset and count of accesses that lie outside. */
export const OUTSIDE: readonly (readonly [region: number, offset: number | bigint, count: number])[] = [
  [0, BAR0_BYTES, 1],
  [0, BAR0_BYTES - 3, 4],
  [0, BAR0_BYTES + 1, 0],
  [0, 0, BAR0_BYTES + 1],
  [0, 2 ** 32, 4],
  [0, 2 ** 53 - 4, 4],
  [0, 2 ** 53 - 1, 0],
  [0, 2n ** 53n, 4],
  [0, 2n ** 63n, 4],
  [0, 2n ** 64n - 4n, 4],
  [0, 2n ** 64n - 1n, 1],
  [1, 0, 4],
  [1, 0, 0],
  [9, 0, 4],
  [0x8000_0000, 0, 4],
  [0xffff_ffff, 0, 4],
];
