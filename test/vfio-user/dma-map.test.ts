// VFIO_USER_DMA_MAP.

import assert from "node:assert/strict";
import { existsSync, openSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { closeDescriptor, Fcntl, fcntl, ftruncate, MfdFlag, memfdCreate, Seal } from "../../src/host/libc.ts";
import { CHUNK_BYTES, createSealedMemfd } from "../../src/host/shared-memory.ts";
import { Errno } from "../../src/host/system-error.ts";
import { DmaMap, DmaUnmap, Header } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag, DmaUnmapFlag } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter, VfioUserServer } from "../../src/vfio-user/index.ts";
import { MAX_DMA_MAPS, MAX_MEMORIES, MAX_MEMORY_BYTES } from "../../src/vfio-user/limits.ts";
import { testEveryMessage } from "./every-message.ts";
import { message, openDescriptors, RawPeer, record, rig } from "./raw-peer.ts";
import { BAR2_BYTES, ToyDevice } from "./toy-device.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
const { DMA_MAP, DMA_UNMAP } = Command;
const READ_WRITE = DmaMapFlag.READ | DmaMapFlag.WRITE;

type Integer = number | bigint;
const map = (address: Integer, size: Integer, offset: Integer = 0, flags: number = READ_WRITE): Buffer =>
  record(DmaMap, { flags, address: BigInt(address), size: BigInt(size), offset: BigInt(offset) });
const unmap = (address: number, size: number, flags = 0): Buffer =>
  record(DmaUnmap, { flags, address: BigInt(address), size: BigInt(size) });

testEveryMessage({
  name: "DMA_MAP",
  command: DMA_MAP,
  leastArgsz: DmaMap.byteLength,
  example: ({ memory }) => ({ payload: map(0x10_0000, 4 * PAGE, PAGE), descriptors: [memory(8 * PAGE).descriptor] }),
  prepare: (one) => void one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL)),
});

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

/** A memfd of the peer's own making, closed by the caller. */
function memfd(byteLength: number, seals: number): number {
  const fd = memfdCreate("guest", MfdFlag.CLOEXEC | MfdFlag.ALLOW_SEALING);
  assert.equal(ftruncate(fd, byteLength), 0);
  if (seals !== 0) assert.equal(fcntl(fd, Fcntl.ADD_SEALS, seals), 0);
  return fd;
}

test("DMA_MAP: memory must be sealed against shrinking when it is mapped, and then cannot be truncated any more", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  for (const seals of [0, Seal.GROW, Seal.WRITE, Seal.GROW | Seal.WRITE]) {
    const fd = memfd(4 * PAGE, seals);
    one.expectErrno(Errno.EPERM, DMA_MAP, map(0, PAGE), [fd]);
    closeDescriptor(fd);
  }
  const fd = memfd(4 * PAGE, 0);
  one.expectErrno(Errno.EPERM, DMA_MAP, map(0, PAGE, 0, DmaMapFlag.READ), [fd]);
  assert.equal(fcntl(fd, Fcntl.ADD_SEALS, Seal.SHRINK), 0);
  one.expect(DMA_MAP, map(0, 4 * PAGE), [fd]);
  assert.equal(ftruncate(fd, 0), -1);
  assert.equal(ftruncate(fd, 4 * PAGE - 1), -1);
  assert.equal(device.dma.locate(0, 3 * PAGE), true);
  device.dma.memory.bytes[device.dma.at] = 1;
  closeDescriptor(fd);
});

test("DMA_MAP: memory that grows is mapped again at its new length; what is mapped already stays as it is", (t) => {
  const { ready, device, registry } = rig(t);
  const one = ready();
  const fd = memfd(PAGE, Seal.SHRINK);
  one.expect(DMA_MAP, map(0, PAGE), [fd]);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(PAGE, PAGE, PAGE), [fd]);
  assert.equal(ftruncate(fd, 2 * PAGE), 0);
  one.expect(DMA_MAP, map(PAGE, PAGE, PAGE), [fd]);
  assert.equal(registry.size, 2);
  for (const page of [0, 1]) {
    assert.equal(device.dma.locate(0, page * PAGE), true);
    device.dma.memory.bytes[device.dma.at] = page + 1;
  }
  closeDescriptor(fd);
});

