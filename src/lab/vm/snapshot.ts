// Snapshots of guests that have booted and wait for their name: a lab's guests start from one in less than half the time. There is one
// for each combination of what goes into it, kept in the cache; docs/decisions/0007.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { LabError } from "../lab-error.ts";
import { type Cache, readFolder } from "../packages/cache.ts";
import { identifyFile } from "../paths.ts";
import type { Prepared } from "../prepare.ts";
import type { Progress } from "../progress.ts";
import { ownInit, snapshotFiles } from "./guest-files.ts";
import { type GuestConfig, qemuArguments } from "./qemu-command.ts";
import { makeSnapshot, SnapshotFile, templateConfig } from "./snapshot-build.ts";

const FOLDER = "snapshots";
/** The ones used last are kept; each takes about 100 MB. */
export const KEPT_SNAPSHOTS = 4;
/** Raised when snapshots are made differently. */
const FORMAT = 1;

/** A snapshot in the cache. */
export interface Snapshot {
  readonly folder: string;
  /** Processors and devices, as QEMU writes them. */
  readonly stateFile: string;
  /** The guest's memory, with holes where it is zero. */
  readonly memoryFile: string;
  /** A line for known_hosts: the key of the sshd that waits in the snapshot for the host's call. */
  readonly knownHost: string;
}

/** Properties of a machine that its snapshot is tied to. */
export type SnapshotMachine = Pick<GuestConfig, "accelerator" | "memoryMiB" | "cpus" | "ethernetMtu">;

/** A name for all that a snapshot depends on: another image, kernel, QEMU, machine or script makes another snapshot. */
export function snapshotKey(prepared: Prepared, machine: SnapshotMachine): string {
  const { qemu, kernel, image } = prepared;
  // `-cpu host` is what the machine has
  const processor = machine.accelerator === "kvm" ? cpus()[0]?.model : undefined;
  const hash = createHash("sha256").update(
    JSON.stringify({
      ...{ FORMAT, machine, processor, qemu: [qemu.version, identifyFile(qemu.tool.file)], kernel: kernel.release },
      files: [image.file, kernel.kernelFile, kernel.bootArchive, kernel.modulesImage].map(identifyFile),
      command: qemuArguments(templateConfig(prepared, machine, "", "")),
      init: ownInit(),
      lab: [...snapshotFiles()],
    }),
  );
  return `${snapshotPrefix(image.hash)}${hash.digest("hex").slice(0, 16)}`;
}

const snapshotPrefix = (imageHash: string): string => `${imageHash.slice(0, 16)}-`;

/** Finds or makes the snapshot. @throws LabError if it cannot be made */
export async function prepareSnapshot(
  cache: Cache,
  prepared: Prepared,
  machine: SnapshotMachine,
  options: { progress: Progress; signal?: AbortSignal | undefined },
): Promise<Snapshot> {
  const folder = join(FOLDER, snapshotKey(prepared, machine));
  const found = findSnapshot(cache.path(folder));
  if (found !== undefined) return found;
  await cache.withLock(options.progress, options.signal, async () => {
    if (findSnapshot(cache.path(folder)) !== undefined) return;
    rmSync(cache.path(folder), { recursive: true, force: true });
    options.progress({ step: "making a snapshot of a guest, once", detail: "" });
    await cache.build(folder, (temporary) => makeSnapshot(prepared, machine, temporary, options.signal));
    pruneSnapshots(cache, basename(folder));
  });
  const made = findSnapshot(cache.path(folder));
  if (made === undefined) throw new LabError("restore", `the snapshot in ${cache.path(folder)} is gone`);
  return made;
}

function findSnapshot(folder: string): Snapshot | undefined {
  const [stateFile, memoryFile, keyFile] = [SnapshotFile.STATE, SnapshotFile.MEMORY, SnapshotFile.KNOWN_HOST].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  if (![stateFile, memoryFile, keyFile].every((file) => existsSync(file))) return undefined;
  noteUse(folder);
  return { folder, stateFile, memoryFile, knownHost: readFileSync(keyFile, "utf8") };
}

/** The ones used last are kept; where nothing can be written, nothing is removed either. */
function noteUse(folder: string): void {
  try {
    const now = new Date();
    utimesSync(folder, now, now);
  } catch {
    // a cache of somebody else's
  }
}

/** Removes a snapshot that turned out to be useless; the next lab makes another one. */
export function dropSnapshot(snapshot: Snapshot): void {
  rmSync(snapshot.folder, { recursive: true, force: true });
}

/** Removes the snapshots made from an image, or all. */
export function dropSnapshots(cache: Cache, imageHash?: string): void {
  const prefix = imageHash === undefined ? "" : snapshotPrefix(imageHash);
  for (const name of readFolder(cache.path(FOLDER)))
    if (name.startsWith(prefix)) rmSync(cache.path(FOLDER, name), { recursive: true, force: true });
}

/** Keeps the newest one and those used last. */
export function pruneSnapshots(cache: Cache, newest: string): void {
  const others = readFolder(cache.path(FOLDER))
    .filter((name) => name !== newest)
    .map((name) => ({ name, usedAt: statSync(cache.path(FOLDER, name)).mtimeMs }))
    .sort((a, b) => b.usedAt - a.usedAt);
  for (const { name } of others.slice(KEPT_SNAPSHOTS - 1)) rmSync(cache.path(FOLDER, name), { recursive: true, force: true });
}
