// What belongs to migration, which this server does not offer: VFIO_USER_DEVICE_FEATURE, VFIO_USER_DIRTY_PAGES (withdrawn from the
// protocol), VFIO_USER_MIG_DATA_READ and VFIO_USER_MIG_DATA_WRITE.

import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, FeatureRequest, MigrationData } from "../../src/spec/vfio-user/messages.ts";
import { Command, DeviceFeature, DeviceFeatureFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";

const { DEVICE_FEATURE, DIRTY_PAGES, MIG_DATA_READ, MIG_DATA_WRITE } = Command;
const errno = Errno.ENOTSUP;

testEveryMessage({
  name: "DEVICE_FEATURE",
  command: DEVICE_FEATURE,
  errno,
  example: () => ({ payload: record(FeatureRequest, { flags: DeviceFeature.MIGRATION | DeviceFeatureFlag.GET }) }),
});
testEveryMessage({
  name: "DIRTY_PAGES",
  command: DIRTY_PAGES,
  errno,
  leastPayload: 0,
  example: () => ({ payload: new Uint8Array(8) }),
});
testEveryMessage({
  name: "MIG_DATA_READ",
  command: MIG_DATA_READ,
  errno,
  leastPayload: 0,
  example: () => ({ payload: record(MigrationData, { size: 4096 }) }),
});
testEveryMessage({
  name: "MIG_DATA_WRITE",
  command: MIG_DATA_WRITE,
  errno,
  leastPayload: 0,
  example: () => ({ payload: record(MigrationData, { size: 5 }, new Uint8Array(5)) }),
});

test("DEVICE_FEATURE: every feature, known or not, to get, set and probe", (t) => {
  const one = rig(t).ready();
  const { GET, SET, PROBE } = DeviceFeatureFlag;
  for (const feature of [...Object.values(DeviceFeature), 0, 3, 0xffff]) {
    for (const flag of [0, GET, SET, GET | SET, PROBE, PROBE | GET | SET, 0xffff_0000]) {
      one.expectErrno(errno, DEVICE_FEATURE, record(FeatureRequest, { argsz: 0xffff_ffff, flags: (feature | flag) >>> 0 }));
    }
  }
});

test("MIG_DATA: sizes without end are refused before anything is made of them", (t) => {
  const one = rig(t).ready();
  for (const size of [0, 1 << 20, 0xffff_ffff]) {
    one.expectErrno(errno, MIG_DATA_READ, record(MigrationData, { argsz: 0xffff_ffff, size }));
    one.expectErrno(errno, MIG_DATA_WRITE, record(MigrationData, { argsz: 0xffff_ffff, size }));
  }
  one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});
