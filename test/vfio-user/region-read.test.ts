// VFIO_USER_REGION_READ.

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

const { REGION_READ, REGION_WRITE } = Command;

testEveryMessage({
  name: "REGION_READ",
  command: REGION_READ,
  example: () => ({
    payload: access(RegionIndex.ROM, 0x81, 5),
    replyPayload: access(RegionIndex.ROM, 0x81, 5, Uint8Array.of(0x81, 0x82, 0x83, 0x84, 0x85)),
  }),
});

test("REGION_READ: any length at any offset, the whole region, and nothing", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  for (let i = 0; i < BAR0_BYTES; i++) device.bar0.bytes[i] = (i * 7) & 0xff;
  const lengths = [0, 1, 2, 3, 4, 7, 8, 9, 64, 4096, BAR0_BYTES];
  for (const length of lengths) {
    for (const offset of [0, BAR0_BYTES - length]) {
      const data = device.bar0.bytes.subarray(offset, offset + length);
      assert.deepEqual(one.expect(REGION_READ, access(0, offset, length)).payload, access(0, offset, length, data));
    }
  }
  assert.equal(server.counters[ServerCounter.regionRead], 2 * lengths.length);
});

test("REGION_READ: what the device leaves alone reads as zero, not as what the buffer held before", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(REGION_READ, access(RegionIndex.ROM, 0, 64));
  device.read = () => {};
  assert.deepEqual(one.expect(REGION_READ, access(0, 0, 64)).payload.subarray(16), Buffer.alloc(64));
  assert.deepEqual(one.expect(REGION_READ, access(0, 0, 4)).payload.subarray(16), Buffer.alloc(4));
});

test("REGION_READ: out of bounds, wrong region, too much, or a region that cannot be read", (t) => {
  const one = rig(t).ready();
  for (const [region, offset, count] of OUTSIDE) one.expectErrno(Errno.EINVAL, REGION_READ, access(region, offset, count));
  for (const count of [MAX_DATA_BYTES + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    one.expectErrno(Errno.EINVAL, REGION_READ, access(RegionIndex.ROM, 0, count));
  }
  one.expectErrno(Errno.EACCES, REGION_READ, access(RegionIndex.VGA, 0, 4));
  one.expectErrno(Errno.EACCES, REGION_READ, access(RegionIndex.VGA, 0, 0));
});

test("REGION_READ: a region that can be mapped can be read by message too", (t) => {
  const { ready, device } = rig(t);
  device.shared.memory.bytes.fill(0x5a, BAR2_BYTES - 4, BAR2_BYTES);
  const { payload } = ready().expect(REGION_READ, access(RegionIndex.BAR2, BAR2_BYTES - 4, 4));
  assert.deepEqual(payload.subarray(16), Buffer.alloc(4, 0x5a));
});

test("REGION_READ: bytes behind the request are not looked at, and not sent back", (t) => {
  const one = rig(t).ready();
  const { payload } = one.expect(REGION_READ, access(RegionIndex.ROM, 0, 2, Buffer.alloc(500, 0xee)));
  assert.deepEqual(payload, access(RegionIndex.ROM, 0, 2, Uint8Array.of(0, 1)));
});

test("REGION_READ: a client that does not read its replies is served on only when it does, and holds nobody up", (t) => {
  const { ready, server } = rig(t);
  const one = ready();
  const read = message(REGION_READ, access(RegionIndex.ROM, 0, MAX_DATA_BYTES));
  let asked = 0;
  for (let round = 0; round < 30; round++) {
    if (one.put(read) === read.length) asked++;
    one.turn();
  }
  assert.equal(server.poll(), 0, "nothing to do, so the engine sleeps");
  assert.equal(server.counters[ServerCounter.regionRead], 1, "the first reply does not fit, so no other is made");
  for (let i = 0; i < asked; i++) assert.equal(one.receive()?.payload.length, 16 + MAX_DATA_BYTES, `reply ${i}`);
  assert.equal(one.receive(), undefined);
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
