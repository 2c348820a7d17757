// Latency and bandwidth of MPI between two guests against the length of a message (programs/ping-pong.c).

import { LabError, lastLines } from "../lab-error.ts";
import type { ExecOptions } from "../vm/ssh.ts";
import type { Mpi, MpiProgram } from "./mpi.ts";

export interface PingPongOptions extends Omit<MpiProgram, "command" | "ranks"> {
  /** The longest message; 1 MiB if left out. Lengths are powers of two from 1. */
  readonly longestBytes?: number | undefined;
  /** For each figure of each length; 200 ms if left out. Five batches are measured in any case. */
  readonly budgetMs?: number | undefined;
}

/** The figures of one length. */
export interface PingPongRow {
  readonly bytes: number;
  /** Half of a round trip, median of batches. */
  readonly latencyUs: number;
  /** One way, 16 messages under way, 10⁶ bytes a second, median of batches. */
  readonly bandwidthMbps: number;
  readonly batches: number;
}

/** Measures between the first two nodes; contents of messages are verified. @throws LabError("build") if the program fails */
export async function pingPong(mpi: Mpi, options: PingPongOptions = {}, exec: ExecOptions = {}): Promise<PingPongRow[]> {
  const { longestBytes = 1 << 20, budgetMs = 200, ...program } = options;
  const path = await mpi.compile("ping-pong");
  const nodes = mpi.job(program).nodes.slice(0, 2);
  const result = await mpi.run({ ...program, nodes, command: `${path} ${longestBytes} ${budgetMs}` }, exec);
  if (result.status !== 0)
    throw new LabError("build", `ping-pong over ${mpi.title} ended with status ${result.status}`, {
      details: lastLines(result.stdout + result.stderr),
    });
  return parsePingPong(result.stdout);
}

/** Reads the lines `BYTES LATENCY_US BANDWIDTH_MBPS BATCHES`. */
export function parsePingPong(output: string): PingPongRow[] {
  const lines = output.matchAll(/^(\d+) ([\d.]+) ([\d.]+) (\d+)$/gm);
  return [...lines].map(([, ...words]) => {
    const [bytes = 0, latencyUs = 0, bandwidthMbps = 0, batches = 0] = words.map(Number);
    return { bytes, latencyUs, bandwidthMbps, batches };
  });
}
