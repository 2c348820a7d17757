import assert from "node:assert/strict";
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { closeDescriptor } from "./libc.ts";
import { createSealedMemfd } from "./shared-memory.ts";
import { copySparse } from "./sparse.ts";

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), "vhca-sparse-"));
after(() => rmSync(folder, { recursive: true }));

/** A memfd of 64 MiB with some pages written, one of them with zeros; the bytes that are not zero. */
function makeMemory(): { fd: number; pieces: Map<number, Buffer> } {
  const fd = createSealedMemfd("sparse", 64 * MIB);
  const pieces = new Map([
    [0, Buffer.alloc(10, 1)],
    [3 * MIB - 5, Buffer.alloc(20, 2)],
    [40 * MIB, Buffer.alloc(2 * MIB + 4096, 3)],
    [64 * MIB - 1, Buffer.alloc(1, 4)],
  ]);
  for (const [at, piece] of pieces) writeSync(fd, piece, 0, piece.length, at);
  writeSync(fd, Buffer.alloc(4 * MIB), 0, 4 * MIB, 20 * MIB);
  return { fd, pieces };
}

test("copySparse: every byte arrives, in a file and back in memory, and zero pages take no space", () => {
  const { fd, pieces } = makeMemory();
  const path = join(folder, "memory");
  const file = openSync(path, "wx+");
  ftruncateSync(file, 64 * MIB);
  const copied = copySparse(fd, file);
  const expected = Buffer.alloc(64 * MIB);
  for (const [at, piece] of pieces) piece.copy(expected, at);
  assert.ok(readFileSync(path).equals(expected));
  // 1 page, 2 that a piece straddles, 513 pages, 1 page
  assert.equal(copied, (1 + 2 + 513 + 1) * 4096);
  assert.ok(statSync(path).blocks * 512 < 3 * MIB, `${statSync(path).blocks * 512} bytes on disk`);

  const again = createSealedMemfd("again", 64 * MIB);
  assert.equal(copySparse(file, again), copied);
  assert.ok(readFileSync(`/proc/self/fd/${again}`).equals(expected));
  for (const each of [fd, again]) closeDescriptor(each);
  closeSync(file);
});

test("copySparse: a file that was cut off, and one of another size, are refused", () => {
  const path = join(folder, "short");
  const file = openSync(path, "wx+");
  const memory = createSealedMemfd("short", 2 * MIB);
  truncateSync(path, 2 * MIB - 4096);
  assert.throws(() => copySparse(file, memory), /expected 2097152 bytes, got 2093056/);
  closeDescriptor(memory);
  closeSync(file);
});
