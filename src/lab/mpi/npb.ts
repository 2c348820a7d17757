// The NAS Parallel Benchmarks (NPB 3.x, MPI) between guests: built on the first node from a folder of the user's, run on all, verified by themselves.
// Build and counts of ranks: README.install of NPB3.3-MPI and NPB3.4-MPI; output: their common/print_results.

import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LabError, lastLines } from "../lab-error.ts";
import type { ExecOptions, ExecResult } from "../vm/ssh.ts";
import type { Mpi, MpiProgram } from "./mpi.ts";

export const NPB_KERNELS = ["IS", "EP", "CG", "MG", "FT", "LU", "BT", "SP"] as const;
export type NpbKernel = (typeof NPB_KERNELS)[number];

/** S takes a second on an emulated guest, W up to a minute; A and above are for machines. */
export const NPB_CLASSES = ["S", "W", "A", "B", "C"] as const;
export type NpbClass = (typeof NPB_CLASSES)[number];

/** What an image needs, besides an MPI (`openmpi-bin`), to build them. */
export const NPB_PACKAGES = ["gcc", "gfortran", "libopenmpi-dev", "make"];

/** A benchmark that was built. */
export interface NpbProgram {
  readonly kernel: NpbKernel;
  readonly problemClass: NpbClass;
  readonly ranks: number;
  /** On every node. */
  readonly path: string;
}

/** What a benchmark says of its run. */
export interface NpbResult {
  readonly isVerified: boolean;
  /** Of the timed part. */
  readonly seconds: number;
  /** Million operations a second, of all ranks. */
  readonly mops: number;
  /** Processes that took part, as the benchmark counts them. */
  readonly processes: number;
  readonly output: string;
}

const FOLDER = "/run/vhca/npb";
const LEGACY = "-w -std=legacy -fallow-argument-mismatch -fallow-invalid-boz";

/** The folder with the MPI sources: the one given, or NPB3.x-MPI in it. @throws LabError("usage") */
export function findNpb(folder: string): string {
  const isSource = (path: string): boolean => existsSync(join(path, "sys", "setparams.c")) && existsSync(join(path, "MPI_dummy"));
  if (isSource(folder)) return folder;
  const inside = existsSync(folder) ? readdirSync(folder).filter((name) => /^NPB[\d.]+-MPI$/.test(name)) : [];
  const found = inside
    .sort()
    .map((name) => join(folder, name))
    .filter(isSource)
    .at(-1);
  if (found !== undefined) return found;
  throw new LabError("usage", `${folder} holds no sources of the NAS Parallel Benchmarks for MPI`, {
    mend: "expected the folder NPB3.x-MPI of NPB 3.3 or 3.4, or the one around it",
  });
}

/**
 * Ranks for a number of nodes: a square for BT and SP, a power of two for the others but EP, and at most one for each node; but four where
 * a square could only be one, so that there is something to send.
 */
export function npbRanks(kernel: NpbKernel, nodes: number): number {
  if (kernel === "EP") return nodes;
  if (kernel !== "BT" && kernel !== "SP") return 2 ** Math.floor(Math.log2(nodes));
  const root = Math.floor(Math.sqrt(nodes));
  return root === 1 && nodes > 1 ? 4 : root ** 2;
}

/** NPB sources in the guests of a lab. */
export class Npb {
  readonly #mpi: Mpi;
  readonly #nodes: readonly string[];

  private constructor(mpi: Mpi, nodes: readonly string[]) {
    this.#mpi = mpi;
    this.#nodes = nodes;
  }

