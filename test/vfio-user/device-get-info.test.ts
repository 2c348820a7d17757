// VFIO_USER_DEVICE_GET_INFO.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DeviceInfo } from "../../src/spec/vfio-user/messages.ts";
import { Command, DeviceInfoFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";

/** A PCI device that can be reset, with 9 regions and 5 types of interrupts. */
const info = record(DeviceInfo, { argsz: 16, flags: DeviceInfoFlag.RESET | DeviceInfoFlag.PCI, regionCount: 9, irqCount: 5 });

testEveryMessage({
  name: "DEVICE_GET_INFO",
  command: Command.DEVICE_GET_INFO,
  leastArgsz: DeviceInfo.byteLength,
  example: () => ({ payload: record(DeviceInfo, {}), replyPayload: info }),
});

test("DEVICE_GET_INFO: fields that must be zero are not looked at, nor are bytes behind the request", (t) => {
  const one = rig(t).ready();
  const full = record(DeviceInfo, { flags: 0xffff_ffff, regionCount: 0xffff_ffff, irqCount: 1 });
  for (const payload of [full, Buffer.concat([full, Buffer.alloc(1000, 0xee)])]) {
    assert.deepEqual(one.expect(Command.DEVICE_GET_INFO, payload).payload, info);
  }
});
