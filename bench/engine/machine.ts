// Where figures were measured.

import { spawnSync } from "node:child_process";
import { availableParallelism, cpus, loadavg, release } from "node:os";
import type { CTools } from "./c-tools.ts";

export interface Surroundings {
  readonly processor: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  readonly compiler: string | null;
  /** "?" outside a repository; "+" behind it if something has been changed since. */
  readonly commit: string;
}

export function surroundings(tools: CTools | undefined): Surroundings {
  return {
    processor: cpus()[0]?.model ?? "?",
    cores: availableParallelism(),
    kernel: release(),
    node: process.version,
    v8: process.versions.v8 ?? "?",
    compiler: tools?.compiler ?? null,
    commit: commit(),
  };
}

/** Processes that wanted to run during the last minute. */
export const load = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100;

function commit(): string {
  const git = (...args: string[]): string => spawnSync("git", args, { encoding: "utf8", cwd: import.meta.dirname }).stdout ?? "";
  const hash = git("rev-parse", "--short", "HEAD").trim();
  if (hash === "") return "?";
  return git("status", "--porcelain").trim() === "" ? hash : `${hash}+`;
}
