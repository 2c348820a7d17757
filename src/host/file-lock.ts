// Locks of the kernel's on files (flock(2)): each ends with the process that holds it, however that ends, so that there is no dead one to take over.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { check, flock, LockOperation, lastErrno } from "./libc.ts";
import { Errno } from "./system-error.ts";

const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;

export interface FileLock {
  /** Removes the file and gives the lock back; to be called once. */
  release(): void;
}

/**
 * Takes the lock of a file, which is made if need be, and writes `text` into it for others to read.
 * @returns undefined if somebody has it
 * @throws SystemError, or an error of node:fs such as ENOENT for a folder that is not there
 */
export function tryFileLock(path: string, text: string): FileLock | undefined {
  for (;;) {
    const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    if (!tryLock(fd)) {
      closeSync(fd);
      return undefined;
    }
    if (!isStillAt(path, fd)) {
      // it was given back, and its file removed, between the two calls
      closeSync(fd);
      continue;
    }
    ftruncateSync(fd);
    writeSync(fd, text);
    return {
      release: () => {
        // first the file, as long as nobody else can have its lock
        rmSync(path, { force: true });
        closeSync(fd);
      },
    };
  }
}

function tryLock(fd: number): boolean {
  const result = flock(fd, LockOperation.EXCLUSIVE | LockOperation.NONBLOCKING);
  if (result < 0 && lastErrno() === Errno.EWOULDBLOCK) return false;
  check(result, "flock");
  return true;
}

function isStillAt(path: string, fd: number): boolean {
  const [there, ours] = [statSync(path, { throwIfNoEntry: false }), fstatSync(fd)];
  return there?.ino === ours.ino && there.dev === ours.dev;
}
