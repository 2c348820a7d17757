// DEVICE_GET_REGION_INFO, as raw bytes ("VFIO_USER_DEVICE_GET_REGION_INFO").

import assert from "node:assert/strict";
import { fstatSync } from "node:fs";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { RegionInfo, SparseMmap, SparseMmapArea } from "../../src/spec/vfio-user/messages.ts";
import { Command, RegionFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";
import { BAR0_BYTES, BAR2_BYTES, BAR4_BYTES } from "./toy-device.ts";

const regionInfo = (index: number, argsz: number = RegionInfo.byteLength): Buffer => record(RegionInfo, { index, argsz });

test("DEVICE_GET_REGION_INFO: sizes and rights, and nothing of a region that is not there", (t) => {
  const one = rig(t).ready();
  const seen = Array.from({ length: 9 }, (_, index) => {
    const { view } = one.expect(Command.DEVICE_GET_REGION_INFO, regionInfo(index));
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
  const { view, payload, descriptors } = ready().expect(Command.DEVICE_GET_REGION_INFO, regionInfo(2));
  assert.equal(payload.length, 32);
  assert.equal(RegionInfo.argsz.get(view, 0), 32);
  assert.equal(RegionInfo.offset.getBig(view, 0), 0n);
  assert.equal(descriptors.length, 1);
  assert.equal(fstatSync(descriptors[0] ?? -1).ino, fstatSync(device.shared.descriptor).ino);
});

test("DEVICE_GET_REGION_INFO: the short reply names the capability's place, the long one has it and the descriptor", (t) => {
  const one = rig(t).ready();
  const short = one.expect(Command.DEVICE_GET_REGION_INFO, regionInfo(4, 32));
  const wholeBytes = 32 + 16 + 2 * 16;
  assert.equal(short.payload.length, 32);
  assert.equal(RegionInfo.argsz.get(short.view, 0), wholeBytes);
  assert.equal(RegionInfo.capOffset.get(short.view, 0), 32, "QEMU stops without it");
  assert.equal(short.descriptors.length, 0, "QEMU would lose it");
  const long = one.expect(Command.DEVICE_GET_REGION_INFO, regionInfo(4, wholeBytes));
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
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_INFO, regionInfo(9));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_INFO, regionInfo(0xffffffff));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_INFO, regionInfo(0, 31));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_INFO, regionInfo(0).subarray(0, 31));
});

testHostilePeers({
  name: "DEVICE_GET_REGION_INFO",
  command: Command.DEVICE_GET_REGION_INFO,
  payload: () => regionInfo(2),
  isRepeatable: true,
});
