// Two `vhca up` at the same time: the second must see the first, which does not serve yet. Held while a domain starts, and no longer.

import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makePrivateFolder, runRoot } from "../lab/paths.ts";
import { identify, isRunning, type ProcessId } from "../lab/run-folder.ts";
import { UsageError } from "./output.ts";

const LOCK_FILE = "up.lock";

/** Takes the lock, also from a process that has ended; returns what gives it back. @throws UsageError if somebody has it */
export function takeStartLock(): () => void {
  makePrivateFolder(runRoot());
  const path = join(runRoot(), LOCK_FILE);
  while (!tryTake(path)) {
    const owner = readOwner(path);
    if (owner !== undefined && isRunning(owner))
      throw new UsageError(`a device domain is starting already (process ${owner.pid}); vhca status shows it when it is up`);
    // It may have been given back meanwhile.
    rmSync(path, { force: true });
  }
  return () => rmSync(path, { force: true });
}

/** The lock appears with its owner in it: one without would be taken for that of a process that has ended. */
function tryTake(path: string): boolean {
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    linkSync(mine, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(mine);
  }
}

function readOwner(path: string): ProcessId | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessId;
  } catch {
    return undefined;
  }
}
