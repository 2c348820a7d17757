// The compiled part of the transport (src/transport/plain): the file beside its sources, which is never in git. A package brings it; a clone
// compiles it when it is first wanted (a second) and whenever the sources have changed, so that the program always fits the code around it.

import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { type Log, silentLog } from "../base/log.ts";

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

const PROGRAM = path("../transport/plain/plain.wasm");
const SOURCES = path("../transport/plain/assembly/");
/** Part of both programs. */
const LAYOUT = path("../transport/plain/layout.ts");
const ROOT = path("../../");
const COMPILER = path("../../node_modules/assemblyscript/bin/asc.js");
const COMPILE_TIMEOUT_MS = 60_000;

let hasWarned = false;

/**
 * The WebAssembly program for requests of one segment, compiled before if need be.
 * Without it everything works, more slowly: undefined if it is not there and cannot be compiled (development dependencies not installed,
 * folder not writable, an error in it), and the first time a warning with the reason and how to mend it.
 */
export function loadPlainProgram(log: Log = silentLog): Uint8Array | undefined {
  try {
    if (isStale()) compile();
    return readFileSync(PROGRAM);
  } catch (error) {
    if (!hasWarned)
      log.warn(
        `short requests take longer: no ${PROGRAM} (${reason(error)}); "npm ci && npm run build:wasm" mends it, or says why not`,
      );
    hasWarned = true;
    return undefined;
  }
}

/** How V8 compiles WebAssembly: quickly and function by function as they are called; or all of a program, as well as it can. */
const QUICKLY = ["--liftoff", "--wasm-lazy-compilation"];
const WELL = ["--no-liftoff", "--no-wasm-lazy-compilation"];

/**
 * Calls `make`, during which V8 optimises WebAssembly as soon as it compiles it. Left to itself it makes slow code first and optimises what has run
 * for some thousands of requests (decision 16). Takes 5 ms for the plain program.
 */
export function optimizeAtOnce<T>(make: () => T): T {
  for (const flag of WELL) setFlagsFromString(flag);
  try {
    return make();
  } finally {
    for (const flag of QUICKLY) setFlagsFromString(flag);
  }
}

const changedAt = (file: string): number => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Number.NEGATIVE_INFINITY;

/** Whether a source is newer than the program, or one has come or gone since; never in a package, which has no sources. */
function isStale(): boolean {
  if (!import.meta.url.endsWith(".ts")) return false;
  const builtAt = changedAt(PROGRAM);
  const sources = [LAYOUT, SOURCES, ...readdirSync(SOURCES).map((name) => join(SOURCES, name))];
  return sources.some((name) => changedAt(name) >= builtAt);
}

/** As `npm run build:wasm`, but nobody else ever sees half a file: tests start many processes at once. */
function compile(): void {
  if (!existsSync(COMPILER)) throw new Error("assemblyscript, a development dependency, is not installed");
  const unfinished = `${PROGRAM}.${randomUUID()}`;
  const args = [COMPILER, "--config", join(SOURCES, "asconfig.json"), "--noColors", "--outFile", unfinished];
  try {
    execFileSync(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"], timeout: COMPILE_TIMEOUT_MS });
    renameSync(unfinished, PROGRAM);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** In one line; the compiler says what is wrong on its standard error. */
function reason(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: Buffer };
  const lines = stderr?.toString().split("\n") ?? [];
  return lines.find((line) => line.includes("ERROR") || line.startsWith("Error:")) ?? message;
}
