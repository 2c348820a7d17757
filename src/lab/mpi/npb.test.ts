// The NAS Parallel Benchmarks: where their sources are, how many ranks they take, and what they say of a run.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { npbRanks, parseNpb } from "./npb.ts";
import { findNpb } from "./npb-sources.ts";

test("findNpb: the folder itself, or the newest NPB3.x-MPI in it", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "vhca-npb-"));
  t.after(() => rmSync(folder, { recursive: true }));
  assert.throws(() => findNpb(folder), /holds no sources .* for MPI; expected the folder NPB3.x-MPI/);
  assert.throws(() => findNpb(join(folder, "absent")), /holds no sources/);
  for (const name of ["NPB3.3-MPI", "NPB3.4-MPI"]) {
    for (const part of ["sys", "MPI_dummy"]) mkdirSync(join(folder, name, part), { recursive: true });
    writeFileSync(join(folder, name, "sys", "setparams.c"), "");
  }
  mkdirSync(join(folder, "NPB3.9-MPI"));
  assert.equal(findNpb(folder), join(folder, "NPB3.4-MPI"));
  assert.equal(findNpb(join(folder, "NPB3.3-MPI")), join(folder, "NPB3.3-MPI"));
});

test("npbRanks: a power of two, a square, any number", () => {
  const counts = (kernel: "CG" | "BT" | "EP"): number[] => [1, 2, 3, 4, 8, 9, 10].map((nodes) => npbRanks(kernel, nodes));
  assert.deepEqual(counts("CG"), [1, 2, 2, 4, 8, 8, 8]);
  assert.deepEqual(counts("BT"), [1, 4, 4, 4, 4, 9, 9]);
  assert.deepEqual(counts("EP"), [1, 2, 3, 4, 8, 9, 10]);
});

/** The form of NPB's print_results. */
const report = (verification: string): string => `
 VERIFICATION SUCCESSFUL

 XX Benchmark Completed.
 Class           =                        S
 Size            =                     1400
 Iterations      =                       15
 Time in seconds =                     0.25
 Total processes =                        4
 Active procs    =                        2
 Mop/s total     =                   266.40
 Mop/s/process   =                   133.20
 Operation type  =           floating point
 Verification    =  ${verification}
 Version         =                    3.4.1
`;

test("parseNpb: time, rate, and only its own word for verified", () => {
  const { output, ...figures } = parseNpb(report("             SUCCESSFUL")) ?? {};
  assert.deepEqual(figures, { isVerified: true, seconds: 0.25, mops: 266.4, processes: 2 });
  assert.match(output ?? "", /XX Benchmark/);
  assert.equal(parseNpb(report("           UNSUCCESSFUL"))?.isVerified, false);
  assert.equal(parseNpb(report("          NOT PERFORMED"))?.isVerified, false);
  assert.equal(parseNpb(report("SUCCESSFUL").replace(/ Active.*\n/, ""))?.processes, 4);
  assert.equal(parseNpb(" Verification    =               SUCCESSFUL\n"), undefined, "a run that has not come to its end");
});