test("DMA_MAP: memory sealed against writing may only be read, also if it is sealed so after it was mapped for reading", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  const fd = memfd(4 * PAGE, Seal.SHRINK | Seal.WRITE);
  one.expectErrno(Errno.EACCES, DMA_MAP, map(0, PAGE), [fd]);
  one.expect(DMA_MAP, map(0, PAGE, 0, DmaMapFlag.READ), [fd]);
  closeDescriptor(fd);
  const later = memfd(4 * PAGE, Seal.SHRINK);
  one.expect(DMA_MAP, map(PAGE, PAGE), [later]);
  assert.equal(fcntl(later, Fcntl.ADD_SEALS, Seal.WRITE), -1, "not while it is mapped writable");
  assert.equal(fcntl(later, Fcntl.ADD_SEALS, Seal.FUTURE_WRITE), 0);
  one.expectErrno(Errno.EACCES, DMA_MAP, map(2 * PAGE, PAGE), [later]);
  one.expect(DMA_MAP, map(2 * PAGE, PAGE, 0, DmaMapFlag.READ), [later]);
  assert.equal(device.dma.locate(0, 2 * PAGE), true);
  assert.equal(device.dma.writable, false);
  closeDescriptor(later);
});

test("DMA_MAP: no descriptor but a memfd's will do", (t) => {
  const { ready, device, registry, strange } = rig(t);
  const one = ready();
  const kinds = strange();
  const before = openDescriptors();
  for (const [kind, fd] of Object.entries(kinds)) {
    const errno = kind === "readOnlyMemory" ? Errno.EACCES : Errno.EPERM;
    one.expectErrno(errno, DMA_MAP, map(0, PAGE), [fd]);
    if (errno === Errno.EPERM) one.expectErrno(errno, DMA_MAP, map(0, PAGE, 0, DmaMapFlag.READ), [fd]);
  }
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE), Object.values(kinds));
  assert.equal(openDescriptors(), before);
  assert.equal(device.dma.mappedBytes, 0);
  assert.ok(registry.size <= 1, "the read-only memory may stay mapped until the session ends");
  const empty = memfd(0, Seal.SHRINK);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE), [empty]);
  closeDescriptor(empty);
});

test("DMA_MAP: a file on a tmpfs cannot be sealed, so it is refused", (t) => {
  const { ready } = rig(t);
  if (!existsSync("/dev/shm")) return t.skip("there is no tmpfs at /dev/shm");
  const path = `/dev/shm/vhca-test-${process.pid}`;
  writeFileSync(path, Buffer.alloc(4 * PAGE));
  const fd = openSync(path, "r+");
  unlinkSync(path);
  assert.equal(fcntl(fd, Fcntl.ADD_SEALS, Seal.SHRINK), -1);
  ready().expectErrno(Errno.EPERM, DMA_MAP, map(0, PAGE), [fd]);
  closeDescriptor(fd);
});

test("DMA_MAP: the device's own BAR, without a descriptor as QEMU sends it, or with it", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(DMA_MAP, map(0xe000_0000, BAR2_BYTES));
  assert.equal(device.dma.locate(0, 0xe000_0000), false, "a device does not copy from itself");
  one.expectErrno(Errno.EEXIST, DMA_MAP, map(0xe000_0000, PAGE));
  one.expect(DMA_UNMAP, unmap(0xe000_0000, BAR2_BYTES));
  one.expect(DMA_MAP, map(0xe000_0000, BAR2_BYTES), [device.shared.descriptor]);
  assert.equal(device.dma.locate(0, 0xe000_0000), true);
});

test("DMA_MAP: a vast hole of memory costs as little as it takes, and there is an end to it", (t) => {
  const { ready, device, registry } = rig(t);
  const one = ready();
  const TIB = 2 ** 40;
  for (let round = 0; round < 200; round++) {
    const vast = memfd(8 * TIB, Seal.SHRINK);
    one.expectErrno(Errno.ENOSPC, DMA_MAP, map(0, PAGE), [vast]);
    closeDescriptor(vast);
  }
  assert.equal(registry.size, 0);
  const half = Array.from({ length: 3 }, () => memfd(MAX_MEMORY_BYTES / 2, Seal.SHRINK));
  const [a = -1, b = -1, c = -1] = half;
  one.expect(DMA_MAP, map(0, MAX_MEMORY_BYTES / 2), [a]);
  one.expect(DMA_MAP, map(TIB, MAX_MEMORY_BYTES / 2), [b]);
  one.expectErrno(Errno.ENOSPC, DMA_MAP, map(2 * TIB, PAGE), [c]);
  assert.equal(device.dma.mappedBytes, MAX_MEMORY_BYTES);
  one.expect(DMA_UNMAP, unmap(TIB, MAX_MEMORY_BYTES / 2));
  one.expect(DMA_MAP, map(2 * TIB, PAGE), [c]);
  assert.equal(registry.size, 2, "memory that is not used any more makes room");
  for (const fd of half) closeDescriptor(fd);
});

