// REGION_READ, as raw bytes ("VFIO_USER_REGION_READ").

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { RegionAccess } from "../../src/spec/vfio-user/messages.ts";
import { Command, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";
import { BAR0_BYTES } from "./toy-device.ts";

const { REGION_READ, REGION_WRITE } = Command;
const access = (region: number, offset: number | bigint, count: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  record(RegionAccess, { offset: BigInt(offset), region, count }, data);

test("REGION_READ: what the device leaves alone reads as zero, not as what the buffer held before", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(REGION_READ, access(RegionIndex.ROM, 0, 64));
  device.read = () => {};
  assert.deepEqual(one.expect(REGION_READ, access(0, 0, 64)).payload.subarray(16), Buffer.alloc(64));
  assert.deepEqual(one.expect(REGION_READ, access(0, 0, 4)).payload.subarray(16), Buffer.alloc(4));
});

test("REGION_READ and WRITE: nothing, and the whole region", (t) => {
  const one = rig(t).ready();
  assert.equal(one.expect(REGION_READ, access(0, BAR0_BYTES, 0)).payload.length, 16);
  one.expect(REGION_WRITE, access(0, BAR0_BYTES, 0));
  assert.equal(one.expect(REGION_READ, access(0, 0, BAR0_BYTES)).payload.length, 16 + BAR0_BYTES);
});

test("REGION_READ and WRITE: out of bounds, wrong region, wrong length, forbidden", (t) => {
  const one = rig(t).ready();
  const data = (length: number): Uint8Array => new Uint8Array(length);
  for (const [region, offset, count] of [
    [0, BAR0_BYTES, 1],
    [0, BAR0_BYTES - 3, 4],
    [0, 2 ** 32, 4],
    [0, 2n ** 53n, 4],
    [0, 2n ** 64n - 4n, 4],
    [1, 0, 4],
    [9, 0, 4],
    [0xffffffff, 0, 4],
  ] as const) {
    one.expectErrno(Errno.EINVAL, REGION_READ, access(region, offset, count));
    one.expectErrno(Errno.EINVAL, REGION_WRITE, access(region, offset, count, data(count)));
  }
  one.expectErrno(Errno.EINVAL, REGION_READ, access(RegionIndex.ROM, 0, 2 ** 20 + 1));
  one.expectErrno(Errno.EINVAL, REGION_READ, access(0, 0, 0xffffffff));
  one.expectErrno(Errno.EINVAL, REGION_READ, access(0, 0, 4).subarray(0, 15));
  one.expectErrno(Errno.EINVAL, REGION_WRITE, access(0, 0, 4, data(3)));
  one.expectErrno(Errno.EINVAL, REGION_WRITE, access(0, 0, 4, data(5)));
  one.expectErrno(Errno.EINVAL, REGION_WRITE, access(0, 0, 4));
  one.expectErrno(Errno.EACCES, REGION_WRITE, access(RegionIndex.ROM, 0, 4, data(4)));
  one.expectErrno(Errno.EACCES, REGION_READ, access(RegionIndex.VGA, 0, 4));
});

test("configuration space: read whole, ids cannot be written, BARs show their size", (t) => {
  const one = rig(t).ready();
  const { payload } = one.expect(REGION_READ, access(RegionIndex.CONFIG, 0, 256));
  assert.equal(payload.readUInt32LE(16), 0x10f01af4);
  one.expect(REGION_WRITE, access(RegionIndex.CONFIG, 0, 4, Buffer.alloc(4, 0xff)));
  one.expect(REGION_WRITE, access(RegionIndex.CONFIG, 0x18, 8, Buffer.alloc(8, 0xff)));
  const after = one.expect(REGION_READ, access(RegionIndex.CONFIG, 0, 256)).payload.subarray(16);
  assert.equal(after.readUInt32LE(0), 0x10f01af4);
  assert.equal(after.readUInt32LE(0x18), 0xffff000c);
  assert.equal(after.readUInt32LE(0x1c), 0xffffffff);
});

testHostilePeers({ name: "REGION_READ", command: REGION_READ, payload: () => access(0, 0, 4), isRepeatable: true });
