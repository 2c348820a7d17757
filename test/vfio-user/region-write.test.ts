// REGION_WRITE, as raw bytes ("VFIO_USER_REGION_WRITE").

import assert from "node:assert/strict";
import { test } from "node:test";
import { RegionAccess } from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";
import { BAR0_BYTES } from "./toy-device.ts";

const { REGION_READ, REGION_WRITE } = Command;
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

testHostilePeers({
  name: "REGION_WRITE",
  command: REGION_WRITE,
  payload: () => access(0, 0, 4, Uint8Array.of(1, 2, 3, 4)),
  isRepeatable: true,
});
