// VFIO_USER_DMA_UNMAP.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createSharedMemory } from "../../src/host/shared-memory.ts";
import { Errno } from "../../src/host/system-error.ts";
import { DmaMap, DmaUnmap } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag, DmaUnmapFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";

const PAGE = 4096;
const { DMA_MAP, DMA_UNMAP } = Command;
const READ_WRITE = DmaMapFlag.READ | DmaMapFlag.WRITE;

const map = (address: number, size: number, offset = 0): Buffer =>
  record(DmaMap, { flags: READ_WRITE, address: BigInt(address), size: BigInt(size), offset: BigInt(offset) });
const unmap = (address: number | bigint, size: number | bigint, flags = 0): Buffer =>
  record(DmaUnmap, { flags, address: BigInt(address), size: BigInt(size) });

testEveryMessage({
  name: "DMA_UNMAP",
  command: DMA_UNMAP,
  leastArgsz: DmaUnmap.byteLength,
  example: () => ({ payload: unmap(0x10_0000, 4 * PAGE), replyPayload: unmap(0x10_0000, 4 * PAGE) }),
  prepare: (one) => {
    one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL));
    const ram = createSharedMemory("guest", 4 * PAGE);
    one.expect(DMA_MAP, map(0x10_0000, 4 * PAGE), [ram.descriptor]);
    ram.close();
  },
});

test("DMA_UNMAP: exactly what was mapped, once; the device's answers go stale, its memory stays mapped for the session", (t) => {
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
  assert.equal(device.dma.generation, generation, "a refusal changes nothing");
  one.expect(DMA_UNMAP, unmap(0, 2 * PAGE));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0, 2 * PAGE));
  assert.equal(device.dma.locate(0, 0), false);
  assert.notEqual(device.dma.generation, generation);
  kept.bytes[0] = 1;
  assert.equal(ram.memory.bytes[0], 1, "memory in use stays mapped while the session lasts");
  one.expect(DMA_MAP, map(0, 2 * PAGE), [ram.descriptor]);
  assert.equal(device.dma.locate(0, 0), true);
  assert.equal(device.dma.memory, kept, "and is not mapped again");
});

test("DMA_UNMAP: two ranges that touch are still two", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const one = ready();
  one.expect(DMA_MAP, map(0, 2 * PAGE), [ram.descriptor]);
  one.expect(DMA_MAP, map(2 * PAGE, 2 * PAGE, 2 * PAGE), [ram.descriptor]);
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0, 4 * PAGE));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(PAGE, 2 * PAGE));
  assert.equal(device.dma.mappedBytes, 4 * PAGE);
  one.expect(DMA_UNMAP, unmap(2 * PAGE, 2 * PAGE));
  assert.equal(device.dma.mappedBytes, 2 * PAGE);
});

test("DMA_UNMAP: all at once, memory out of reach included; dirty bitmaps and unknown flags are refused", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const one = ready();
  for (let i = 0; i < 4; i++) one.expect(DMA_MAP, map(i * PAGE, PAGE, i * PAGE), [ram.descriptor]);
  one.expect(DMA_MAP, map(2 ** 40, PAGE));
  one.expectErrno(Errno.ENOTSUP, DMA_UNMAP, unmap(0, PAGE, DmaUnmapFlag.GET_DIRTY_BITMAP));
  one.expectErrno(Errno.ENOTSUP, DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL | DmaUnmapFlag.GET_DIRTY_BITMAP));
  for (const flags of [4, 0x8000_0000, 0xffff_ffff]) one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(0, PAGE, flags));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(0, PAGE, DmaUnmapFlag.ALL));
  one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(PAGE, 0, DmaUnmapFlag.ALL));
  assert.equal(device.dma.mappedBytes, 4 * PAGE);
  one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL));
  assert.equal(device.dma.mappedBytes, 0);
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(2 ** 40, PAGE));
  one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL));
});

test("DMA_UNMAP: sizes and addresses at the ends of 64 bits", (t) => {
  const { ready, device, memory } = rig(t);
  const one = ready();
  one.expect(DMA_MAP, map(0, PAGE), [memory(PAGE).descriptor]);
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0, 0));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(2 ** 53 - PAGE, PAGE));
  for (const [address, size] of [
    [0n, 2n ** 53n],
    [0n, 2n ** 64n - 1n],
    [2n ** 64n - 4096n, 4096n],
    [2n ** 63n, 2n ** 63n],
  ] as const) {
    one.expectErrno(Errno.EINVAL, DMA_UNMAP, unmap(address, size));
  }
  assert.equal(device.dma.mappedBytes, PAGE);
});

test("DMA_UNMAP: with bytes behind the request, which are not sent back", (t) => {
  const { ready, memory } = rig(t);
  const one = ready();
  one.expect(DMA_MAP, map(0, PAGE), [memory(PAGE).descriptor]);
  const { payload } = one.expect(DMA_UNMAP, Buffer.concat([unmap(0, PAGE), Buffer.alloc(100, 0xee)]));
  assert.deepEqual(payload, unmap(0, PAGE));
});
