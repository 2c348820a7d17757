// HPC Challenge (hpcc) between guests: a small problem, and its own verifications. The input file is HPL's (HPL's TUNING, "HPL.dat"), with
// four lines of hpcc's own; the summary at the end of the output file is lines NAME=VALUE between "Begin of Summary section." and "End …".

import { LabError, lastLines } from "../lab-error.ts";
import type { ExecOptions } from "../vm/ssh.ts";
import type { Mpi, MpiProgram } from "./mpi.ts";

export interface HpccOptions extends Omit<MpiProgram, "command" | "folder"> {
  /** Order of HPL's matrix; the other parts derive their sizes from it. */
  readonly order?: number | undefined;
}

/** A part of the suite that checks its own result. */
export interface HpccCheck {
  readonly name: string;
  readonly passed: boolean;
}

export interface HpccReport {
  /** Every check passed, and all of them were made. */
  readonly isVerified: boolean;
  readonly checks: readonly HpccCheck[];
  /** The summary: HPL_Tflops, PTRANS_GBs, MPIRandomAccess_GUPs, MaxPingPongLatency_usec, … */
  readonly values: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** hpccoutf.txt. */
  readonly output: string;
}

const FOLDER = "/run/vhca/hpcc";
const DEFAULT_ORDER = 500;
const BLOCK = 40;

/** The most square grid with this many processes: P ≤ Q. */
function gridOf(ranks: number): [number, number] {
  let rows = Math.floor(Math.sqrt(ranks));
  while (ranks % rows !== 0) rows--;
  return [rows, ranks / rows];
}

/** hpccinf.txt for so many ranks. */
export function hpccInput(ranks: number, order = DEFAULT_ORDER): string {
  const [rows, columns] = gridOf(ranks);
  const lines: [string | number, string][] = [
    ["HPL input", ""],
    ["", ""],
    ["HPL.out", "file"],
    [8, "where it goes"],
    ...one(order, "order"),
    ...one(BLOCK, "block"),
    [0, "mapping by rows"],
    [1, "grids"],
    [rows, "P"],
    [columns, "Q"],
    [16, "threshold of the residual"],
    ...one(2, "panel factorisation: right"),
    ...one(4, "recursion stops"),
    ...one(2, "panels in recursion"),
    ...one(1, "recursive factorisation: Crout"),
    ...one(1, "broadcast: ring, modified"),
    ...one(1, "look-ahead"),
    [2, "swapping: mixed"],
    [64, "swapping threshold"],
    [0, "L1 transposed"],
    [0, "U transposed"],
    [1, "equilibration"],
    [8, "alignment"],
    ["-", "not read"],
    [0, "more orders for PTRANS"],
    [order, ""],
    [0, "more blocks for PTRANS"],
    [BLOCK, ""],
  ];
  return `${lines.map(([value, comment]) => `${value}  ${comment}`.trimEnd()).join("\n")}\n`;
}

const one = (value: number, comment: string): [number, string][] => [
  [1, "how many"],
  [value, comment],
];

/** Runs hpcc (Debian's package of that name) and reads what it says. @throws LabError("build") if it fails */
export async function runHpcc(mpi: Mpi, options: HpccOptions = {}, exec: ExecOptions = {}): Promise<HpccReport> {
  const { order, ...program } = options;
  const { ranks, nodes } = mpi.job(program);
  const [first = "n1"] = nodes;
  await Promise.all(nodes.map((name) => mpi.node(name).exec(`mkdir -p ${FOLDER}`)));
  await mpi.node(first).exec(`rm -f ${FOLDER}/*; cat >${FOLDER}/hpccinf.txt`, { stdin: hpccInput(ranks, order) });
  const began = performance.now();
  const result = await mpi.run({ ...program, folder: FOLDER, command: "hpcc" }, exec);
  const seconds = (performance.now() - began) / 1000;
  const { stdout: output } = await mpi.node(first).exec(`cat ${FOLDER}/hpccoutf.txt`);
  if (result.status !== 0)
    throw new LabError("build", `hpcc over ${mpi.title} ended with status ${result.status}`, {
      details: lastLines(result.stdout + result.stderr + lastLines(output)),
    });
  return { ...parseHpcc(output), seconds, output };
}

/** Reads hpccoutf.txt. */
export function parseHpcc(output: string): Pick<HpccReport, "isVerified" | "checks" | "values"> {
  const summary = /Begin of Summary section\.([\s\S]*)End of Summary section\./.exec(output)?.[1] ?? "";
  const values = Object.fromEntries(
    [...summary.matchAll(/^(\w+)=([-+.\deE]+)\s*$/gm)].map(([, name = "", value]) => [name, Number(value)]),
  );
  const checks = checksOf(output, values);
  return { isVerified: checks.every(({ passed }) => passed), checks, values };
}

/** Errors of a transform grow with eps × log₂ N: 4e-15 for 2²⁰ points. A wrong element is off by 10⁻⁸ or far more. */
const FFT_ERROR_MAX = 1e-12;

/** What each part says of its own result (hpcc's own thresholds, except for the FFTs, which only tell their error). */
function checksOf(output: string, values: Readonly<Record<string, number>>): HpccCheck[] {
  const section = (name: string): string =>
    new RegExp(`^Begin of ${name} section\\.$([\\s\\S]*)^End of ${name} section\\.$`, "m").exec(output)?.[1] ?? "";
  const hasPassed = (name: string, pattern: RegExp): HpccCheck => ({ name, passed: pattern.test(section(name)) });
  const noneFailed = (name: string): HpccCheck => ({
    name,
    passed:
      /[1-9]\d* tests completed and passed residual checks/.test(section(name)) &&
      /\b0 tests completed and failed residual checks/.test(section(name)),
  });
  const { MPIFFT_Gflops: rate = 0, MPIFFT_maxErr: error = 1 } = values;
  return [
    { name: "Success", passed: values.Success === 1 },
    noneFailed("HPL"),
    noneFailed("PTRANS"),
    { name: "MPIFFT", passed: rate > 0 && error < FFT_ERROR_MAX },
    ...["MPIRandomAccess", "MPIRandomAccess_LCG", "StarRandomAccess"].map((name) =>
      hasPassed(name, /^Found \d+ errors in \d+ locations \(passed\)/m),
    ),
    hasPassed("StarSTREAM", /^Solution Validates/m),
    ...["StarDGEMM", "StarFFT"].map((name) => hasPassed(name, /^Node\(s\) with error 0$/m)),
  ];
}
