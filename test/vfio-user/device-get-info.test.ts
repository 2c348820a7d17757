// DEVICE_GET_INFO, as raw bytes ("VFIO_USER_DEVICE_GET_INFO").

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo } from "../../src/spec/vfio-user/messages.ts";
import { Command, DeviceInfoFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";

test("DEVICE_GET_INFO: a PCI device with reset, 9 regions and 5 interrupt types", (t) => {
  const one = rig(t).ready();
  const { view, payload } = one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
  assert.equal(payload.length, 16);
  assert.equal(DeviceInfo.argsz.get(view, 0), 16);
  assert.equal(DeviceInfo.flags.get(view, 0), DeviceInfoFlag.RESET | DeviceInfoFlag.PCI);
  assert.equal(DeviceInfo.regionCount.get(view, 0), 9);
  assert.equal(DeviceInfo.irqCount.get(view, 0), 5);
});

test("DEVICE_GET_INFO: too short a payload or argsz", (t) => {
  const one = rig(t).ready();
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_INFO);
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_INFO, record(DeviceInfo, {}).subarray(0, 15));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_INFO, record(DeviceInfo, { argsz: 15 }));
});

testHostilePeers({
  name: "DEVICE_GET_INFO",
  command: Command.DEVICE_GET_INFO,
  payload: () => record(DeviceInfo, {}),
  isRepeatable: true,
});
