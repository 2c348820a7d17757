// DMA_UNMAP, as raw bytes ("VFIO_USER_DMA_UNMAP").

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DmaMap, DmaUnmap } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag, DmaUnmapFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { record, rig } from "./raw-peer.ts";

const PAGE = 4096;
const { DMA_MAP, DMA_UNMAP } = Command;
const READ_WRITE = DmaMapFlag.READ | DmaMapFlag.WRITE;

const map = (address: number, size: number, offset = 0, flags: number = READ_WRITE): Buffer =>
  record(DmaMap, { flags, address: BigInt(address), size: BigInt(size), offset: BigInt(offset) });
const unmap = (address: number, size: number, flags = 0): Buffer =>
  record(DmaUnmap, { flags, address: BigInt(address), size: BigInt(size) });

test("DMA_UNMAP: exactly what was mapped; the reply repeats the request; the device's answers go stale", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const one = ready();
  one.expect(DMA_MAP, map(0, 2 * PAGE), [ram.descriptor]);
  assert.equal(device.dma.locate(0, 0), true);
  const kept = device.dma.memory;
  const generation = device.dma.generation;
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0, PAGE));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(PAGE, PAGE));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0, 4 * PAGE));
  assert.deepEqual(one.expect(DMA_UNMAP, unmap(0, 2 * PAGE)).payload, unmap(0, 2 * PAGE));
  assert.equal(device.dma.locate(0, 0), false);
  assert.notEqual(device.dma.generation, generation);
  kept.bytes[0] = 1;
  assert.equal(ram.memory.bytes[0], 1, "memory in use stays mapped while the session lasts");
  one.expect(DMA_MAP, map(0, 2 * PAGE), [ram.descriptor]);
  assert.equal(device.dma.locate(0, 0), true);
  assert.equal(device.dma.memory, kept, "and is not mapped again");
});

test("DMA_UNMAP: all at once, dirty bitmaps, unknown flags", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const one = ready();
  for (let i = 0; i < 4; i++) one.expect(DMA_MAP, map(i * PAGE, PAGE, i * PAGE), [ram.descriptor]);
  one.expect(DMA_MAP, map(2 ** 40, PAGE));
  one.expectErrno(Errno.ENOTSUP, DMA_UNMAP, unmap(0, PAGE, DmaUnmapFlag.GET_DIRTY_BITMAP));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(0, PAGE, 4));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(0, PAGE, DmaUnmapFlag.ALL));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(0, PAGE).subarray(0, 23));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, record(DmaUnmap, { argsz: 8, size: 4096n }));
  assert.equal(device.dma.mappedBytes, 4 * PAGE);
  one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL));
  assert.equal(device.dma.mappedBytes, 0);
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(2 ** 40, PAGE));
});

testHostilePeers({
  name: "DMA_UNMAP",
  command: DMA_UNMAP,
  prepare: (_, peer) => void peer.expect(DMA_MAP, map(0, PAGE)),
  payload: () => unmap(0, PAGE),
});
