// The ways that the data of an MPI program may go.

/** Our HCA by verbs; TCP over the Ethernet between the guests (virtio-net); TCP over IPoIB. */
export const MPI_NETWORKS = ["hca", "ethernet", "ipoib"] as const;
export type MpiNetwork = (typeof MPI_NETWORKS)[number];

/**
 * Variables that leave UCX one transport on one device and nothing else, no shared memory either: where that does not work, UCX
 * fails instead of taking another. `self` is a rank's way to itself; `rc_v` brings the datagrams along that connections are made with.
 *
 * Weak fences, which are enough where all goes over one queue pair: for strong ones UCX reads from a region that it has on adapters of the mlx5
 * family only, and on others prints "flush(remote) is not supported" for each fence of one-sided communication (uct/ib/rc/verbs/rc_verbs_ep.c).
 */
export function ucxEnvironment(network: MpiNetwork): Record<string, string> {
  if (network === "hca") return { UCX_TLS: "rc_v,self", UCX_NET_DEVICES: "mthca0:1", UCX_FENCE_MODE: "weak" };
  return { UCX_TLS: "tcp,self", UCX_NET_DEVICES: network === "ipoib" ? "ib0" : "eth0" };
}
