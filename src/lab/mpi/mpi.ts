// MPI programs over the guests of a lab: `vhca run --mpi` and the evaluation start theirs with this.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Lab, LabNode } from "../lab.ts";
import { LabError } from "../lab-error.ts";
import type { ExecOptions, ExecResult } from "../vm/ssh.ts";
import { findMpi, type InstalledMpi, MPI_FACTS, type MpiImplementation, type MpiJob, quote, starter } from "./implementation.ts";
import type { MpiNetwork } from "./network.ts";

/** What to run; only the command has no default. */
export interface MpiProgram {
  /** A line for a shell in every rank. */
  readonly command: string;
  /** Where the ranks are, dealt out in turn; all nodes if left out. */
  readonly nodes?: readonly string[] | undefined;
  /** How many in all; one for each node if left out. */
  readonly ranks?: number | undefined;
  /** The way that the data go, and no other; our HCA if left out. */
  readonly network?: MpiNetwork | undefined;
  /** Variables of every rank. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** Where it runs, in all guests; root's home if left out. */
  readonly folder?: string | undefined;
}

/** Where `compile` puts programs. */
const PROGRAM_FOLDER = "/run/vhca/mpi";

/** MPI on the nodes of a lab. */
export class Mpi {
  readonly installed: InstalledMpi;
  readonly #lab: Lab;

  private constructor(lab: Lab, installed: InstalledMpi) {
    this.#lab = lab;
    this.installed = installed;
  }

  /**
   * The MPI in a lab's image: a certain one, else Open MPI or what there is.
   * @throws LabError("usage") if it is not there
   */
  static of(lab: Lab, wanted?: MpiImplementation): Mpi {
    return new Mpi(lab, findMpi(lab.prepared.image, wanted));
  }

  /** As people call it, with its version: "Open MPI 5.0.7-1". */
  get title(): string {
    return `${MPI_FACTS[this.installed.implementation].title} ${this.installed.version}`;
  }

  /** Of the image that all nodes run. */
  get imageHash(): string {
    return this.#lab.prepared.image.hash;
  }

  /** A program with all defaults filled in: every node, one rank on each, over the HCA. @throws LabError for a node that is not there */
  job({ nodes, ranks, network = "hca", environment = {} }: Omit<MpiProgram, "command">): MpiJob {
    const names = (nodes ?? this.#lab.nodes.map(({ name }) => name)).map((name) => this.#lab.node(name).name);
    return { nodes: names, ranks: ranks ?? names.length, network, environment };
  }

  /** A node of the lab. @throws LabError for one that is not there */
  node(name: string): LabNode {
    return this.#lab.node(name);
  }

  /** The line that starts a program, for a shell on its first node. */
  commandLine(program: MpiProgram): string {
    const start = `${starter(this.installed.implementation, this.job(program))} sh -c ${quote(program.command)}`;
    return program.folder === undefined ? start : `cd ${quote(program.folder)} && ${start}`;
  }

  /** Runs a program to its end, started from its first node; the status is mpirun's, which is that of the first rank that failed. */
  run(program: MpiProgram, options: ExecOptions = {}): Promise<ExecResult> {
    const [first = "n1"] = this.job(program).nodes;
    return this.#lab.node(first).exec(this.commandLine(program), options);
  }

  /**
   * Compiles a C program on every node, one of our own (`programs/NAME.c`) unless another `text` is given, with the image's tcc and
   * `programs/mpi.h`; no package with headers is needed.
   * @returns its path in the guests
   * @throws LabError("build") with what the compiler says
   */
  async compile(name: string, text = readProgram(`${name}.c`)): Promise<string> {
    const { define, library } = MPI_FACTS[this.installed.implementation];
    const path = `${PROGRAM_FOLDER}/${name}-${this.installed.implementation}`;
    const source = [readProgram("mpi.h"), text.replace('#include "mpi.h"', "")].join("\n");
    const command = `mkdir -p ${PROGRAM_FOLDER} && cat >${path}.c && tcc -D${define} -o ${path} ${path}.c /usr/lib/$(uname -m)-linux-gnu/${library}`;
    await Promise.all(
      this.#lab.nodes.map(async (node) => {
        const { status, stderr } = await node.exec(command, { stdin: source });
        if (status !== 0) throw new LabError("build", `${name}.c does not compile on ${node.name}: ${stderr.trim()}`);
      }),
    );
    return path;
  }
}

const readProgram = (file: string): string => readFileSync(fileURLToPath(new URL(`programs/${file}`, import.meta.url)), "utf8");
