import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { extractVmlinux } from "./vmlinux.ts";

const PVH_NOTE = Buffer.from([4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0, ...Buffer.from("Xen\0")]);
const kernel = Buffer.concat([Buffer.from("\x7fELF", "latin1"), Buffer.alloc(5000, 1), PVH_NOTE]);

/** A bzImage with its payload after two sectors of set-up code. */
function bzImage(payload: Buffer): Buffer {
  const image = Buffer.alloc(2 * 512 + 64 + payload.length + 4 + 100);
  image[0x1f1] = 1;
  image.write("HdrS", 0x202, "latin1");
  image.writeUInt32LE(64, 0x248);
  image.writeUInt32LE(payload.length + 4, 0x24c);
  payload.copy(image, 2 * 512 + 64);
  return image;
}

test("vmlinux: the ELF kernel comes out of a bzImage packed with zstd or gzip", () => {
  assert.deepEqual(extractVmlinux(bzImage(zstdCompressSync(kernel))), kernel);
  assert.deepEqual(extractVmlinux(bzImage(gzipSync(kernel))), kernel);
});

test("vmlinux: what QEMU could not start directly is left alone", () => {
  assert.equal(extractVmlinux(bzImage(zstdCompressSync(kernel.subarray(0, 4000)))), undefined, "no PVH entry");
  assert.equal(extractVmlinux(bzImage(Buffer.from("\xfd7zXZ\0 something", "latin1"))), undefined, "packed in another way");
  assert.equal(extractVmlinux(Buffer.alloc(4096)), undefined, "not a bzImage");
  const damaged = gzipSync(kernel);
  damaged.fill(0xff, damaged.length >> 1);
  assert.equal(extractVmlinux(bzImage(damaged)), undefined, "looks like gzip and is not");
  assert.equal(extractVmlinux(bzImage(gzipSync(Buffer.of(0x7f)))), undefined, "one byte");
});
