// DMA_MAP, as raw bytes: what a client may map, and everything it may not ("VFIO_USER_DMA_MAP").

import assert from "node:assert/strict";
import { openSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { closeDescriptor, ftruncate, MfdFlag, memfdCreate } from "../../src/host/libc.ts";
import { CHUNK_BYTES } from "../../src/host/shared-memory.ts";
import { Errno } from "../../src/host/system-error.ts";
import { DmaMap, DmaUnmap } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag } from "../../src/spec/vfio-user/numbers.ts";
import { VfioUserServer } from "../../src/vfio-user/index.ts";
import { MAX_DMA_MAPS, MAX_MEMORIES } from "../../src/vfio-user/limits.ts";
import { testHostilePeers } from "./hostile-peer.ts";
import { openDescriptors, RawPeer, record, rig } from "./raw-peer.ts";
import { ToyDevice } from "./toy-device.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
const { DMA_MAP, DMA_UNMAP } = Command;
const READ_WRITE = DmaMapFlag.READ | DmaMapFlag.WRITE;

const map = (address: number, size: number, offset = 0, flags: number = READ_WRITE): Buffer =>
  record(DmaMap, { flags, address: BigInt(address), size: BigInt(size), offset: BigInt(offset) });
const unmap = (address: number, size: number, flags = 0): Buffer =>
  record(DmaUnmap, { flags, address: BigInt(address), size: BigInt(size) });

test("DMA_MAP: the device sees the client's memory, and the client what the device writes", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(16 * PAGE);
  const before = openDescriptors();
  const one = ready();
  assert.equal(one.expect(DMA_MAP, map(0x100000, 4 * PAGE, 8 * PAGE), [ram.descriptor]).payload.length, 0);
  assert.equal(openDescriptors(), before + 2, "the two ends of the connection: the memory's descriptor is closed again");
  ram.memory.bytes.write("guest", 8 * PAGE + 5);
  assert.equal(device.dma.locate(0, 0x100005), true);
  assert.equal(device.dma.writable, true);
  assert.equal(device.dma.run, 4 * PAGE - 5);
  assert.equal(device.dma.memory.bytes.toString("latin1", device.dma.at, device.dma.at + 5), "guest");
  device.dma.memory.bytes[device.dma.at] = 0x47;
  assert.equal(ram.memory.bytes[8 * PAGE + 5], 0x47);
  assert.equal(device.dma.locate(0, 0x100000 + 4 * PAGE), false);
});

test("DMA_MAP: read-only ranges, also of memory that is read-only itself; writable ranges of such memory are refused", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const readOnly = openSync(`/proc/self/fd/${ram.descriptor}`, "r");
  const one = ready();
  one.expect(DMA_MAP, map(0, PAGE, 0, DmaMapFlag.READ), [ram.descriptor]);
  assert.equal(device.dma.locate(0, 0), true);
  assert.equal(device.dma.writable, false);
  one.expect(DMA_MAP, map(PAGE, PAGE, 0, DmaMapFlag.READ), [readOnly]);
  one.expectErrno(Errno.EACCES, DMA_MAP, map(2 * PAGE, PAGE), [readOnly]);
  closeDescriptor(readOnly);
});

test("DMA_MAP: without a descriptor it is accepted, the device does not see it, and it can be unmapped", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(DMA_MAP, map(0xffe00000, 2 ** 21, 0, DmaMapFlag.READ));
  one.expect(DMA_MAP, map(2 ** 46, 2 ** 33));
  assert.equal(device.dma.locate(0, 0xffe00000 | 0), false);
  one.expectErrno(Errno.EEXIST, DMA_MAP, map(0xfff00000, PAGE));
  one.expect(DMA_UNMAP, unmap(2 ** 46, 2 ** 33));
  one.expect(DMA_UNMAP, unmap(0xffe00000, 2 ** 21));
  one.expectErrno(Errno.ENOENT, DMA_UNMAP, unmap(0xffe00000, 2 ** 21));
});

test("DMA_MAP: memory that can shrink is refused, and the log says what to do", (t) => {
  const { ready, messages } = rig(t);
  const unsealed = memfdCreate("unsealed", MfdFlag.CLOEXEC);
  ftruncate(unsealed, 4 * PAGE);
  const one = ready();
  one.expectErrno(Errno.EPERM, DMA_MAP, map(0, PAGE), [unsealed]);
  assert.match(messages.join("\n"), /DMA_MAP refused: .*F_SEAL_SHRINK.*memory-backend-memfd/);
  closeDescriptor(unsealed);
});

