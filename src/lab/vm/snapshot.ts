// Snapshots of guests that have booted and wait for their name: a lab's guests start from one in a quarter of the time. One for each
// combination of what goes into it, kept in the cache; docs/decisions/0007.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join } from "node:path";
import { LabError, lastLines } from "../lab-error.ts";
import type { Cache } from "../packages/cache.ts";
import type { Prepared } from "../prepare.ts";
import type { Progress } from "../progress.ts";
import { onLines, signalGroup, spawnTied } from "../run-command.ts";
import { commonFiles, initialArchive } from "./guest-files.ts";
import { saveGuest } from "./migration.ts";
import { type GuestConfig, qemuArguments } from "./qemu-command.ts";
import { Qmp } from "./qmp.ts";
import { connectWhenThere } from "./ssh.ts";

const FOLDER = "snapshots";
/** The newest ones that are kept; each takes 100 to 200 MB. */
const KEPT = 4;
const BOOT_TIMEOUT_MS = 120_000;
/** What a snapshot is made of besides the values in its key; raise it when that changes. */
const FORMAT = 1;

/** A snapshot in the cache. */
export interface Snapshot {
  /** The guest: registers, devices, memory. */
  readonly file: string;
  /** The first root file system it booted from: QEMU wants to see it again. */
  readonly initialArchive: string;
}

/** Machine properties that a snapshot is tied to. */
export type SnapshotMachine = Pick<GuestConfig, "accelerator" | "memoryMiB" | "cpus" | "ethernetMtu">;

/** A name for everything that the snapshot depends on: another image, kernel, QEMU or machine is another snapshot. */
export function snapshotKey(prepared: Prepared, machine: SnapshotMachine, archive: Buffer): string {
  const { qemu, kernel, image } = prepared;
  const processor = machine.accelerator === "kvm" ? (cpus()[0]?.model ?? "?") : "";
  const { accelerator, memoryMiB, cpus: processors, ethernetMtu } = machine;
  const parts = [FORMAT, qemu.version, qemu.tool.file, kernel.release, image.hash, accelerator, processor];
  const words = qemuArguments(templateConfig(prepared, machine, "", "")).join(" ");
  return createHash("sha256")
    .update(JSON.stringify([...parts, memoryMiB, processors, ethernetMtu, words]))
    .update(archive)
    .digest("hex")
    .slice(0, 16);
}

/** The archive that a guest boots from on the way to a snapshot. */
export const snapshotArchive = (prepared: Prepared): Buffer =>
  initialArchive(readFileSync(prepared.kernel.bootArchive), commonFiles());

/** Finds or makes the snapshot. @throws LabError if it cannot be made */
export async function prepareSnapshot(
  cache: Cache,
  prepared: Prepared,
  machine: SnapshotMachine,
  options: { progress: Progress; signal?: AbortSignal | undefined },
): Promise<Snapshot> {
  const archive = snapshotArchive(prepared);
  const folder = join(FOLDER, snapshotKey(prepared, machine, archive));
  const found = findSnapshot(cache.path(folder));
  if (found !== undefined) return found;
  await cache.withLock(options.progress, options.signal, async () => {
    options.progress({ step: "making a snapshot of a guest, once", detail: "" });
    await cache.build(folder, (temporary) => makeSnapshot(prepared, machine, archive, temporary, options.signal));
    dropOld(cache, basename(folder));
  });
  const made = findSnapshot(cache.path(folder));
  if (made === undefined) throw new LabError("restore", `the snapshot in ${cache.path(folder)} is gone`);
  return made;
}

function findSnapshot(folder: string): Snapshot | undefined {
  const file = join(folder, "guest");
  if (!existsSync(file)) return undefined;
  const now = new Date();
  // the ones used last are kept
  utimesSync(folder, now, now);
  return { file, initialArchive: join(folder, "initial.cpio") };
}

