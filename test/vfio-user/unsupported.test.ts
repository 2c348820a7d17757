import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, DmaAccess, FeatureRequest, MigrationData, RegionIoDescriptors } from "../../src/spec/vfio-user/messages.ts";
import { Command, DeviceFeature, DeviceFeatureFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";

test("what this server does not do is answered with ENOTSUP, malformed or unknown commands with EINVAL, and the session goes on", (t) => {
  const one = rig(t).ready();
  one.expectErrno(Errno.ENOTSUP, Command.DEVICE_GET_REGION_IO_FDS, record(RegionIoDescriptors, { index: 0 }));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_REGION_IO_FDS, Buffer.alloc(4));
  for (const feature of Object.values(DeviceFeature)) {
    for (const flag of Object.values(DeviceFeatureFlag)) {
      one.expectErrno(Errno.ENOTSUP, Command.DEVICE_FEATURE, record(FeatureRequest, { flags: feature | flag }));
    }
  }
  one.expectErrno(Errno.EINVAL, Command.DEVICE_FEATURE, Buffer.alloc(7));
  one.expectErrno(Errno.ENOTSUP, Command.DIRTY_PAGES);
  one.expectErrno(Errno.ENOTSUP, Command.MIG_DATA_READ, record(MigrationData, { size: 4096 }));
  one.expectErrno(Errno.ENOTSUP, Command.MIG_DATA_WRITE, record(MigrationData, { size: 0 }));
  one.expectErrno(Errno.EINVAL, Command.DMA_READ, record(DmaAccess, { address: 0n, count: 4n }));
  one.expectErrno(Errno.EINVAL, Command.DMA_WRITE, record(DmaAccess, { address: 0n, count: 0n }));
  for (const command of [0, 19, 0x7fff, 0xffff]) one.expectErrno(Errno.EINVAL, command);
  one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});

const { ENOTSUP } = Errno;
const refused: readonly [name: string, command: number, payload: () => Buffer][] = [
  ["DEVICE_GET_REGION_IO_FDS", Command.DEVICE_GET_REGION_IO_FDS, () => record(RegionIoDescriptors, { index: 0 })],
  [
    "DEVICE_FEATURE",
    Command.DEVICE_FEATURE,
    () => record(FeatureRequest, { flags: DeviceFeature.MIGRATION | DeviceFeatureFlag.GET }),
  ],
  ["DIRTY_PAGES", Command.DIRTY_PAGES, () => Buffer.alloc(0)],
  ["MIG_DATA_READ", Command.MIG_DATA_READ, () => record(MigrationData, { size: 4096 })],
];
for (const [name, command, payload] of refused) testHostilePeers({ name, command, payload, errno: ENOTSUP, isRepeatable: true });
for (const [name, command] of [
  ["DMA_READ", Command.DMA_READ],
  ["DMA_WRITE", Command.DMA_WRITE],
] as const) {
  // Only a server sends these.
  testHostilePeers({
    name,
    command,
    payload: () => record(DmaAccess, { address: 0n, count: 4n }),
    errno: Errno.EINVAL,
    isRepeatable: true,
  });
}
