// `vhca up` in the background: another process of ours, whose start is waited for, and whose refusal is the user's to read.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError, lastLines } from "../lab/lab-error.ts";
import { makePrivateFolder, runRoot } from "../lab/paths.ts";
import { findDomains, type RunningDomain } from "./domains.ts";
import { catchInterrupts } from "./interrupt.ts";
import { ExitCode, UsageError } from "./output.ts";

const START_TIMEOUT_MS = 20_000;
const LOOK_MS = 50;
const LOG_FILE = "domain.log";
/** Set for the background process, which has nobody to talk to. */
export const QUIET_VARIABLE = "VHCA_UP_QUIET";

/**
 * Starts `vhca` with these arguments in the background and waits until it serves. One that does not in time is ended, and so is one whose
 * start is interrupted.
 * @returns the domain; undefined after an interrupt, whose exit status is then set
 * @throws UsageError with what it refused, LabError with the end of its log
 */
export async function startInBackground(args: readonly string[]): Promise<RunningDomain | undefined> {
  makePrivateFolder(runRoot());
  const logPath = join(runRoot(), LOG_FILE);
  const interrupt = catchInterrupts();
  const child = spawnQuietly(args, logPath);
  try {
    const domain = await untilServed(child, interrupt.signal);
    if (domain !== undefined) return domain;
    if (child.exitCode === null && child.signalCode === null) child.kill();
    if (interrupt.status === undefined) throw failure(child, logPath);
    process.exitCode = interrupt.status;
    return undefined;
  } finally {
    interrupt.dispose();
  }
}

function spawnQuietly(args: readonly string[], logPath: string): ChildProcess {
  const entry = process.argv[1];
  if (entry === undefined) throw new Error("invariant: a program has a file");
  const logFile = openSync(logPath, "w", 0o600);
  const child = spawn(process.execPath, [...process.execArgv, entry, ...args], {
    detached: true,
    stdio: ["ignore", logFile, logFile],
    env: { ...process.env, [QUIET_VARIABLE]: "1" },
  });
  closeSync(logFile);
  child.unref();
  return child;
}

/** The domain of that process; undefined if it has ended, takes too long, or nobody waits any more. */
async function untilServed(child: ChildProcess, signal: AbortSignal): Promise<RunningDomain | undefined> {
  for (const start = Date.now(); Date.now() - start < START_TIMEOUT_MS; ) {
    if (signal.aborted || child.exitCode !== null || child.signalCode !== null) return undefined;
    const domain = (await findDomains()).find(({ status }) => status.pid === child.pid);
    if (domain !== undefined) return domain;
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
  }
  return undefined;
}

function failure({ exitCode }: ChildProcess, logPath: string): Error {
  const details = lastLines(readFileSync(logPath, "utf8"));
  const [, refusal] = /^vhca: (.*)/m.exec(details) ?? [];
  if (exitCode === ExitCode.USAGE && refusal !== undefined) return new UsageError(refusal);
  return new LabError("boot", `the device domain did not start; its log is ${logPath}`, { details });
}
