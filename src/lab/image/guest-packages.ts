// What a guest image holds unless the user adds more: the tools of verbs users, and what the guest's own small init needs.

import { LabError } from "../lab-error.ts";

/** Raised when the way images are built changes, so that old ones are not used any more. */
export const IMAGE_BUILDER_VERSION = 1;

export const DEFAULT_PACKAGES: readonly string[] = [
  // verbs: libraries, provider, programs
  ...["ibverbs-providers", "ibverbs-utils", "infiniband-diags", "librdmacm1t64", "opensm", "perftest", "qperf", "rdmacm-utils"],
  // network
  ...["ethtool", "iperf3", "iproute2", "iputils-ping", "netbase", "openssh-client", "openssh-server"],
  // the system
  ...["busybox-static", "kmod", "less", "pciutils", "procps", "psmisc", "strace"],
  // a C compiler that starts at once, for probes (`tcc -run x.c`)
  ...["tcc", "libc6-dev"],
];

/** Names as a user gives them, checked, without duplicates, sorted: two orders are one selection. */
export function normalisePackages(extra: readonly string[]): string[] {
  // Debian Policy 5.6.1, plus an optional architecture; a leading dash would be an option of apt-get
  for (const name of extra)
    if (!/^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?$/.test(name))
      throw new LabError("usage", `not a Debian package name: ${JSON.stringify(name)}`, { mend: "names look like openmpi-bin" });
  return [...new Set([...DEFAULT_PACKAGES, ...extra])].sort();
}
