// Takes a snapshot: boots a guest that belongs to no lab, waits until it says that it is ready, stops it, and writes it down.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closeDescriptor } from "../../host/libc.ts";
import { createSealedMemfd } from "../../host/shared-memory.ts";
import { LabError, lastLines } from "../lab-error.ts";
import type { Prepared } from "../prepare.ts";
import { onLines, signalGroup, spawnTied } from "../run-command.ts";
import { RunFolder } from "../run-folder.ts";
import { initialArchive, snapshotFiles, withHostKey } from "./guest-files.ts";
import { saveMemory } from "./guest-memory.ts";
import { makeKeys } from "./keys.ts";
import { saveGuest } from "./migration.ts";
import { type GuestConfig, qemuArguments } from "./qemu-command.ts";
import { Qmp } from "./qmp.ts";
import type { SnapshotMachine } from "./snapshot.ts";
import { connectWhenThere } from "./ssh.ts";

/** What is in a snapshot's folder. */
export const SnapshotFile = { STATE: "state", MEMORY: "memory", KNOWN_HOST: "known_host" } as const;

const BOOT_TIMEOUT_MS = 120_000;

/** A guest of no lab. `folder` is for its sockets. */
export function templateConfig(prepared: Prepared, machine: SnapshotMachine, folder: string, archive: string): GuestConfig {
  return {
    ...machine,
    ...{ name: "snapshot", index: 0, waitForIb: false, start: "boot-for-snapshot" },
    kernelFile: prepared.kernel.kernelFile,
    initialArchive: archive,
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

/** Fills `folder` with a snapshot. @throws LabError("restore") if it cannot be made */
export async function makeSnapshot(
  prepared: Prepared,
  machine: SnapshotMachine,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const work = RunFolder.create();
  const keys = await makeKeys(prepared.ssh, work.path);
  const archive = work.file("initial.cpio");
  const files = withHostKey(snapshotFiles(), keys);
  writeFileSync(archive, initialArchive(readFileSync(prepared.kernel.bootArchive), files), { mode: 0o600 });
  const config = templateConfig(prepared, machine, work.path, archive);
  const memory = createSealedMemfd("vhca-snapshot", machine.memoryMiB * 2 ** 20);
  try {
    await runTemplate(prepared, config, memory, join(folder, SnapshotFile.STATE), (pid) => work.addProcess(pid), signal);
    saveMemory(memory, join(folder, SnapshotFile.MEMORY));
    writeFileSync(join(folder, SnapshotFile.KNOWN_HOST), keys.knownHosts);
  } finally {
    closeDescriptor(memory);
    work.remove();
  }
}

/** Boots the guest, writes all but its memory to a file, and ends it. */
async function runTemplate(
  prepared: Prepared,
  config: GuestConfig,
  memory: number,
  stateFile: string,
  onProcess: (pid: number | undefined) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { file, args } = prepared.qemu.tool;
  const qemu = spawnTied(file, [...args, ...qemuArguments(config)], { stdio: ["ignore", "ignore", "pipe", memory] });
  onProcess(qemu.pid);
  let errors = "";
  if (qemu.stderr) onLines(qemu.stderr, (line) => (errors = lastLines(`${errors}\n${line}`)));
  const end = (): void => signalGroup(qemu.pid, "SIGKILL");
  const ended = new Promise<void>((resolve) => {
    qemu.once("error", (error) => (errors += error.message));
    qemu.once("close", () => resolve());
  });
  signal?.addEventListener("abort", end, { once: true });
  try {
    await untilReady(config, ended);
    const qmp = await Qmp.open(config.qmpSocket);
    await saveGuest(qmp, stateFile);
    qmp.close();
  } catch (cause) {
    signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LabError("restore", `a snapshot of a guest cannot be made: ${reason}`, { details: errors, cause });
  } finally {
    signal?.removeEventListener("abort", end);
    end();
    await ended;
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
  said.catch(() => {});
  try {
    await Promise.race([said, gone]);
  } finally {
    socket?.destroy();
  }
}
