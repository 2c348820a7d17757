// What makes a restored guest a node of a lab: shell commands that `receive` in guest/init reads and runs, one a line, until "end".
// Nearly all of them are done by the shell itself: in an emulated machine every program that is started costs tens of milliseconds.

import { macAddress } from "./addresses.ts";
import type { GuestFiles } from "./guest-files.ts";
import type { GuestConfig } from "./qemu-command.ts";

/** The commands for one guest. `files` are paths in its root → contents; their folders must exist. */
export function setupCommands(config: GuestConfig, files: GuestFiles, now = Date.now()): string {
  const { index, name, ethernetMtu, share, waitForIb, hcaSocket } = config;
  const waits = waitForIb && hcaSocket !== undefined;
  const commands = [
    `node=${index} mtu=${ethernetMtu} share=${share === undefined ? "" : "1"} wait=${waits ? "ib" : ""}`,
    `hardware='hw ether ${macAddress(index)}'`,
    `echo ${name} >/proc/sys/kernel/hostname`,
    `echo ${name} >/proc/1/root/etc/hostname`,
    `date -s @${Math.round(now / 1000)} >/dev/null`,
    ...[...files].map(([path, { data, mode }]) => writeCommand(path, data, mode)),
    "end",
  ];
  return `${commands.join("\n")}\n`;
}

/** In one line: `printf` puts the ends of lines back. */
function writeCommand(path: string, data: string, mode: number): string {
  const escaped = data.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("'", "'\\''");
  return `umask ${(0o777 & ~mode).toString(8)}; printf %b '${escaped}' >'/proc/1/root/${path}'; umask 022`;
}
