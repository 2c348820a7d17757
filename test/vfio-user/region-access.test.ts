import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { RegionAccess, WriteMulti, WriteMultiEntry } from "../../src/spec/vfio-user/messages.ts";
import { Command, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_MULTI_WRITES } from "../../src/vfio-user/limits.ts";
import { record, rig } from "./raw-peer.ts";
import { BAR0_BYTES } from "./toy-device.ts";

const { REGION_READ, REGION_WRITE, REGION_WRITE_MULTI, DEVICE_RESET } = Command;
const access = (region: number, offset: number | bigint, count: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  record(RegionAccess, { offset: BigInt(offset), region, count }, data);

test("REGION_WRITE and REGION_READ: any length at any offset; the replies echo the request", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  let reads = 0;
  for (const length of [1, 2, 3, 4, 7, 8, 9, 64, 4096]) {
    const data = Uint8Array.from({ length }, (_, i) => i + length);
    const offset = BAR0_BYTES - length;
    const written = one.expect(REGION_WRITE, access(0, offset, length, data));
    assert.deepEqual(written.payload, access(0, offset, length));
    const read = one.expect(REGION_READ, access(0, offset, length));
    assert.deepEqual(read.payload, access(0, offset, length, data));
    reads++;
  }
  assert.equal(server.counters[ServerCounter.regionRead], reads);
  assert.equal(server.counters[ServerCounter.regionWrite], reads);
  assert.equal(device.bar0.bytes[0], 0);
});

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

const entry = (region: number, offset: number, data: Uint8Array, count = data.length): Buffer => {
  const bytes = record(WriteMultiEntry, { offset: BigInt(offset), region, count });
  bytes.set(data, 16);
  return bytes;
};
const multi = (...entries: Buffer[]): Buffer => record(WriteMulti, { count: BigInt(entries.length) }, Buffer.concat(entries));

test("REGION_WRITE_MULTI: all writes in order, or none", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  const [a, b] = [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), Uint8Array.of(9)];
  const reply = one.expect(REGION_WRITE_MULTI, multi(entry(0, 0, a), entry(0, 1, b)));
  assert.equal(WriteMulti.count.getBig(reply.view, 0), 2n);
  assert.deepEqual(device.bar0.bytes.subarray(0, 4), Buffer.of(1, 9, 3, 4));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, multi(entry(0, 16, a), entry(1, 0, b)));
  one.expectErrno(Errno.EACCES, REGION_WRITE_MULTI, multi(entry(0, 16, a), entry(RegionIndex.ROM, 0, b)));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, multi(entry(0, 16, a), entry(0, 0, b, 9)));
  assert.equal(device.bar0.bytes[16], 0);
  one.expect(REGION_WRITE_MULTI, multi());
});

test("REGION_WRITE_MULTI: a count that does not fit the message, or is too large", (t) => {
  const one = rig(t).ready();
  const whole = multi(entry(0, 0, Uint8Array.of(1)), entry(0, 0, Uint8Array.of(1)));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, whole.subarray(0, whole.length - 1));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, Buffer.concat([whole, Buffer.alloc(1)]));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, Buffer.alloc(7));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, record(WriteMulti, { count: 2n ** 63n }));
  const many = Array.from({ length: MAX_MULTI_WRITES + 1 }, () => entry(0, 0, Uint8Array.of(1)));
  one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, multi(...many));
  one.expect(REGION_WRITE_MULTI, multi(...many.slice(1)));
});

test("DEVICE_RESET: the device goes back to its beginning, its client stays", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(REGION_WRITE, access(0, 0, 1, Uint8Array.of(7)));
  assert.equal(one.expect(DEVICE_RESET).payload.length, 0);
  assert.deepEqual(device.events, ["connected", "reset"]);
  assert.equal(device.bar0.bytes[0], 0);
  one.expect(REGION_READ, access(0, 0, 1));
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
