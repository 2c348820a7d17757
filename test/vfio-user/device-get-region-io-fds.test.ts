// VFIO_USER_DEVICE_GET_REGION_IO_FDS, which this server does not offer.

import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { RegionIoDescriptors } from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";

testEveryMessage({
  name: "DEVICE_GET_REGION_IO_FDS",
  command: Command.DEVICE_GET_REGION_IO_FDS,
  errno: Errno.ENOTSUP,
  example: () => ({ payload: record(RegionIoDescriptors, { index: 0 }) }),
});

test("DEVICE_GET_REGION_IO_FDS: refused for every region and all flags alike", (t) => {
  const one = rig(t).ready();
  for (const index of [0, 2, 7, 9, 0xffff_ffff]) {
    for (const flags of [0, 0xffff_ffff]) {
      const payload = record(RegionIoDescriptors, { argsz: 4096, flags, index, count: flags });
      one.expectErrno(Errno.ENOTSUP, Command.DEVICE_GET_REGION_IO_FDS, payload);
    }
  }
});
