// Runs a host program. Every program we start dies with us: it is wrapped in `setpriv --pdeathsig` where that exists.

import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Ends the program when aborted. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
  /** Called for each line of standard output and standard error as it comes. */
  readonly onLine?: (line: string) => void;
  /** Called for each line written to descriptor 3 (apt's status descriptor). */
  readonly onStatusLine?: (line: string) => void;
}

/** A program ended by a signal, or that never started, has this status. */
export const STATUS_NOT_RUN = -1;

/** The bytes of output kept for the result; more is dropped from the front. */
const KEPT_OUTPUT = 4 << 20;

/** The path of a program in PATH or one of the administrator's folders, which an ordinary user's PATH lacks. */
export function findProgram(name: string, env: Readonly<Record<string, string | undefined>> = process.env): string | undefined {
  const folders = [...(env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  for (const folder of folders) {
    if (!folder.startsWith("/")) continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not there
    }
  }
  return undefined;
}

const setpriv = findProgram("setpriv");

/** The command line that makes a program receive `signal` when our process dies (prctl(2), PR_SET_PDEATHSIG). */
export function tiedToUs(file: string, args: readonly string[], signal: "KILL" | "TERM" = "KILL"): [string, string[]] {
  return setpriv === undefined ? [file, [...args]] : [setpriv, ["--pdeathsig", signal, "--", file, ...args]];
}

/** Starts a program that dies with us, in a session of its own so that Ctrl-C in the terminal reaches only us. */
export function spawnTied(file: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const [program, programArgs] = tiedToUs(file, args);
  return spawn(program, programArgs, { detached: true, ...options });
}

/** Splits a stream into lines; a last line without end counts. */
export function onLines(stream: Readable, callback: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) callback(line);
  });
  stream.on("end", () => {
    if (rest !== "") callback(rest);
  });
}

/** Sends a signal to the process group of a program started by `spawnTied`; one that is gone is no mistake. */
export function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // it ended already
  }
}

/** Runs a program to its end. A failing program is a result, not an exception; an abort throws the signal's reason. */
export function runCommand(file: string, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  options.signal?.throwIfAborted();
  const child = spawnTied(file, args, {
    env: (options.env ?? process.env) as NodeJS.ProcessEnv,
    cwd: options.cwd,
    stdio: [
      options.input === undefined ? "ignore" : "pipe",
      "pipe",
      "pipe",
      options.onStatusLine === undefined ? "ignore" : "pipe",
    ],
  });
  const output = { stdout: "", stderr: "" };
  collect(child.stdout, output, "stdout", options.onLine);
  collect(child.stderr, output, "stderr", options.onLine);
  const status = child.stdio[3] as Readable | null | undefined;
  if (options.onStatusLine !== undefined && status) onLines(status, options.onStatusLine);
  if (options.input !== undefined) {
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.input);
  }
  return finish(child, output, options);
}

function finish(
  child: ChildProcess,
  output: { stdout: string; stderr: string },
  options: CommandOptions,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const end = (): void => signalGroup(child.pid, "SIGTERM");
    const timer =
      options.timeoutMs === undefined ? undefined : setTimeout(() => signalGroup(child.pid, "SIGKILL"), options.timeoutMs);
    options.signal?.addEventListener("abort", end, { once: true });
    const settle = (status: number): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", end);
      if (options.signal?.aborted) reject(options.signal.reason);
      else resolve({ status, stdout: output.stdout, stderr: output.stderr });
    };
    child.on("error", (error) => {
      output.stderr += error.message;
      settle(STATUS_NOT_RUN);
    });
    child.on("close", (code) => settle(code ?? STATUS_NOT_RUN));
  });
}

function collect(
  stream: Readable | null,
  output: { stdout: string; stderr: string },
  key: "stdout" | "stderr",
  onLine: ((line: string) => void) | undefined,
): void {
  if (stream === null) return;
  onLines(stream, (line) => {
    output[key] += `${line}\n`;
    if (output[key].length > 2 * KEPT_OUTPUT) output[key] = output[key].slice(-KEPT_OUTPUT);
    onLine?.(line);
  });
}
