import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { check, closeDescriptor, duplicateDescriptor, Fcntl, fcntl, ftruncate, MfdFlag, memfdCreate, Seal } from "./libc.ts";
import { Mapping } from "./mapping.ts";
import { CHUNK_BYTES, createSharedMemory, SharedMemoryRegistry } from "./shared-memory.ts";
import { Errno } from "./system-error.ts";

test("createSharedMemory: sealed, mapped, and seen through a second mapping of its descriptor", () => {
  const own = createSharedMemory("vhca-test", 5000);
  assert.equal(own.byteLength, 8192);
  assert.equal(ftruncate(own.descriptor, 0), -1, "sealed memory cannot shrink");
  const registry = new SharedMemoryRegistry();
  const seen = registry.acquire(own.descriptor);
  own.memory.view.setUint32(8188, 0x11223344, true);
  assert.equal(seen.chunk(0).words[2047], 0x11223344);
  assert.equal(seen.isWritable, true);
  registry.release(seen);
  own.close();
});

test("SharedMemoryRegistry: one mapping for all descriptors of one memfd, gone after the last release", () => {
  const own = createSharedMemory("vhca-test", 4096);
  const registry = new SharedMemoryRegistry();
  const second = duplicateDescriptor(own.descriptor);
  const a = registry.acquire(own.descriptor);
  assert.equal(registry.acquire(second), a);
  closeSync(second);
  assert.equal(registry.size, 1);
  registry.release(a);
  assert.equal(registry.size, 1);
  a.chunk(0).view.setUint8(0, 7);
  assert.equal(own.memory.bytes[0], 7);
  registry.release(a);
  assert.equal(registry.size, 0);
  assert.throws(() => registry.release(a), /invariant/);
  own.close();
});

test("SharedMemoryRegistry: refuses what can shrink, and says how to mend it", () => {
  const registry = new SharedMemoryRegistry();
  const unsealed = check(memfdCreate("unsealed", MfdFlag.CLOEXEC | MfdFlag.ALLOW_SEALING), "memfd_create");
  ftruncate(unsealed, 4096);
  assert.throws(() => registry.acquire(unsealed), { errno: Errno.EPERM, message: /F_SEAL_SHRINK.*memory-backend-memfd/ });
  const path = join(tmpdir(), `vhca-plain-${process.pid}`);
  writeFileSync(path, "x".repeat(4096));
  const plain = openSync(path, "r+");
  assert.throws(() => registry.acquire(plain), { errno: Errno.EPERM });
  closeSync(plain);
  unlinkSync(path);
  check(fcntl(unsealed, Fcntl.ADD_SEALS, Seal.SHRINK), "fcntl");
  assert.equal(registry.acquire(unsealed).byteLength, 4096);
  closeSync(unsealed);
});

test("SharedMemoryRegistry: huge pages are refused, which can be taken away in spite of seals", (t) => {
  const huge = memfdCreate("huge", MfdFlag.CLOEXEC | MfdFlag.ALLOW_SEALING | MfdFlag.HUGETLB);
  if (huge < 0) return t.skip("this kernel has no huge pages");
  ftruncate(huge, 2 ** 21);
  check(fcntl(huge, Fcntl.ADD_SEALS, Seal.SHRINK), "fcntl");
  assert.throws(() => new SharedMemoryRegistry().acquire(huge), { errno: Errno.EPERM, message: /without hugetlb=on/ });
  closeDescriptor(huge);
});

test("SharedMemoryRegistry: a read-only descriptor never yields a writable mapping, even of memory mapped writable before", () => {
  const registry = new SharedMemoryRegistry();
  const own = createSharedMemory("vhca-test", 4096);
  const writable = registry.acquire(own.descriptor);
  const reopened = openSync(`/proc/self/fd/${own.descriptor}`, "r");
  const readOnly = registry.acquire(reopened);
  assert.equal(readOnly.isWritable, false);
  assert.notEqual(readOnly, writable);
  closeSync(reopened);
  own.close();
});

test("SharedMemory: memory beyond 1 GiB comes in chunks", () => {
  const own = createSharedMemory("vhca-test", CHUNK_BYTES + 8192);
  assert.equal(own.memory.bytes.length, CHUNK_BYTES);
  const second = own.shared.chunk(1);
  assert.equal(second.bytes.length, 8192);
  second.bytes[8191] = 9;
  assert.equal(own.shared.chunk(1), second);
  own.close();
});

test("Mapping: a view that outlives its release reads zeros and harms nobody", () => {
  const own = createSharedMemory("vhca-test", 4096);
  const late = own.memory;
  late.bytes.fill(0xee);
  own.close();
  assert.equal(late.bytes[100], 0);
  late.bytes[100] = 1;
  const mapping = Mapping.anonymous(4096);
  mapping.release();
  mapping.release();
  assert.throws(() => mapping.memory(0, 4096), /invariant/);
});

/** How many bytes of [from, end) are mapped, by /proc/self/maps. */
function mappedBytes(from: number, end: number): number {
  let bytes = 0;
  for (const [, first = "", last = ""] of readFileSync("/proc/self/maps", "utf8").matchAll(/^([0-9a-f]+)-([0-9a-f]+) /gm)) {
    bytes += Math.max(0, Math.min(Number.parseInt(last, 16), end) - Math.max(Number.parseInt(first, 16), from));
  }
  return bytes;
}

test("Mapping: a release gives back the addresses that nobody has seen at once", () => {
  const fd = check(memfdCreate("vhca-test", MfdFlag.CLOEXEC), "memfd_create");
  ftruncate(fd, 2 ** 30);
  const mapping = Mapping.ofDescriptor(fd, 2 ** 30, true);
  const seen = [mapping.memory(2 ** 20, 8192), mapping.memory(2 ** 20 + 4096, 12_288), mapping.memory(2 ** 29, 100)];
  const end = mapping.address + 2 ** 30;
  assert.equal(mappedBytes(mapping.address, end), 2 ** 30);
  mapping.release();
  const left = mappedBytes(mapping.address, end);
  assert.ok(left >= 20_480 && left < 2 ** 26, `${left} bytes are still mapped; others may have taken some of the room`);
  for (const memory of seen) assert.equal(memory.bytes[0], 0);
  closeDescriptor(fd);
});

test("SharedMemory: a part outside the memory or across a GiB is refused", () => {
  const own = createSharedMemory("vhca-test", 8192);
  for (const [offset, length] of [
    [0, 8193],
    [8192, 1],
    [2 ** 40, 4096],
    [CHUNK_BYTES - 4096, 8192],
    [0, 0],
  ] as const) {
    assert.throws(() => own.shared.slice(offset, length), { errno: Errno.EINVAL }, `${length} bytes at ${offset}`);
  }
  assert.equal(own.shared.slice(4096, 4096).bytes.length, 4096);
  own.close();
});
