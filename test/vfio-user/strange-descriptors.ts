// Descriptors of every kind, to be sent where another kind belongs.

import assert from "node:assert/strict";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEventfd } from "../../src/host/eventfd.ts";
import { check, closeDescriptor, SocketConstant, socket, syscall } from "../../src/host/libc.ts";
import { allocateNative } from "../../src/host/mapping.ts";
import { createSharedMemory } from "../../src/host/shared-memory.ts";

export type StrangeKind = "pipe" | "directory" | "socket" | "null" | "file" | "path" | "event" | "readOnlyMemory";

export type StrangeDescriptors = Readonly<Record<StrangeKind, number>>;

/** One of each. The memory is 64 KiB and sealed, but its descriptor is for reading only. */
export function openStrangeDescriptors(): StrangeDescriptors {
  const folder = mkdtempSync(join(tmpdir(), "vhca-strange-"));
  writeFileSync(join(folder, "file"), Buffer.alloc(65_536));
  const memory = createSharedMemory("guest", 65_536);
  const made: StrangeDescriptors = {
    pipe: writingEndOfPipe(),
    directory: openSync(folder, "r"),
    socket: check(socket(SocketConstant.AF_UNIX, SocketConstant.STREAM, 0), "socket"),
    null: openSync("/dev/null", "r+"),
    file: openSync(join(folder, "file"), "r+"),
    path: openSync(`/proc/self/fd/${memory.descriptor}`, O_PATH),
    event: createEventfd(),
    readOnlyMemory: openSync(`/proc/self/fd/${memory.descriptor}`, "r"),
  };
  memory.close();
  rmSync(folder, { recursive: true });
  return made;
}

function writingEndOfPipe(): number {
  const number = { x64: 293, arm64: 59 }[process.arch as string];
  assert.ok(number, "the number of pipe2(2) on this machine");
  const ends = allocateNative(8);
  check(syscall(number, ends.address, 0, 0), "pipe2");
  closeDescriptor(ends.view.getInt32(0, true));
  const writing = ends.view.getInt32(4, true);
  ends.mapping.release();
  return writing;
}

/** open(2): a descriptor that only names a file; Node does not know it. */
const O_PATH = 0o10000000;