test("DMA_MAP: every wrong value", (t) => {
  const { ready, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const fd = [ram.descriptor];
  const one = ready();
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE).subarray(0, 31), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, record(DmaMap, { argsz: 31, flags: READ_WRITE, size: BigInt(PAGE) }), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 0, READ_WRITE | 16), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 0, DmaMapFlag.WRITE), fd);
  one.expectErrno(Errno.ENOTSUP, DMA_MAP, map(0, PAGE, 0, READ_WRITE | DmaMapFlag.FILE_IO), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 0, READ_WRITE | DmaMapFlag.MMAP));
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, 0), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(1, PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE + 1), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 1), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, 5 * PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 4 * PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 2 ** 50), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(2 ** 43, PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, record(DmaMap, { flags: 3, address: 2n ** 64n - 4096n, size: 4096n }), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, record(DmaMap, { flags: 3, address: 0n, size: 2n ** 63n }), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, record(DmaMap, { flags: 3, address: 2n ** 53n - 4096n, size: 8192n }));
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE), [ram.descriptor, ram.descriptor]);
  one.expect(DMA_MAP, map(0, PAGE), fd);
  one.expectErrno(Errno.EEXIST, DMA_MAP, map(0, PAGE), fd);
  one.expectErrno(Errno.EEXIST, DMA_MAP, map(0, 4 * PAGE), fd);
});

test("DMA_MAP: a range beyond 1 GiB is seen in pieces and unmapped whole", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(3 * GIB);
  const one = ready();
  one.expect(DMA_MAP, map(4 * GIB, 2 * GIB, GIB / 2), [ram.descriptor]);
  for (const [into, chunk] of [
    [0, 0],
    [GIB, 1],
    [2 * GIB - PAGE, 2],
  ] as const) {
    ram.shared.chunk(chunk).bytes[(GIB / 2 + into) % CHUNK_BYTES] = chunk + 1;
    assert.equal(device.dma.locate(1, into), true);
    assert.equal(device.dma.memory.bytes[device.dma.at], chunk + 1);
  }
  assert.equal(device.dma.mappedBytes, 2 * GIB);
  one.expect(DMA_UNMAP, unmap(4 * GIB, 2 * GIB));
  assert.equal(device.dma.mappedBytes, 0);
});

test("DMA_MAP: as many ranges and memories as allowed, no more; unused memory makes room", (t) => {
  const { ready, registry, memory } = rig(t);
  const one = ready();
  const memories = Array.from({ length: MAX_MEMORIES + 1 }, () => memory(PAGE));
  memories.slice(0, MAX_MEMORIES).forEach((ram, i) => void one.expect(DMA_MAP, map(i * PAGE, PAGE), [ram.descriptor]));
  const last = memories.at(-1)?.descriptor ?? -1;
  one.expectErrno(Errno.ENOSPC, DMA_MAP, map(2 ** 30, PAGE), [last]);
  one.expect(DMA_UNMAP, unmap(0, PAGE));
  one.expect(DMA_MAP, map(2 ** 30, PAGE), [last]);
  assert.equal(registry.size, MAX_MEMORIES);
  for (let i = MAX_MEMORIES; i < MAX_DMA_MAPS; i++) one.expect(DMA_MAP, map(2 ** 40 + i * PAGE, PAGE));
  one.expectErrno(Errno.ENOSPC, DMA_MAP, map(2 ** 41, PAGE));
});

test("DMA_MAP: one mapping for all ranges and all devices of a VM, gone when the last session is", (t) => {
  const { ready, memory, server, registry } = rig(t);
  const mappings = (): number => readFileSync("/proc/self/maps", "utf8").split("memfd:guest").length - 1;
  const ram = memory(16 * PAGE);
  const before = mappings();
  const device = new ToyDevice();
  const second = new VfioUserServer(device, { path: `${server.path}2`, registry });
  const [one, two] = [ready(), new RawPeer(second).negotiate()];
  for (let i = 0; i < 8; i++) one.expect(DMA_MAP, map(i * PAGE, PAGE, i * PAGE), [ram.descriptor]);
  two.expect(DMA_MAP, map(0, 16 * PAGE), [ram.descriptor]);
  assert.equal(mappings(), before + 1);
  one.close();
  assert.equal(registry.size, 1);
  assert.equal(device.dma.locate(0, 0), true);
  two.close();
  assert.equal(mappings(), before);
  second.close();
  device.close();
});

testHostilePeers({
  name: "DMA_MAP",
  command: DMA_MAP,
  payload: () => map(0, PAGE),
  descriptors: ({ memory }) => [memory(PAGE).descriptor],
});
