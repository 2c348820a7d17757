// The QEMU options that plug an HCA into somebody's own VM.

/** What to add to a QEMU command line; memory size and slot are the user's to change. */
export function qemuHint(socketPath: string): string {
  const device = JSON.stringify({ driver: "vfio-user-pci", addr: "5", socket: { type: "unix", path: socketPath } });
  return [
    "  -machine q35,memory-backend=ram -object memory-backend-memfd,id=ram,size=1G,share=on -m 1G \\",
    `  -device '${device}'`,
  ].join("\n");
}