test("DMA_MAP: clients that map much and go leave nothing of it in the address space", (t) => {
  const { ready, device } = rig(t);
  const seen = MAX_MEMORY_BYTES - GIB;
  const vast = memfd(seen + PAGE, Seal.SHRINK);
  // 256 TiB in all: more than there are addresses
  for (let round = 0; round < 256; round++) {
    const one = ready();
    one.expect(DMA_MAP, map(0, PAGE, seen), [vast]);
    assert.equal(device.dma.locate(0, 0), true);
    one.close();
  }
  closeDescriptor(vast);
});

/** Requests for `count` pages from `address` on, whose replies nobody wants to read. */
function mapsWithoutReply(address: number, count: number): Buffer {
  const one = message(DMA_MAP, map(0, PAGE), { noReply: 1 });
  const all = Buffer.concat(new Array<Buffer>(count).fill(one));
  for (let i = 0; i < count; i++) {
    DmaMap.address.setBig(
      new DataView(all.buffer, all.byteOffset),
      i * one.length + Header.byteLength,
      BigInt(address + i * PAGE),
    );
  }
  return all;
}

test("DMA_MAP: 65,536 maps are no more than the limit allows, and can all be taken back", (t) => {
  const { ready, server, device, memory } = rig(t);
  const ram = memory(PAGE);
  const one = ready();
  const ASKED = 65_536;
  // every 64th with memory
  for (let i = 0; i < ASKED; i += 64) one.send(mapsWithoutReply(i * PAGE, 64), [ram.descriptor]);
  assert.equal(server.counters[ServerCounter.dmaMap], ASKED);
  assert.equal(server.counters[ServerCounter.errors], ASKED - MAX_DMA_MAPS);
  assert.equal(device.dma.mappedBytes, (MAX_DMA_MAPS / 64) * PAGE);
  one.expectErrno(Errno.ENOSPC, DMA_MAP, map(ASKED * PAGE, PAGE), [ram.descriptor]);
  one.expect(DMA_UNMAP, unmap(0, 0, DmaUnmapFlag.ALL));
  one.expect(DMA_MAP, map(0, PAGE), [ram.descriptor]);
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

test("DMA_MAP: an overlap of a single page at either end, inside and all around is refused, a neighbour is not", (t) => {
  const { ready, device, memory } = rig(t);
  const fd = [memory(16 * PAGE).descriptor];
  const one = ready();
  one.expect(DMA_MAP, map(4 * PAGE, 4 * PAGE), fd);
  const overlaps = [
    [3, 2],
    [7, 2],
    [5, 1],
    [0, 16],
    [4, 4],
  ] as const;
  for (const [first, pages] of overlaps) {
    one.expectErrno(Errno.EEXIST, DMA_MAP, map(first * PAGE, pages * PAGE), fd);
    one.expectErrno(Errno.EEXIST, DMA_MAP, map(first * PAGE, pages * PAGE));
  }
  one.expect(DMA_MAP, map(3 * PAGE, PAGE), fd);
  one.expect(DMA_MAP, map(8 * PAGE, PAGE));
  assert.equal(device.dma.mappedBytes, 5 * PAGE);
});

test("DMA_MAP: memory that ends in the middle of a page is mapped up to its last whole page, and empty memory not at all", (t) => {
  const { ready } = rig(t);
  const [odd, empty] = [createSealedMemfd("odd", 2 * PAGE + 1), createSealedMemfd("empty", 0)];
  const one = ready();
  one.expect(DMA_MAP, map(0, 2 * PAGE), [odd]);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(2 * PAGE, PAGE, 2 * PAGE), [odd]);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(2 * PAGE, 1, 2 * PAGE), [odd]);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(2 * PAGE, PAGE), [empty]);
  for (const fd of [odd, empty]) closeDescriptor(fd);
});

test("DMA_MAP: every wrong value", (t) => {
  const { ready, memory } = rig(t);
  const ram = memory(4 * PAGE);
  const fd = [ram.descriptor];
  const one = ready();
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE).subarray(0, 31), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, record(DmaMap, { argsz: 31, flags: READ_WRITE, size: BigInt(PAGE) }), fd);
  for (const flag of [16, 2 ** 31, 0xffff_fff0])
    one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 0, (READ_WRITE | flag) >>> 0), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 0, 0), fd);
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
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(2 ** 43 - PAGE, 2 * PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 2n ** 64n - 4096n), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, PAGE, 2 ** 53 - PAGE), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, 2n ** 64n - 4096n), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(4096, 2n ** 64n - 4096n), fd);
  one.expectErrno(Errno.EINVAL, DMA_MAP, map(0, 0));
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
  for (let i = MAX_MEMORIES; i < MAX_DMA_MAPS - 1; i++) one.send(mapsWithoutReply(2 ** 40 + i * PAGE, 1));
  one.expect(DMA_MAP, map(2 ** 41 + PAGE, PAGE));
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
