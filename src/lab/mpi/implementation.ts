// The two implementations of MPI in Debian: how each is told which nodes and which network to use. Both do their communication
// with UCX (ucx: `ucx_info -f` lists its variables), so that the HCA is chosen in one way; only what is around it differs.

import type { GuestImage } from "../image/image.ts";
import { LabError } from "../lab-error.ts";
import { type MpiNetwork, ucxEnvironment } from "./network.ts";

export const MPI_IMPLEMENTATIONS = ["openmpi", "mpich"] as const;
export type MpiImplementation = (typeof MPI_IMPLEMENTATIONS)[number];

interface Facts {
  /** What people call it. */
  readonly title: string;
  /** The package with its starter, which is what an image is looked through for. */
  readonly package: string;
  readonly library: string;
  /** Which binary interface our own programs are compiled for (programs/mpi.h). */
  readonly define: string;
}

export const MPI_FACTS: Readonly<Record<MpiImplementation, Facts>> = {
  openmpi: { title: "Open MPI", package: "openmpi-bin", library: "libmpi.so.40", define: "OPEN_MPI" },
  mpich: { title: "MPICH", package: "mpich", library: "libmpich.so.12", define: "MPICH" },
};

/** An implementation in an image. */
export interface InstalledMpi {
  readonly implementation: MpiImplementation;
  /** The package's version. */
  readonly version: string;
}

/**
 * What an image has; Open MPI where it has both, as Debian's alternatives have it.
 * @throws LabError("usage") if that is not there
 */
export function findMpi(image: Pick<GuestImage, "contents">, wanted?: MpiImplementation): InstalledMpi {
  const versions = new Map(image.contents.map((line) => line.split(" ") as [string, string]));
  for (const implementation of wanted === undefined ? MPI_IMPLEMENTATIONS : [wanted]) {
    const version = versions.get(MPI_FACTS[implementation].package);
    if (version !== undefined) return { implementation, version };
  }
  const names = MPI_IMPLEMENTATIONS.map((each) => MPI_FACTS[each].package);
  throw new LabError("usage", `the guest image has no ${wanted === undefined ? "MPI" : MPI_FACTS[wanted].title}`, {
    mend: `add --packages ${wanted === undefined ? names.join(" or ") : MPI_FACTS[wanted].package}`,
  });
}

/** Packages to add to those that a user has named, so that there is an MPI: that which they speak of, else Open MPI. */
export function missingMpiPackages(packages: readonly string[], wanted?: MpiImplementation): string[] {
  const speaksOf = (word: string): boolean => packages.some((name) => name.includes(word));
  const implementation = wanted ?? (speaksOf("mpich") && !speaksOf("openmpi") ? "mpich" : "openmpi");
  const name = MPI_FACTS[implementation].package;
  return packages.includes(name) ? [] : [name];
}

/** A job, with nothing left open. */
export interface MpiJob {
  readonly nodes: readonly string[];
  readonly ranks: number;
  readonly network: MpiNetwork;
  readonly environment: Readonly<Record<string, string>>;
}

/** Words for a shell on the first node that start a program in every rank; the program's own words follow. */
export function starter(implementation: MpiImplementation, job: MpiJob): string {
  return implementation === "openmpi" ? openMpi(job) : mpich(job);
}

/**
 * mpirun(1) of Open MPI. Debian's /etc/openmpi/openmpi-mca-params.conf excludes UCX, and TCP would be taken instead: naming the one
 * way that is wanted makes MPI_Init fail where it does not work. A node has as many slots as processors: with more ranks than
 * that, those that wait give their processor away.
 */
function openMpi({ nodes, ranks, network, environment }: MpiJob): string {
  const ways: Readonly<Record<string, string>> = network === "hca" ? { pml: "ucx", osc: "ucx" } : tcpOf(network);
  // collective operations through shared memory, too, would bypass the network
  const mca = Object.entries({ ...ways, coll: "^sm" }).map(([name, value]) => `--mca ${name} ${value}`);
  const exports = Object.entries({ ...ucxEnvironment(network), ...environment }).map(
    ([name, value]) => `-x ${name}=${quote(value)}`,
  );
  const hosts = nodes.map((node) => `${node}:$(nproc)`).join(",");
  const places = `--host ${hosts} -n ${ranks} --map-by node:OVERSUBSCRIBE --bind-to none`;
  return ["mpirun.openmpi --allow-run-as-root", places, ...mca, ...exports].join(" ");
}

const tcpOf = (network: MpiNetwork): Record<string, string> => ({
  ...{ pml: "ob1", btl: "tcp,self" },
  btl_tcp_if_include: network === "ipoib" ? "ib0" : "eth0",
});

/** mpiexec.hydra(1). MPIR_CVAR_NOLOCAL: ranks of a node do not use shared memory. */
function mpich({ nodes, ranks, network, environment }: MpiJob): string {
  const variables = { MPIR_CVAR_NOLOCAL: "1", ...ucxEnvironment(network), ...environment };
  const exports = Object.entries(variables).map(([name, value]) => `-genv ${name} ${quote(value)}`);
  return [`mpirun.mpich -launcher ssh -bind-to none -hosts ${nodes.join(",")} -n ${ranks} -ppn 1`, ...exports].join(" ");
}

/** One word for a shell. */
export const quote = (text: string): string => (/^[\w@%+=:,./^-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
