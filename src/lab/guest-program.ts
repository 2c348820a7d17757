// Runs a small C program in a guest, with the compiler that is in the image and starts at once (tcc).

import type { LabNode } from "./lab.ts";
import { LabError } from "./lab-error.ts";
import type { ExecResult } from "./vm/ssh.ts";

let lastProgram = 0;

/** Compiles and runs `source` in the guest. The result is the program's own; a program that does not compile has status 1. */
export function runGuestProgram(node: LabNode, source: string, args: readonly string[] = []): Promise<ExecResult> {
  const file = `/tmp/program-${process.pid}-${++lastProgram}.c`;
  const words = args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(" ");
  return node.exec(`cat >${file} && tcc -run ${file} ${words}; status=$?; rm -f ${file}; (exit $status)`, { stdin: source });
}

/** What stores cost in a guest (bench/guest/store.c), in nanoseconds. */
export interface StoreCost {
  readonly uarNs: number;
  readonly ramNs: number;
}

/** Reads the two lines `uar NS` and `ram NS`. */
export function parseStoreCost(result: ExecResult): StoreCost {
  const read = (name: string): number => Number(new RegExp(`^${name} ([\\d.]+)$`, "m").exec(result.stdout)?.[1] ?? Number.NaN);
  const cost = { uarNs: read("uar"), ramNs: read("ram") };
  if (Number.isNaN(cost.uarNs) || Number.isNaN(cost.ramNs))
    throw new LabError("build", `the store probe failed with status ${result.status}: ${result.stderr.trim()}`);
  return cost;
}
