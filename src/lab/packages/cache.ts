// The cache folder: one lock, one state file, and folders that appear complete or not at all.

import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { LabError } from "../lab-error.ts";
import { cacheFolder } from "../paths.ts";
import type { Progress } from "../progress.ts";
import { onLines } from "../run-command.ts";

/** What stands for what; everything it names may have been deleted by hand, so look before use. */
export interface CacheState {
  /** Purpose ("tools", "qemu") → folder name in trees/. */
  trees: Record<string, string>;
  /** "6.12" or "newest" → folder name in kernels/. */
  kernels: Record<string, string>;
  /** Key of a package selection → folder name in images/. */
  images: Record<string, string>;
  /** Image name → its packages. */
  names: Record<string, string[]>;
  /** Program and its arguments → version of a QEMU that has what we need. */
  qemus: Record<string, string>;
  /** Machine key → whether KVM works there. */
  kvm: Record<string, { works: boolean; reason: string }>;
}

export class Cache {
  readonly folder: string;

  constructor(folder = cacheFolder()) {
    this.folder = folder;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  readState(): CacheState {
    const empty: CacheState = { trees: {}, kernels: {}, images: {}, names: {}, qemus: {}, kvm: {} };
    try {
      return { ...empty, ...(JSON.parse(readFileSync(this.path("state.json"), "utf8")) as Partial<CacheState>) };
    } catch {
      return empty;
    }
  }

  /** Changes the state file; the caller holds the lock, or accepts that of two changes one may be lost. */
  updateState(change: (state: CacheState) => void): void {
    const state = this.readState();
    change(state);
    mkdirSync(this.folder, { recursive: true });
    const temporary = this.path(`state.json.${process.pid}`);
    writeFileSync(temporary, `${JSON.stringify(state, null, 2)}\n`);
    renameSync(temporary, this.path("state.json"));
  }

  /**
   * Makes `folder` by filling a temporary one and renaming it: after a crash or Ctrl-C there is either all of it or nothing.
   * The caller holds the lock.
   */
  async build(folder: string, fill: (temporary: string) => Promise<void>, remove = removeFolder): Promise<string> {
    const target = this.path(folder);
    if (existsSync(target)) return target;
    mkdirSync(this.path("tmp"), { recursive: true });
    const temporary = mkdtempSync(this.path("tmp", `${basename(folder)}-`));
    try {
      await fill(temporary);
      mkdirSync(dirname(target), { recursive: true });
      renameSync(temporary, target);
    } finally {
      if (existsSync(temporary)) await remove(temporary);
    }
    return target;
  }

  /** What earlier builds that were killed left behind. The caller holds the lock. */
  async sweep(remove = removeFolder): Promise<void> {
    for (const name of readFolder(this.path("tmp"))) await remove(this.path("tmp", name));
  }

  /** Runs `work` while no other process builds in this cache. The lock is the kernel's (flock(2)), so it ends with its holder. */
  async withLock<T>(progress: Progress, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new LabError("no-rights", `the cache folder ${this.folder} cannot be created`, { mend: "set VHCA_CACHE", cause });
    }
    const release = await lock(this.path("lock"), progress, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Deletes what `state.json` does not name any more, all fetched package files, and all snapshots. The caller holds the lock. */
  async prune(remove = removeFolder): Promise<void> {
    const { trees, kernels, images } = this.readState();
    await this.sweep(remove);
    for (const [folder, used] of Object.entries({ trees, kernels, images }))
      for (const name of readFolder(this.path(folder)))
        if (!Object.values(used).includes(name)) await remove(this.path(folder, name));
    await remove(this.path("apt"));
    await remove(this.path("snapshots"));
  }

  /** Bytes on disk below the cache folder. */
  sizeBytes(): number {
    return folderSize(this.folder);
  }
}

/** `flock` holds the lock for as long as its standard input, our end of a pipe, is open. */
function lock(path: string, progress: Progress, signal: AbortSignal | undefined): Promise<() => void> {
  signal?.throwIfAborted();
  const child = spawn("flock", [path, "sh", "-c", "echo held; exec cat >/dev/null"], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const waiting = setTimeout(() => progress({ step: "waiting", detail: "another vhca is building" }), 300);
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      child.stdin.end();
      child.kill();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    child.on("error", reject);
    child.stdin.on("error", () => {});
    onLines(child.stdout, () => {
      clearTimeout(waiting);
      signal?.removeEventListener("abort", abort);
      child.unref();
      resolve(() => child.stdin.end());
    });
    child.on("exit", () => {
      clearTimeout(waiting);
      reject(new LabError("build", `the lock ${path} cannot be taken`));
    });
  });
}

export function readFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

async function removeFolder(path: string): Promise<void> {
  rmSync(path, { recursive: true, force: true });
}

function folderSize(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.blocks * 512;
  let total = 0;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (!entry.isSymbolicLink()) total += folderSize(join(path, entry.name));
  return total;
}
