// What the tour measures: which program of the guest, and how to read its output.

import { perftestRows } from "../../lab/perftest.ts";

/** A measurement between two nodes: a server on n1, a client on n2, both stock programs. */
export interface Measurement {
  readonly name: string;
  readonly kind: "latency" | "bandwidth";
  readonly unit: "µs" | "MB/s";
  readonly server: string;
  readonly client: string;
  /** The figure in the client's output; undefined if it is not there. */
  readonly parse: (output: string) => number | undefined;
}

/** Iterations: fewer where each operation goes through the VMM, but never so few that one tick of the scheduler (4 ms) decides. */
export interface Effort {
  readonly latency: number;
  readonly bandwidth: number;
  readonly pingpong: number;
}
export const MAPPED_EFFORT: Effort = { latency: 5000, bandwidth: 10_000, pingpong: 5000 };
export const TRAPPED_EFFORT: Effort = { latency: 2000, bandwidth: 10_000, pingpong: 2000 };

const SMALL = 8;
const LARGE = 65536;

/** Typical latency in µs, one way for send and write: column 5 of perftest's table. */
function perftestLatency(size: number): (output: string) => number | undefined {
  return (output) => perftestColumn(output, size, 4);
}

/** Average bandwidth in MB/s: column 4. */
function perftestBandwidth(output: string): number | undefined {
  return perftestColumn(output, LARGE, 3);
}

function perftestColumn(output: string, size: number, column: number): number | undefined {
  return perftestRows(output).find((cells) => cells[0] === size)?.[column];
}

/** `1000 iters in 0.25 seconds = 252.12 usec/iter`: there and back. */
function pingpongTime(output: string): number | undefined {
  const match = /=\s*([\d.]+)\s*usec\/iter/.exec(output);
  return match === null ? undefined : Number(match[1]);
}

function latency(name: string, program: string, effort: Effort, size = SMALL): Measurement {
  const command = `${program} -n ${effort.latency} -s ${size}`;
  return { name, kind: "latency", unit: "µs", server: command, client: `${command} n1`, parse: perftestLatency(size) };
}

function bandwidth(name: string, program: string, effort: Effort): Measurement {
  const command = `${program} -n ${effort.bandwidth} -s ${LARGE}`;
  return { name, kind: "bandwidth", unit: "MB/s", server: command, client: `${command} n1`, parse: perftestBandwidth };
}

function pingpong(name: string, flags: string, effort: Effort): Measurement {
  const command = `ibv_rc_pingpong -n ${effort.pingpong} -s 4096 ${flags}`.trim();
  return { name, kind: "latency", unit: "µs", server: command, client: `${command} n1`, parse: pingpongTime };
}

/** Everything the tour measures on one pair of VMs. */
export function measurements(effort: Effort): Measurement[] {
  return [
    pingpong("ping-pong 4 KiB, polled", "", effort),
    pingpong("ping-pong 4 KiB, events", "-e", effort),
    latency("send 8 B", "ib_send_lat", effort),
    latency("RDMA write 8 B", "ib_write_lat", effort),
    latency("RDMA read 8 B", "ib_read_lat", effort),
    latency("atomic fetch & add", "ib_atomic_lat", effort),
    bandwidth("send 64 KiB", "ib_send_bw", effort),
    bandwidth("RDMA write 64 KiB", "ib_write_bw", effort),
    bandwidth("RDMA read 64 KiB", "ib_read_bw", effort),
  ];
}
