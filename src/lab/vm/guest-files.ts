// What a lab adds to the kernel's first root file system: our init, and the files it lays over the image.

import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { CpioWriter } from "../image/cpio.ts";
import { hostsFile } from "./addresses.ts";
import { HOST_KEY_ALIAS, type LabKeys } from "./keys.ts";

interface GuestFile {
  readonly data: string;
  readonly mode: number;
}

const ownFile = (name: string): string => readFileSync(fileURLToPath(new URL(`../guest/${name}`, import.meta.url)), "utf8");

/** Path in the guest → contents. */
export type GuestFiles = ReadonlyMap<string, GuestFile>;
const plain = (data: string, mode = 0o644): GuestFile => ({ data, mode });

/** What every guest of every lab has. */
const commonFiles = (): [string, GuestFile][] => [
  ["etc/inittab", plain(ownFile("inittab"))],
  ["etc/security/limits.d/vhca.conf", plain("* - memlock unlimited\n")],
  ["etc/vhca/sshd_config", plain(ownFile("sshd_config"))],
  ["root/.ssh/config", plain(`Host n* 10.*\n  HostKeyAlias ${HOST_KEY_ALIAS}\n  LogLevel ERROR\n`, 0o600)],
  ["usr/lib/vhca/channel", plain(ownFile("channel"), 0o755)],
  ["usr/lib/vhca/uevent", plain(ownFile("uevent"), 0o755)],
];

/** What a guest that a snapshot is taken of has, besides a key for the sshd that waits in it. */
export const snapshotFiles = (): GuestFiles => new Map(commonFiles());

export const withHostKey = (files: GuestFiles, keys: LabKeys): GuestFiles =>
  new Map([...files, ["etc/vhca/host_key", plain(keys.hostKey, 0o600)]]);

/** What a guest that boots has. */
export const bootFiles = (nodes: number, keys: LabKeys): GuestFiles => new Map([...commonFiles(), ...labFiles(nodes, keys)]);

/** The first program of a guest. */
export const ownInit = (): string => ownFile("init");

/** What the guests of one lab share, and nobody else may have. */
export const labFiles = (nodes: number, keys: LabKeys): GuestFiles =>
  new Map([
    ["etc/hosts", plain(hostsFile(nodes))],
    ["etc/vhca/host_key", plain(keys.hostKey, 0o600)],
    ["etc/vhca/authorized_keys", plain(keys.userPublicKey, 0o600)],
    ["root/.ssh/id_ed25519", plain(keys.userKey, 0o600)],
    ["root/.ssh/known_hosts", plain(keys.knownHosts)],
  ]);

/** The whole first root file system: the kernel's part, our init, and the files that it lays over the image. */
export function initialArchive(bootArchive: Buffer, files: GuestFiles): Buffer {
  const cpio = new CpioWriter();
  cpio.file("init", ownInit(), 0o755);
  cpio.folder("lab");
  addFiles(cpio, "lab/", files);
  return Buffer.concat([bootArchive, cpio.finish()]);
}

function addFiles(cpio: CpioWriter, prefix: string, files: GuestFiles): void {
  const folders = new Set<string>();
  for (const [path, { data, mode }] of files) {
    for (const folder of parents(path)) {
      if (folders.has(folder)) continue;
      folders.add(folder);
      cpio.folder(`${prefix}${folder}`, folder === "root" || folder === "root/.ssh" ? 0o700 : 0o755);
    }
    cpio.file(`${prefix}${path}`, data, mode);
  }
}

/** a/b/c → a, a/b. */
function parents(path: string): string[] {
  const folder = dirname(path);
  return folder === "." ? [] : [...parents(folder), folder];
}
