// hpcc's input for a number of ranks, and what is taken for a verified run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hpccInput, parseHpcc } from "./hpcc.ts";

test("hpccInput: HPL's lines, a grid of all ranks", () => {
  const lines = hpccInput(4, 200).split("\n");
  assert.match(lines[5] ?? "", /^200 /, "the order is HPL's sixth line");
  assert.deepEqual(lines.slice(10, 12), ["2  P", "2  Q"]);
  assert.match(lines[31] ?? "", /not read/, "hpcc leaves line 32 out");
  assert.deepEqual(hpccInput(3).split("\n").slice(10, 12), ["1  P", "3  Q"]);
});

const section = (name: string, ...lines: string[]): string =>
  [`Begin of ${name} section.`, ...lines, `End of ${name} section.`].join("\n");

const residuals = (passed: number, failed: number): string[] => [
  `    ${passed} tests completed and passed residual checks,`,
  `    ${failed} tests completed and failed residual checks.`,
];

const GOOD = [
  ...["MPIRandomAccess", "StarRandomAccess", "MPIRandomAccess_LCG"].map((name) =>
    section(name, "Found 0 errors in 65536 locations (passed)."),
  ),
  section("PTRANS", ...residuals(5, 0)),
  section("StarDGEMM", "Node(s) with error 0"),
  section("StarSTREAM", "Solution Validates: avg error less than 1.000000e-13 on all three arrays"),
  section("StarFFT", "Node(s) with error 0"),
  section("HPL", ...residuals(1, 0)),
  section("Summary", "Success=1", "HPL_Tflops=5.23e-05", "HPL_cpfact=R", "MPIFFT_Gflops=0.02", "MPIFFT_maxErr=1.04738e-15"),
].join("\n");

test("parseHpcc: every part has to say that it passed", () => {
  const report = parseHpcc(GOOD);
  assert.deepEqual(
    report.checks.filter(({ passed }) => !passed),
    [],
  );
  assert.equal(report.isVerified, true);
  assert.equal(report.values.HPL_Tflops, 5.23e-5);
  for (const [from, to, name] of [
    ["Success=1", "Success=0", "Success"],
    ["    1 tests completed and passed", "    0 tests completed and passed", "HPL"],
    [
      "5 tests completed and passed residual checks,\n    0 tests",
      "4 tests completed and passed residual checks,\n    1 tests",
      "PTRANS",
    ],
    ["1.04738e-15", "1.04738e-05", "MPIFFT"],
    ["MPIFFT_Gflops=0.02", "MPIFFT_Gflops=0", "MPIFFT"],
    ["Found 0 errors in 65536 locations (passed)", "Found 900 errors in 65536 locations (failed)", "MPIRandomAccess"],
    ["Solution Validates", "Failed Validation", "StarSTREAM"],
    ["Node(s) with error 0", "Node(s) with error 1", "StarDGEMM"],
  ] as const) {
    const failed = parseHpcc(GOOD.replace(from, to)).checks.filter(({ passed }) => !passed);
    assert.deepEqual(
      failed.map((check) => check.name),
      [name],
    );
  }
  assert.equal(parseHpcc("").isVerified, false);
});
