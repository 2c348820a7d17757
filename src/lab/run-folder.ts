// One folder per running lab: sockets, logs, keys, and who owns it. Whoever starts a lab first clears the folders whose owner
// is dead, and ends what these left running.

import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { makePrivateFolder, runRoot } from "./paths.ts";

/** A process that cannot be confused with a later one of the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to its start (proc_pid_stat(5)). */
  readonly startTicks: string;
}

/** Field 22 of a stat line; the name in field 2 may hold blanks and parentheses. */
export function parseStartTicks(stat: string): string | undefined {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

/** Start time and state of a process that runs; undefined for one that ended (a zombie ended). */
export function identify(pid: number): ProcessId | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const startTicks = parseStartTicks(stat);
    const isZombie = stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
    return startTicks === undefined || isZombie ? undefined : { pid, startTicks };
  } catch {
    return undefined;
  }
}

export function isRunning(id: ProcessId): boolean {
  return identify(id.pid)?.startTicks === id.startTicks;
}

/** The facts of `lab.json`, for other processes of the same user. */
export interface LabRecord {
  readonly id: string;
  readonly owner: ProcessId;
  readonly startedAt: string;
  /** Its nodes, and what reaches them. */
  readonly nodes: readonly { readonly name: string; readonly controlSocket: string }[];
  /** ssh and its first arguments. */
  readonly ssh: { readonly file: string; readonly args: readonly string[] };
}

const RECORD = "lab.json";
const OWNER = "owner.json";
const PROCESSES = "processes";
/** A folder without an owner yet is being made right now, unless it is older than this. */
const BIRTH_MS = 60_000;

export class RunFolder {
  readonly path: string;
  readonly id: string;

  private constructor(path: string) {
    this.path = path;
    this.id = basename(path);
  }

  /** Makes the folder of a new lab, after clearing those of dead ones. */
  static create(root = runRoot()): RunFolder {
    sweepRunFolders(root);
    for (;;) {
      // another lab that ends may remove the empty root between two lines
      makePrivateFolder(root);
      const path = join(root, randomBytes(3).toString("hex"));
      if (!tryMake(path)) continue;
      writeFileSync(join(path, OWNER), JSON.stringify(identify(process.pid)));
      return new RunFolder(path);
    }
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Notes a process that must not outlive the lab. */
  addProcess(pid: number | undefined): void {
    const id = pid === undefined ? undefined : identify(pid);
    if (id !== undefined) appendFileSync(this.file(PROCESSES), `${id.pid} ${id.startTicks}\n`);
  }

  writeRecord(record: Omit<LabRecord, "id" | "owner">): void {
    const owner = identify(process.pid);
    const text = JSON.stringify({ id: this.id, owner, ...record }, null, 2);
    writeFileSync(this.file(`${RECORD}.new`), text);
    renameSync(this.file(`${RECORD}.new`), this.file(RECORD));
  }

  /** Removes the folder, and the root if this was the last; synchronous, so that it also works while the process exits. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
    removeIfEmpty(dirname(this.path));
  }
}

function tryMake(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOENT") return false;
    throw error;
  }
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // another lab is in it
  }
}

/** Clears the folders of labs whose process is gone; returns their names. */
export function sweepRunFolders(root = runRoot()): string[] {
  const removed: string[] = [];
  for (const name of existsSync(root) ? readdirSync(root) : []) {
    const folder = join(root, name);
    // Files beside the folders, such as the log of a domain that is up, are nobody's run.
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true || !isAbandoned(folder)) continue;
    for (const id of readProcesses(folder)) if (isRunning(id)) endProcess(id.pid);
    rmSync(folder, { recursive: true, force: true });
    removed.push(name);
  }
  return removed;
}

/** The labs of this user that are running, oldest first. */
export function listLabs(root = runRoot()): LabRecord[] {
  const labs: LabRecord[] = [];
  for (const name of existsSync(root) ? readdirSync(root) : []) {
    if (isAbandoned(join(root, name))) continue;
    try {
      labs.push(JSON.parse(readFileSync(join(root, name, RECORD), "utf8")) as LabRecord);
    } catch {
      // still booting
    }
  }
  return labs.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}

function isAbandoned(folder: string): boolean {
  try {
    return !isRunning(JSON.parse(readFileSync(join(folder, OWNER), "utf8")) as ProcessId);
  } catch {
    const born = statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    return Date.now() - born > BIRTH_MS;
  }
}

function readProcesses(folder: string): ProcessId[] {
  try {
    const lines = readFileSync(join(folder, PROCESSES), "utf8").trim().split("\n");
    return lines.map((line) => ({ pid: Number(line.split(" ")[0]), startTicks: line.split(" ")[1] ?? "" }));
  } catch {
    return [];
  }
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it ended, or became somebody else's
  }
}
