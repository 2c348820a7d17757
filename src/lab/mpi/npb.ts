// The NAS Parallel Benchmarks (NPB 3.x, MPI) between guests: built on the first node from a folder of the user's, run on all, verified by themselves.
// Counts of ranks: README.install of NPB3.3-MPI and NPB3.4-MPI; output: their common/print_results.

import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { LabError, lastLines } from "../lab-error.ts";
import type { ExecOptions, ExecResult } from "../vm/ssh.ts";
import type { Mpi, MpiProgram } from "./mpi.ts";
import { findNpb, makeDefinitions, packSources } from "./npb-sources.ts";

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
/** Those that take longest to build first. */
const BUILD_ORDER: readonly NpbKernel[] = ["SP", "BT", "LU", "MG", "FT", "CG", "EP", "IS"];

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

/** Programs built in this process, compressed and in base64, by all that they depend on: another lab with the same image need not build them. */
const kept = new Map<string, string>();

/** NPB sources in the guests of a lab. */
export class Npb {
  readonly #mpi: Mpi;
  readonly #nodes: readonly string[];
  readonly #sourceHash: string;

  private constructor(mpi: Mpi, nodes: readonly string[], sourceHash: string) {
    this.#mpi = mpi;
    this.#nodes = nodes;
    this.#sourceHash = sourceHash;
  }

  /**
   * Copies the sources to the nodes (all, if left out) and says how to compile them.
   * @throws LabError("usage") if there are none, or if the image lacks a compiler
   */
  static async unpack(mpi: Mpi, folder: string, nodes?: readonly string[]): Promise<Npb> {
    const sources = await packSources(findNpb(folder));
    const npb = new Npb(mpi, mpi.job({ nodes }).nodes, createHash("sha256").update(sources).digest("hex"));
    const missing = await npb.#exec(
      npb.#first,
      "for each in gfortran gcc make; do command -v $each >/dev/null || echo $each; done",
    );
    if (missing.stdout !== "")
      throw new LabError("usage", `the guest image has no ${missing.stdout.trim().split("\n").join(", ")}`, {
        mend: `add --packages ${NPB_PACKAGES.join(",")}`,
      });
    await Promise.all(npb.#nodes.map((node) => npb.#unpackOn(node, sources)));
    return npb;
  }

  async #unpackOn(node: string, sources: Buffer): Promise<void> {
    const unpack = `rm -rf ${FOLDER}; mkdir -p ${FOLDER}/bin && tar -x -C ${FOLDER}`;
    const { status, stderr } = await this.#exec(node, unpack, { stdin: Readable.from([sources]) });
    if (status !== 0) throw new LabError("build", `NPB cannot be unpacked on ${node}: ${stderr.trim()}`);
    await this.#exec(node, `cat >${FOLDER}/config/make.def`, { stdin: makeDefinitions(this.#mpi.installed.implementation) });
  }

  /**
   * Builds benchmarks, on all nodes at the same time, and copies them to all. `say` hears what has been built.
   * @returns them in the order of `kernels`
   * @throws LabError("build") with the compiler's last lines
   */
  async buildAll(
    kernels: readonly NpbKernel[],
    problemClass: NpbClass = "S",
    exec: ExecOptions = {},
    say: (kernel: NpbKernel) => void = () => {},
  ): Promise<NpbProgram[]> {
    const built = new Map<NpbKernel, NpbProgram>();
    const waiting = [...kernels].sort((a, b) => BUILD_ORDER.indexOf(a) - BUILD_ORDER.indexOf(b));
    const work = async (node: string): Promise<void> => {
      for (let kernel = waiting.shift(); kernel !== undefined; kernel = waiting.shift()) {
        built.set(kernel, await this.build(kernel, problemClass, exec, node));
        say(kernel);
      }
    };
    const stopOthers = (error: unknown): never => {
      waiting.length = 0;
      throw error;
    };
    await Promise.all(this.#nodes.map((node) => work(node).catch(stopOthers)));
    return kernels.map((kernel) => built.get(kernel)).filter((program) => program !== undefined);
  }

  /** Builds a benchmark on one node, the first if left out, and copies it to all. @throws LabError("build") with the compiler's last lines */
  async build(
    kernel: NpbKernel,
    problemClass: NpbClass = "S",
    exec: ExecOptions = {},
    node: string = this.#first,
  ): Promise<NpbProgram> {
    const ranks = npbRanks(kernel, this.#nodes.length);
    const name = `${kernel.toLowerCase()}.${problemClass}`;
    const path = `${FOLDER}/bin/${name}`;
    const { implementation, version } = this.#mpi.installed;
    const key = [this.#sourceHash, this.#mpi.imageHash, implementation, version, name, ranks].join(" ");
    const program = kept.get(key) ?? (await this.#make(node, kernel, problemClass, exec));
    kept.set(key, program);
    const install = `base64 -d | gzip -d >${path} && chmod 755 ${path}`;
    await Promise.all(this.#nodes.map((each) => this.#exec(each, install, { ...exec, stdin: program })));
    return { kernel, problemClass, ranks, path };
  }

  /** The program, compressed and in base64. */
  async #make(node: string, kernel: NpbKernel, problemClass: NpbClass, exec: ExecOptions): Promise<string> {
    const ranks = npbRanks(kernel, this.#nodes.length);
    const make = await this.#exec(node, `cd ${FOLDER} && make ${kernel} CLASS=${problemClass} NPROCS=${ranks} 2>&1`, exec);
    const name = `${FOLDER}/bin/${kernel.toLowerCase()}.${problemClass}`;
    // 3.3 calls it cg.S.2, 3.4 cg.S.x
    const read = await this.#exec(
      node,
      `gzip -c ${name}.${ranks} 2>/dev/null | base64; gzip -c ${name}.x 2>/dev/null | base64`,
      exec,
    );
    if (make.status === 0 && read.stdout !== "") return read.stdout;
    throw new LabError("build", `NPB's ${kernel} cannot be built (status ${make.status})`, { details: lastLines(make.stdout) });
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

  get #first(): string {
    return this.#nodes[0] ?? "n1";
  }

  #exec(node: string, command: string, options: ExecOptions = {}): Promise<ExecResult> {
    return this.#mpi.node(node).exec(command, options);
  }
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
