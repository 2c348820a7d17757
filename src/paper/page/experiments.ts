/** Names of the experiments, in the paper's order. */
export const EXPERIMENTS: Readonly<Record<number, string>> = {
  1: "Latency against message size",
  2: "Bandwidth against message size",
  3: "Event handling",
  4: "Registration of memory",
  5: "IP over InfiniBand",
  6: "MPI",
  7: "Applications",
};
