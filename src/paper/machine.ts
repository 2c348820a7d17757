// Where a report's figures were measured.

import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, hostname, loadavg, release } from "node:os";
import type { Prepared } from "../lab/prepare.ts";
import type { Machine } from "./report.ts";

/** @param prepared undefined where VMs cannot run */
export function describeMachine(prepared: Prepared | undefined, version: string): Machine {
  return {
    name: hostname(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    kernel: release(),
    accelerator: prepared?.verdict.accelerator ?? "none: no VMs here",
    qemu: prepared?.qemu.version ?? "none",
    guestKernel: prepared?.kernel.release ?? "none",
    node: process.version,
    vhca: version,
    commit: commit(),
    load: [load()],
  };
}

/** The commit of this checkout; "none" outside a repository, "+" behind it if something has been changed since. */
export function commit(): string {
  const git = (...args: string[]): string => spawnSync("git", args, { encoding: "utf8", cwd: import.meta.dirname }).stdout ?? "";
  const hash = git("rev-parse", "--short", "HEAD").trim();
  if (hash === "") return "none";
  return git("status", "--porcelain", "--untracked-files=no").trim() === "" ? hash : `${hash}+`;
}

/** Processes that wanted to run during the last minute. */
export const load = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100;