/** Removes a snapshot that turned out to be useless; the next lab makes another one. */
export function dropSnapshot(snapshot: Snapshot): void {
  rmSync(join(snapshot.file, ".."), { recursive: true, force: true });
}

function dropOld(cache: Cache, newest: string): void {
  const others = readdirSync(cache.path(FOLDER))
    .filter((name) => name !== newest)
    .map((name) => ({ name, usedAt: statSync(cache.path(FOLDER, name)).mtimeMs }))
    .sort((a, b) => b.usedAt - a.usedAt);
  for (const { name } of others.slice(KEPT - 1)) rmSync(cache.path(FOLDER, name), { recursive: true, force: true });
}

/** A guest of no lab. */
function templateConfig(prepared: Prepared, machine: SnapshotMachine, folder: string, archiveFile: string): GuestConfig {
  return {
    ...{ accelerator: machine.accelerator, memoryMiB: machine.memoryMiB, cpus: machine.cpus },
    ...{ name: "snapshot", index: 0, ethernetMtu: machine.ethernetMtu, waitForIb: false, start: "boot-for-snapshot" },
    kernelFile: prepared.kernel.kernelFile,
    initialArchive: archiveFile,
    rootImage: prepared.image.file,
    modulesImage: prepared.kernel.modulesImage,
    serialLog: join(folder, "serial.log"),
    qmpSocket: join(folder, "qmp"),
    sshSocket: join(folder, "ssh"),
    statusSocket: join(folder, "status"),
    setupSocket: join(folder, "setup"),
    // nobody listens there: the card is part of the snapshot, what it is connected to is not
    ethernetSocket: join(folder, "ethernet"),
  };
}

async function makeSnapshot(
  prepared: Prepared,
  machine: SnapshotMachine,
  archive: Buffer,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const archiveFile = join(folder, "initial.cpio");
  writeFileSync(archiveFile, archive, { mode: 0o600 });
  const sockets = join(folder, "run");
  mkdirSync(sockets, { mode: 0o700 });
  const config = templateConfig(prepared, machine, sockets, archiveFile);
  const { file, args } = prepared.qemu.tool;
  const qemu = spawnTied(file, [...args, ...qemuArguments(config)], { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  if (qemu.stderr) onLines(qemu.stderr, (line) => (errors = lastLines(`${errors}\n${line}`)));
  const end = (): void => signalGroup(qemu.pid, "SIGKILL");
  const ended = new Promise<void>((resolve) => qemu.once("close", () => resolve()));
  signal?.addEventListener("abort", end, { once: true });
  try {
    await untilReady(config, ended);
    const qmp = await Qmp.open(config.qmpSocket);
    await saveGuest(qmp, join(folder, "guest"));
    qmp.close();
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LabError("restore", `a snapshot of a guest cannot be made: ${reason}`, { details: errors, cause });
  } finally {
    signal?.removeEventListener("abort", end);
    end();
    await ended;
    rmSync(sockets, { recursive: true, force: true });
  }
}

/** Resolves when the guest says that it waits for its name. */
async function untilReady(config: GuestConfig, ended: Promise<void>): Promise<void> {
  let hasEnded = false;
  const gone = ended.then(() => {
    hasEnded = true;
    throw new Error("the guest ended while it was booting");
  });
  gone.catch(() => {});
  const socket = await connectWhenThere(config.statusSocket, () => hasEnded);
  const said = new Promise<void>((resolve, reject) => {
    setTimeout(() => reject(new Error(`the guest was not ready after ${BOOT_TIMEOUT_MS / 1000} s`)), BOOT_TIMEOUT_MS).unref();
    if (socket === undefined) return;
    socket.on("error", () => {});
    onLines(socket, (line) => {
      if (line.startsWith("snapshot ")) resolve();
      if (line.startsWith("failed ")) reject(new Error(line));
    });
    socket.resume();
  });
  try {
    await Promise.race([said, gone]);
  } finally {
    socket?.destroy();
  }
}
