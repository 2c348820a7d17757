// Descriptors of every kind, to be sent where another kind belongs.

import { execFileSync } from "node:child_process";
import { constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEventfd } from "../../src/host/eventfd.ts";
import { check, SocketConstant, socket } from "../../src/host/libc.ts";
import { createSharedMemory } from "../../src/host/shared-memory.ts";

export type StrangeKind = "pipe" | "directory" | "socket" | "null" | "file" | "path" | "event" | "readOnlyMemory";

export type StrangeDescriptors = Readonly<Record<StrangeKind, number>>;

/** One of each. The memory is 64 KiB and sealed, but its descriptor is for reading only. */
export function openStrangeDescriptors(): StrangeDescriptors {
  const folder = mkdtempSync(join(tmpdir(), "vhca-strange-"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  writeFileSync(join(folder, "file"), Buffer.alloc(65_536));
  const memory = createSharedMemory("guest", 65_536);
  const made: StrangeDescriptors = {
    pipe: openSync(join(folder, "pipe"), constants.O_RDWR | constants.O_NONBLOCK),
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

/** open(2): a descriptor that only names a file; Node does not know it. */
const O_PATH = 0o10000000;
