// Where figures were measured.

import { availableParallelism, cpus, release } from "node:os";
import { commit } from "../../src/paper/machine.ts";
import type { CTools } from "./c-tools.ts";

export interface Surroundings {
  readonly processor: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  readonly compiler: string | null;
  /** "none" outside a repository; "+" behind it if something has been changed since. */
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
