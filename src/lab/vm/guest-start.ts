// How the guests of one lab start: from a snapshot, or from the kernel where there is no snapshot that works. docs/decisions/0007.

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import type { Log } from "../../base/log.ts";
import type { Prepared } from "../prepare.ts";
import type { RunFolder } from "../run-folder.ts";
import { bootFiles, initialArchive, labFiles } from "./guest-files.ts";
import { setupCommands } from "./guest-setup.ts";
import { type LabKeys, makeKeys } from "./keys.ts";
import type { GuestConfig } from "./qemu-command.ts";
import { dropSnapshot, type Snapshot } from "./snapshot.ts";
import type { SshEndpoint } from "./ssh.ts";
import { type BootEvent, type Restore, Vm } from "./vm.ts";

/** The first root file system of guests that boot, in the run folder. */
export const INITIAL_ARCHIVE = "initial.cpio";

export interface GuestStartOptions {
  readonly prepared: Prepared;
  readonly folder: RunFolder;
  readonly nodes: number;
  /** Undefined: every guest boots. */
  readonly snapshot: Snapshot | undefined;
  readonly bootTimeoutMs: number;
  readonly log: Log;
  readonly onBootEvent: (node: string, event: BootEvent) => void;
}

export class GuestStart {
  readonly #options: GuestStartOptions;
  /** Being made while QEMU starts. */
  readonly #keys: Promise<LabKeys>;
  #snapshot: Snapshot | undefined;
  #archive: Promise<void> | undefined;

  private constructor(options: GuestStartOptions) {
    this.#options = options;
    this.#snapshot = options.snapshot;
    this.#keys = makeKeys(options.prepared.ssh, options.folder.path).then((keys) => {
      if (options.snapshot !== undefined) appendFileSync(options.folder.file("known_hosts"), options.snapshot.knownHost);
      return keys;
    });
    this.#keys.catch(() => {});
  }

  /** Resolves when guests can start. */
  static async prepare(options: GuestStartOptions): Promise<GuestStart> {
    const start = new GuestStart(options);
    if (options.snapshot === undefined) await start.#prepareBoot();
    return start;
  }

  /** Starts a guest in the way that is known to work. */
  start(config: GuestConfig, endpoint: SshEndpoint): Vm {
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return this.#makeVm(config, endpoint);
    const commands = this.#keys.then((keys) => setupCommands(config, labFiles(this.#options.nodes, keys)));
    commands.catch(() => {});
    return this.#makeVm({ ...config, start: "restore" }, endpoint, { snapshot, commands });
  }

  /** A guest could not be restored: from now on they boot, and the next lab makes another snapshot. */
  async giveUpSnapshot(reason: unknown): Promise<void> {
    if (this.#snapshot !== undefined) {
      this.#options.log.warn(`${reason instanceof Error ? reason.message : reason}; guests boot instead`);
      dropSnapshot(this.#snapshot);
      this.#snapshot = undefined;
    }
    await this.#prepareBoot();
  }

  #prepareBoot(): Promise<void> {
    this.#archive ??= this.#writeArchive();
    return this.#archive;
  }

  async #writeArchive(): Promise<void> {
    const { prepared, nodes, folder } = this.#options;
    const archive = initialArchive(readFileSync(prepared.kernel.bootArchive), bootFiles(nodes, await this.#keys));
    writeFileSync(folder.file(INITIAL_ARCHIVE), archive, { mode: 0o600 });
  }

  #makeVm(config: GuestConfig, endpoint: SshEndpoint, restore?: Restore): Vm {
    const { prepared, folder, bootTimeoutMs, onBootEvent } = this.#options;
    return new Vm({
      ...{ qemu: prepared.qemu, config, endpoint, restore, bootTimeoutMs, runFolder: folder.path },
      onProcess: (pid) => folder.addProcess(pid),
      onEvent: (event) => onBootEvent(config.name, event),
    });
  }
}