  /**
   * Copies the sources to the first node and says how to compile them.
   * @throws LabError("usage") if there are none, or if the image lacks a compiler
   */
  static async unpack(mpi: Mpi, folder: string, nodes?: readonly string[]): Promise<Npb> {
    const source = findNpb(folder);
    const npb = new Npb(mpi, mpi.job({ nodes }).nodes);
    const missing = await npb.#exec("for each in gfortran gcc make; do command -v $each >/dev/null || echo $each; done");
    if (missing.stdout !== "")
      throw new LabError("usage", `the guest image has no ${missing.stdout.trim().split("\n").join(", ")}`, {
        mend: `add --packages ${NPB_PACKAGES.join(",")}`,
      });
    const tar = spawn("tar", ["-C", source, "--exclude=./bin/*", "--exclude=*.o", "--exclude=./config/make.def", "-c", "."], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const unpacked = await npb.#exec(`rm -rf ${FOLDER}; mkdir -p ${FOLDER}/bin && tar -x -C ${FOLDER}`, { stdin: tar.stdout });
    if (unpacked.status !== 0) throw new LabError("build", `NPB cannot be unpacked: ${unpacked.stderr.trim()}`);
    await npb.#exec(`cat >${FOLDER}/config/make.def`, { stdin: makeDefinitions(mpi) });
    return npb;
  }

  /** Builds a benchmark on the first node and copies it to the others. @throws LabError("build") with the compiler's last lines */
  async build(kernel: NpbKernel, problemClass: NpbClass = "S", exec: ExecOptions = {}): Promise<NpbProgram> {
    const ranks = npbRanks(kernel, this.#nodes.length);
    const name = `${kernel.toLowerCase()}.${problemClass}`;
    const path = `${FOLDER}/bin/${name}`;
    // 3.3 calls it cg.S.2, 3.4 cg.S.x
    const take = `for each in ${ranks} x; do [ ! -e bin/${name}.$each ] || mv bin/${name}.$each bin/${name}; done; [ -e bin/${name} ]`;
    const copies = this.#nodes
      .slice(1)
      .map((node) => `ssh ${node} mkdir -p ${FOLDER}/bin && scp -q bin/${name} ${node}:${FOLDER}/bin/`);
    const make = `make ${kernel} CLASS=${problemClass} NPROCS=${ranks}`;
    const result = await this.#exec([`cd ${FOLDER} && { ${make}; } 2>&1 && { ${take}; }`, ...copies].join(" && "), exec);
    if (result.status === 0) return { kernel, problemClass, ranks, path };
    throw new LabError("build", `NPB's ${kernel} cannot be built (status ${result.status})`, {
      details: lastLines(result.stdout + result.stderr),
    });
  }

  /** Runs a benchmark. @throws LabError("build") if it fails; a result that it does not verify is no failure */
  async run(
    { path, kernel, ranks }: NpbProgram,
    how: Pick<MpiProgram, "network"> = {},
    exec: ExecOptions = {},
  ): Promise<NpbResult> {
    const result = await this.#mpi.run({ ...how, nodes: this.#nodes, ranks, command: path }, exec);
    const report = parseNpb(result.stdout);
    if (result.status === 0 && report !== undefined) return report;
    throw new LabError("build", `NPB's ${kernel} over ${this.#mpi.title} ended with status ${result.status}`, {
      details: lastLines(result.stdout + result.stderr),
    });
  }

  #exec(command: string, options: ExecOptions = {}): Promise<ExecResult> {
    return this.#mpi.node(this.#nodes[0] ?? "n1").exec(command, options);
  }
}

/**
 * config/make.def for 3.3 (MPIF77) and 3.4 (MPIFC). The sources are older than the rules that today's compilers enforce; -O1, since
 * an emulated guest compiles slowly.
 *
 * Without -fno-tree-pta, CG fails its verification over any network: gfortran takes a variable given to MPI_Irecv to be final when that
 * returns, as Fortran allows for one without ASYNCHRONOUS, and works with what was in it before the message came.
 */
function makeDefinitions({ installed: { implementation } }: Mpi): string {
  const fortran = `mpif90.${implementation}`;
  const c = `mpicc.${implementation}`;
  const definitions = {
    ...{ MPIF77: fortran, MPIFC: fortran, FLINK: fortran, FMPI_LIB: "", FMPI_INC: "" },
    ...{ FFLAGS: `-O1 -fno-tree-pta ${LEGACY}`, FLINKFLAGS: "-O1" },
    ...{ MPICC: c, CLINK: c, CMPI_LIB: "-lm", CMPI_INC: "", CFLAGS: "-O1 -w -std=gnu89", CLINKFLAGS: "-O1" },
    ...{ CC: "gcc", UCC: "gcc", BINDIR: "../bin", RAND: "randi8", CONVERTFLAG: "-DFORTRAN_REC_SIZE=1" },
  };
  return `${Object.entries(definitions)
    .map(([name, value]) => `${name} = ${value}`)
    .join("\n")}\n`;
}

/** Reads the lines `NAME = VALUE` after "… Benchmark Completed"; undefined if the run did not come that far. */
export function parseNpb(output: string): NpbResult | undefined {
  const at = output.search(/^\s*\w+ Benchmark Completed/m);
  if (at < 0) return undefined;
  const find = (name: string): string | undefined => new RegExp(`^ *${name} *= *(\\S+) *$`, "m").exec(output.slice(at))?.[1];
  const number = (name: string): number => Number(find(name) ?? Number.NaN);
  return {
    isVerified: find("Verification") === "SUCCESSFUL",
    seconds: number("Time in seconds"),
    mops: number("Mop/s total"),
    processes: Number(find("Active procs") ?? find("Total processes") ?? Number.NaN),
    output,
  };
}
