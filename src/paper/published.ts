// What the paper itself shows of each figure: where, and the values that its text or tables give as numbers. Values are never read
// off its pictures, nor taken from memory.
//
// J. Liu, W. Huang, B. Abali, D. K. Panda: High Performance VMM-Bypass I/O in Virtual Machines. USENIX ATC 2006, pp. 29–42.
//
// Only its abstract was at hand when this was written, and that says it in words: Xen-IB reaches nearly the raw performance of the
// original driver without virtualization. Whoever has the paper adds values here, with the section that has them as the note.

import type { Figure, Series } from "./report.ts";

/** A series as published; x and y in the units of our figure. */
export type PublishedSeries = Omit<Series, "side" | "counts" | "command">;

export interface Published {
  /** The part of the paper's evaluation that shows the same. */
  readonly where: string;
  readonly series: readonly PublishedSeries[];
}

const part = (where: string, ...series: PublishedSeries[]): Published => ({ where, series });

/** By figure. HPC Challenge and the NAS benchmarks stand for applications in general. */
export const PUBLISHED: Readonly<Record<string, Published>> = {
  "latency-send": part("InfiniBand latency, send/receive"),
  "latency-write": part("InfiniBand latency, RDMA write"),
  "bandwidth-send": part("InfiniBand bandwidth, send/receive"),
  "bandwidth-write": part("InfiniBand bandwidth, RDMA write"),
  channel: part("event handling, one-way time of the device channel"),
  events: part("event handling, latency with blocking verbs"),
  registration: part("memory registration"),
  deregistration: part("memory deregistration"),
  "ipoib-stream": part("IPoIB, netperf TCP_STREAM"),
  "ipoib-rr": part("IPoIB, netperf TCP_RR"),
  "mpi-latency": part("MPI latency"),
  "mpi-bandwidth": part("MPI bandwidth"),
};

/** A figure with what the paper has of it; one that has published series already keeps those. */
export function withPublished(figure: Figure, published: Readonly<Record<string, Published>> = PUBLISHED): Figure {
  const known = Object.hasOwn(published, figure.id) ? published[figure.id] : undefined;
  if (known === undefined) return figure;
  const hasOwn = figure.series.some(({ side }) => side === "paper");
  const added: Series[] = hasOwn ? [] : known.series.map((series) => ({ side: "paper", ...series }));
  return { ...figure, paperFigure: figure.paperFigure ?? known.where, series: [...figure.series, ...added] };
}
