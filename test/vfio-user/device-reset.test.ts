// DEVICE_RESET, as raw bytes ("VFIO_USER_DEVICE_RESET").

import assert from "node:assert/strict";
import { test } from "node:test";
import { RegionAccess } from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";

const { REGION_READ, REGION_WRITE, DEVICE_RESET } = Command;
const access = (region: number, offset: number | bigint, count: number, data: Uint8Array = new Uint8Array(0)): Buffer =>
  record(RegionAccess, { offset: BigInt(offset), region, count }, data);

test("DEVICE_RESET: the device goes back to its beginning, its client stays", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(REGION_WRITE, access(0, 0, 1, Uint8Array.of(7)));
  assert.equal(one.expect(DEVICE_RESET).payload.length, 0);
  assert.deepEqual(device.events, ["connected", "reset"]);
  assert.equal(device.bar0.bytes[0], 0);
  one.expect(REGION_READ, access(0, 0, 1));
});

testHostilePeers({ name: "DEVICE_RESET", command: DEVICE_RESET, payload: () => Buffer.alloc(0), isRepeatable: true });
