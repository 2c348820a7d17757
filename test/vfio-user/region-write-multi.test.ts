// VFIO_USER_REGION_WRITE_MULTI.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { Version, WriteMulti, WriteMultiEntry } from "../../src/spec/vfio-user/messages.ts";
import { Command, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { MAX_MULTI_WRITES } from "../../src/vfio-user/limits.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";
import { OUTSIDE } from "./region-accesses.ts";

const { REGION_WRITE_MULTI } = Command;
const entry = (region: number, offset: number | bigint, data: Uint8Array, count = data.length): Buffer => {
  const bytes = record(WriteMultiEntry, { offset: BigInt(offset), region, count });
  bytes.set(data, 16);
  return bytes;
};
const multi = (...entries: Buffer[]): Buffer => record(WriteMulti, { count: BigInt(entries.length) }, Buffer.concat(entries));

testEveryMessage({
  name: "REGION_WRITE_MULTI",
  command: REGION_WRITE_MULTI,
  example: () => ({
    payload: multi(entry(0, 0, Uint8Array.of(1, 2)), entry(0, 0x100, Uint8Array.of(3))),
    replyPayload: record(WriteMulti, { count: 2n }),
  }),
});

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

test("REGION_WRITE_MULTI: one entry outside its region and none is written; of up to 8 bytes, as many as it says", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  const right = entry(0, 0, Uint8Array.of(1));
  for (const [region, offset, count] of OUTSIDE) {
    one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, multi(right, entry(region, offset, new Uint8Array(0), count)));
  }
  for (const count of [9, 0x8000_0000, 0xffff_ffff]) {
    one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, multi(right, entry(0, 0, new Uint8Array(8), count)));
  }
  for (const count of [0n, 1n, 3n, 2n ** 32n + 2n, 2n ** 53n, 2n ** 64n - 1n]) {
    one.expectErrno(Errno.EINVAL, REGION_WRITE_MULTI, record(WriteMulti, { count }, Buffer.concat([right, right])));
  }
  assert.equal(device.bar0.bytes[0], 0);
  for (let count = 0; count <= 8; count++) {
    device.bar0.bytes.fill(0);
    one.expect(REGION_WRITE_MULTI, multi(entry(0, 16, new Uint8Array(8).fill(0xff), count)));
    assert.equal(device.bar0.bytes.filter((byte) => byte !== 0).length, count);
  }
});

test("REGION_WRITE_MULTI: accepted although it was not offered, because the client asked for nothing else to be different", (t) => {
  const { peer } = rig(t);
  const one = peer();
  one.expect(Command.VERSION, record(Version, { major: 0, minor: 0 }, Buffer.from("{}\0")));
  one.expect(REGION_WRITE_MULTI, multi(entry(RegionIndex.BAR0, 0, Uint8Array.of(1))));
});
