// Two `vhca up` at the same time: the second must see the first, which does not serve yet. Held while a domain starts, and no longer.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type FileLock, tryFileLock } from "../host/file-lock.ts";
import { makePrivateFolder, runRoot } from "../lab/paths.ts";
import { UsageError } from "./output.ts";

const LOCK_FILE = "up.lock";

/** Takes the lock; returns what gives it back, to be called once. @throws UsageError if somebody has it */
export function takeStartLock(): () => void {
  const path = join(runRoot(), LOCK_FILE);
  const lock = tryLock(path);
  if (lock === undefined)
    throw new UsageError(`a device domain is starting already${ownerText(path)}; vhca status shows it when it is up`);
  return () => lock.release();
}

function tryLock(path: string): FileLock | undefined {
  for (;;) {
    makePrivateFolder(runRoot());
    try {
      return tryFileLock(path, String(process.pid));
    } catch (error) {
      // a lab that ends removes the empty folder
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

/** Nothing if it has just been given back, or its owner has not said yet who it is. */
function ownerText(path: string): string {
  try {
    const [pid] = /^\d+$/.exec(readFileSync(path, "utf8")) ?? [];
    return pid === undefined ? "" : ` (process ${pid})`;
  } catch {
    return "";
  }
}
