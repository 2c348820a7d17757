// VFIO_USER_REGION_WRITE.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { Command, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_DATA_BYTES } from "../../src/vfio-user/limits.ts";
import { testEveryMessage } from "./every-message.ts";
import { message, rig } from "./raw-peer.ts";
import { access, OUTSIDE } from "./region-accesses.ts";
import { BAR0_BYTES, BAR2_BYTES } from "./toy-device.ts";

const { REGION_WRITE } = Command;

testEveryMessage({
  name: "REGION_WRITE",
  command: REGION_WRITE,
  example: () => ({ payload: access(0, 0x100, 5, Uint8Array.of(1, 2, 3, 4, 5)), replyPayload: access(0, 0x100, 5) }),
});

test("REGION_WRITE: any length at any offset, the whole region, and nothing; its neighbours stay", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  const lengths = [0, 1, 2, 3, 4, 7, 8, 9, 64, 4096, BAR0_BYTES];
  for (const length of lengths) {
    for (const offset of [0, BAR0_BYTES - length]) {
      device.bar0.bytes.fill(0);
      const data = Uint8Array.from({ length }, (_, i) => i | 1);
      assert.deepEqual(one.expect(REGION_WRITE, access(0, offset, length, data)).payload, access(0, offset, length));
      assert.deepEqual(device.bar0.bytes.subarray(offset, offset + length), Buffer.from(data));
      assert.equal(device.bar0.bytes.filter((byte) => byte !== 0).length, length);
    }
  }
  assert.equal(server.counters[ServerCounter.regionWrite], 2 * lengths.length);
});

test("REGION_WRITE: out of bounds, wrong region, or a region that cannot be written: nothing is", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  device.write = () => assert.fail("the device was asked");
  for (const [region, offset, count] of OUTSIDE) {
    one.expectErrno(Errno.EINVAL, REGION_WRITE, access(region, offset, count, new Uint8Array(count)));
  }
  one.expectErrno(Errno.EACCES, REGION_WRITE, access(RegionIndex.ROM, 0, 4, new Uint8Array(4)));
  one.expectErrno(Errno.EACCES, REGION_WRITE, access(RegionIndex.ROM, 0, 0));
});

test("REGION_WRITE: as many bytes as it says, no more and no fewer", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  device.write = () => assert.fail("the device was asked");
  for (const [count, given] of [
    [4, 0],
    [4, 3],
    [4, 5],
    [0, 1],
    [MAX_DATA_BYTES, 4],
    [MAX_DATA_BYTES + 1, 4],
    [0xffff_ffff, 4],
    [0x8000_0000, 0],
  ] as const) {
    one.expectErrno(Errno.EINVAL, REGION_WRITE, access(0, 0, count, new Uint8Array(given)));
  }
});

test("REGION_WRITE: a region that can be mapped can be written by message too", (t) => {
  const { ready, device } = rig(t);
  ready().expect(REGION_WRITE, access(RegionIndex.BAR2, BAR2_BYTES - 2, 2, Uint8Array.of(0xca, 0xfe)));
  assert.equal(device.shared.memory.bytes.readUInt16BE(BAR2_BYTES - 2), 0xcafe);
});

test("REGION_WRITE: a thousand posted ones are all made before the next reply", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  for (let i = 0; i < 1000; i++) one.send(message(REGION_WRITE, access(0, i, 1, Uint8Array.of(i & 0xff)), { noReply: 1 }));
  one.expect(REGION_WRITE, access(0, 4000, 1, Uint8Array.of(1)));
  for (let i = 0; i < 1000; i++) assert.equal(device.bar0.bytes[i], i & 0xff);
});
