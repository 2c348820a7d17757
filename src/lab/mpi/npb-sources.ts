// The sources of the NAS Parallel Benchmarks (NPB 3.3 and 3.4, MPI), which the user has: where they are, and how they are compiled
// (README.install, config/make.def.template).

import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { LabError } from "../lab-error.ts";
import type { MpiImplementation } from "./implementation.ts";

/** They are 2 MB; a folder that is far larger is something else. */
const SOURCE_BYTES_MAX = 64 << 20;
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

/** A tar archive of the sources, without what was built in them. @throws LabError("usage") if they cannot be read */
export async function packSources(folder: string): Promise<Buffer> {
  const args = ["-C", folder, "--exclude=./bin/*", "--exclude=*.o", "--exclude=./config/make.def", "-c", "."];
  try {
    const options = { encoding: "buffer", maxBuffer: SOURCE_BYTES_MAX } as const;
    return (await promisify(execFile)("tar", args, options)).stdout;
  } catch (error) {
    throw new LabError("usage", `${folder} cannot be packed: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

/**
 * config/make.def for 3.3 (MPIF77) and 3.4 (MPIFC). The sources are older than the rules that today's compilers enforce; -O1, since
 * an emulated guest compiles slowly.
 *
 * Without -fno-tree-pta, CG fails its verification over any network: gfortran takes a variable given to MPI_Irecv to be final when that
 * returns, as Fortran allows for one without ASYNCHRONOUS, and works with what was in it before the message came.
 */
export function makeDefinitions(implementation: MpiImplementation): string {
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
