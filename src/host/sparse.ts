// Copies of files that are mostly holes, such as the memory of a machine: what was never written is neither read nor allocated.
// lseek(2), SEEK_DATA and SEEK_HOLE.

import { fstatSync, readSync, writeSync } from "node:fs";
import { check, lastErrno, lseek, Whence } from "./libc.ts";
import { Errno, SystemError } from "./system-error.ts";

const CHUNK_BYTES = 1 << 20;
const PAGE_BYTES = 4096;
const ZERO_PAGE = Buffer.alloc(PAGE_BYTES);

/** Calls `visit` for each stretch of `fd` that holds data, in order, in pieces of at most 1 MiB. The buffer is used again. */
function forEachPiece(fd: number, visit: (piece: Buffer, offset: number) => void): void {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (let end = 0; ; ) {
    let at = lseek(fd, end, Whence.DATA);
    if (at < 0 && lastErrno() === Errno.ENXIO) return;
    check(at, "lseek", "SEEK_DATA");
    end = check(lseek(fd, at, Whence.HOLE), "lseek", "SEEK_HOLE");
    while (at < end) {
      const length = readSync(fd, chunk, 0, Math.min(CHUNK_BYTES, end - at), at);
      if (length === 0) throw new SystemError("read", Errno.EIO, `end of file at ${at}, expected data up to ${end}`);
      visit(chunk.subarray(0, length), at);
      at += length;
    }
  }
}

/**
 * Copies what is in `from` to the same places of `to`, which must be all zero and as large; pages that are zero stay holes.
 * Writing a memfd this way costs a sixteenth of copying into a mapping of it, which takes a fault for every page.
 * @returns how many bytes were copied
 * @throws SystemError if the sizes differ or the files cannot be read or written
 */
export function copySparse(from: number, to: number): number {
  const [size, expected] = [fstatSync(from).size, fstatSync(to).size];
  if (size !== expected) throw new SystemError("copy", Errno.EINVAL, `expected ${expected} bytes, got ${size}`);
  let copied = 0;
  const copy = (piece: Buffer, offset: number): void => {
    for (let done = 0; done < piece.length; ) done += writeSync(to, piece, done, piece.length - done, offset + done);
    copied += piece.length;
  };
  forEachPiece(from, (piece, offset) => {
    // runs of pages that are not zero
    let start = -1;
    for (let at = 0; at < piece.length; at += PAGE_BYTES) {
      const page = piece.subarray(at, at + PAGE_BYTES);
      const isZero = page.equals(page.length === PAGE_BYTES ? ZERO_PAGE : ZERO_PAGE.subarray(0, page.length));
      if (isZero && start >= 0) copy(piece.subarray(start, at), offset + start);
      if (isZero) start = -1;
      else if (start < 0) start = at;
    }
    if (start >= 0) copy(piece.subarray(start), offset + start);
  });
  return copied;
}
