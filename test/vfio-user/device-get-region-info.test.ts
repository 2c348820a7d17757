// VFIO_USER_DEVICE_GET_REGION_INFO.

import assert from "node:assert/strict";
import { fstatSync } from "node:fs";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { RegionAccess, RegionInfo, SparseMmap, SparseMmapArea } from "../../src/spec/vfio-user/messages.ts";
import { Command, RegionFlag, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { testEveryMessage } from "./every-message.ts";
import { message, openDescriptors, record, rig } from "./raw-peer.ts";
import { BAR0_BYTES, BAR2_BYTES, BAR4_BYTES } from "./toy-device.ts";

const { DEVICE_GET_REGION_INFO, REGION_READ } = Command;
const regionInfo = (index: number, argsz: number = RegionInfo.byteLength): Buffer => record(RegionInfo, { index, argsz });

testEveryMessage({
  name: "DEVICE_GET_REGION_INFO",
  command: DEVICE_GET_REGION_INFO,
  leastArgsz: RegionInfo.byteLength,
  example: () => ({
    payload: regionInfo(RegionIndex.BAR2),
    replyPayload: record(RegionInfo, {
      argsz: 32,
      flags: RegionFlag.READ | RegionFlag.WRITE | RegionFlag.MMAP,
      index: RegionIndex.BAR2,
      size: BigInt(BAR2_BYTES),
    }),
    replyDescriptors: 1,
  }),
});

test("DEVICE_GET_REGION_INFO: sizes and rights, and nothing of a region that is not there", (t) => {
  const one = rig(t).ready();
  const seen = Array.from({ length: 9 }, (_, index) => {
    const { view } = one.expect(DEVICE_GET_REGION_INFO, regionInfo(index));
    assert.equal(RegionInfo.index.get(view, 0), index);
    return [Number(RegionInfo.size.getBig(view, 0)), RegionInfo.flags.get(view, 0)];
  });
  const { READ, WRITE, MMAP, CAPS } = RegionFlag;
  assert.deepEqual(seen, [
    [BAR0_BYTES, READ | WRITE],
    [0, 0],
    [BAR2_BYTES, READ | WRITE | MMAP],
    [0, 0],
    [BAR4_BYTES, READ | WRITE | MMAP | CAPS],
    [0, 0],
    [2 ** 21, READ],
    [256, READ | WRITE],
    [16, WRITE],
  ]);
});

test("DEVICE_GET_REGION_INFO: a region that is mapped whole comes with its descriptor at once", (t) => {
  const { ready, device } = rig(t);
  const { view, payload, descriptors } = ready().expect(DEVICE_GET_REGION_INFO, regionInfo(2));
  assert.equal(payload.length, 32);
  assert.equal(RegionInfo.argsz.get(view, 0), 32);
  assert.equal(RegionInfo.offset.getBig(view, 0), 0n);
  assert.equal(descriptors.length, 1);
  assert.equal(fstatSync(descriptors[0] ?? -1).ino, fstatSync(device.shared.descriptor).ino);
});

test("DEVICE_GET_REGION_INFO: the short reply names the capability's place, the long one has it and the descriptor", (t) => {
  const one = rig(t).ready();
  const short = one.expect(DEVICE_GET_REGION_INFO, regionInfo(4, 32));
  const wholeBytes = 32 + 16 + 2 * 16;
  assert.equal(short.payload.length, 32);
  assert.equal(RegionInfo.argsz.get(short.view, 0), wholeBytes);
  assert.equal(RegionInfo.capOffset.get(short.view, 0), 32, "QEMU stops without it");
  assert.equal(short.descriptors.length, 0, "QEMU would lose it");
  const long = one.expect(DEVICE_GET_REGION_INFO, regionInfo(4, wholeBytes));
  assert.equal(long.payload.length, wholeBytes);
  assert.equal(long.descriptors.length, 1);
  assert.equal(RegionInfo.offset.getBig(long.view, 0), BigInt(BAR2_BYTES));
  assert.equal(SparseMmap.id.get(long.view, 32), 1);
  assert.equal(SparseMmap.version.get(long.view, 32), 1);
  assert.equal(SparseMmap.next.get(long.view, 32), 0);
  assert.equal(SparseMmap.areaCount.get(long.view, 32), 2);
  const areas = [48, 64].map((at) => [SparseMmapArea.offset.getBig(long.view, at), SparseMmapArea.size.getBig(long.view, at)]);
  assert.deepEqual(areas, [
    [0n, 4096n],
    [8192n, 4096n],
  ]);
});

test("DEVICE_GET_REGION_INFO: a region beyond the last, too short a payload or argsz", (t) => {
  const one = rig(t).ready();
  one.expectErrno(Errno.EINVAL, DEVICE_GET_REGION_INFO, regionInfo(9));
  one.expectErrno(Errno.EINVAL, DEVICE_GET_REGION_INFO, regionInfo(0xffffffff));
  one.expectErrno(Errno.EINVAL, DEVICE_GET_REGION_INFO, regionInfo(0x80000000));
  one.expectErrno(Errno.EINVAL, DEVICE_GET_REGION_INFO, regionInfo(0, 31));
  one.expectErrno(Errno.EINVAL, DEVICE_GET_REGION_INFO, regionInfo(0).subarray(0, 31));
});

test("DEVICE_GET_REGION_INFO: an argsz between the fixed part and the whole reply gets the fixed part", (t) => {
  const one = rig(t).ready();
  const wholeBytes = 32 + 16 + 2 * 16;
  for (const [argsz, replied] of [
    [33, 32],
    [48, 32],
    [wholeBytes - 1, 32],
    [wholeBytes, wholeBytes],
    [wholeBytes + 1, wholeBytes],
    [0xffff_ffff, wholeBytes],
  ] as const) {
    const reply = one.expect(DEVICE_GET_REGION_INFO, regionInfo(RegionIndex.BAR4, argsz));
    assert.equal(reply.payload.length, replied, `argsz ${argsz}`);
    assert.equal(RegionInfo.argsz.get(reply.view, 0), wholeBytes);
    assert.equal(reply.descriptors.length, replied === wholeBytes ? 1 : 0);
  }
});

test("DEVICE_GET_REGION_INFO: fields that must be zero are not looked at, and nothing old is in the reply", (t) => {
  const one = rig(t).ready();
  // the reply buffer is now full of other bytes
  one.expect(REGION_READ, record(RegionAccess, { offset: 0n, region: RegionIndex.ROM, count: 512 }));
  const full = record(RegionInfo, { argsz: 1024, flags: 0xffff_ffff, capOffset: 77, size: 2n ** 64n - 1n, offset: 2n ** 63n });
  RegionInfo.index.set(new DataView(full.buffer, full.byteOffset), 0, RegionIndex.BAR4);
  const { payload } = one.expect(DEVICE_GET_REGION_INFO, full);
  const { READ, WRITE, MMAP, CAPS } = RegionFlag;
  const info = { argsz: 80, flags: READ | WRITE | MMAP | CAPS, index: RegionIndex.BAR4, capOffset: 32, size: BigInt(BAR4_BYTES) };
  const expected = Buffer.concat([
    record(RegionInfo, { ...info, offset: BigInt(BAR2_BYTES) }),
    record(SparseMmap, { id: 1, version: 1, next: 0, areaCount: 2 }),
    record(SparseMmapArea, { offset: 0n, size: 4096n }),
    record(SparseMmapArea, { offset: 8192n, size: 4096n }),
  ]);
  assert.equal(payload.toString("hex"), expected.toString("hex"));
});

test("DEVICE_GET_REGION_INFO: a client that never takes its descriptors is not served on, and they go with it", (t) => {
  const { ready, server } = rig(t);
  const one = ready();
  const before = openDescriptors();
  const request = message(DEVICE_GET_REGION_INFO, regionInfo(RegionIndex.BAR2));
  let asked = 0;
  for (; one.put(request) > 0 && asked < 100_000; asked++) one.turn();
  const served = server.counters[ServerCounter.deviceGetRegionInfo] ?? 0;
  assert.ok(served > 0 && served < asked, `${served} of ${asked} served`);
  assert.equal(openDescriptors(), before, "what is on its way is in no process");
  assert.equal(server.poll(), 0, "and nothing keeps the server busy");
});

test("DEVICE_GET_REGION_INFO: a descriptor that cannot be sent ends the session instead of leaving the client waiting", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  const region = device.regions[RegionIndex.BAR2];
  assert.ok(region?.mapping);
  const gone = { ...region, mapping: { ...region.mapping, descriptor: 999_999 } };
  Object.defineProperty(device, "regions", { value: device.regions.with(RegionIndex.BAR2, gone) });
  one.put(message(DEVICE_GET_REGION_INFO, regionInfo(RegionIndex.BAR2)));
  assert.equal(one.isCutOff, true);
  assert.equal(server.isConnected, false);
});
