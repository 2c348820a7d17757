// One guest: its QEMU, its news channel and its ssh master, from start to end.

import type { ChildProcess, StdioOptions } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { closeDescriptor } from "../../host/libc.ts";
import { createSealedMemfd } from "../../host/shared-memory.ts";
import { LabError, lastLines } from "../lab-error.ts";
import { onLines, signalGroup, spawnTied } from "../run-command.ts";
import { loadMemory } from "./guest-memory.ts";
import { loadGuest } from "./migration.ts";
import { makeNice } from "./niceness.ts";
import type { Qemu } from "./qemu.ts";
import { type GuestConfig, MEMORY_DESCRIPTOR, qemuArguments } from "./qemu-command.ts";
import { Qmp } from "./qmp.ts";
import type { Snapshot } from "./snapshot.ts";
import { connectWhenThere, type SshEndpoint, startMaster } from "./ssh.ts";

/** One line of a guest's news: when it came, seconds after QEMU was started. */
export interface BootEvent {
  readonly event: string;
  readonly seconds: number;
  readonly detail: string;
}

/** What a guest said when it was ready. */
export interface BootReport {
  readonly events: readonly BootEvent[];
  /** "joined": IPoIB works; "present": the driver is up, IPoIB has not joined; "none": no HCA. */
  readonly hca: "joined" | "present" | "none";
  /** Booted, or restored from a snapshot. */
  readonly start: "cold" | "warm";
  readonly seconds: number;
}

export interface Restore {
  readonly snapshot: Snapshot;
  /** Commands that make the guest a node of its lab; they may come while QEMU starts. */
  readonly commands: Promise<string>;
}

export interface VmOptions {
  readonly qemu: Qemu;
  readonly config: GuestConfig;
  readonly endpoint: SshEndpoint;
  /** For a guest with `start: "restore"`: what it starts from and what makes it a node of its lab. */
  readonly restore?: Restore | undefined;
  readonly runFolder: string;
  readonly bootTimeoutMs: number;
  readonly onEvent: (event: BootEvent) => void;
  readonly onProcess: (pid: number | undefined) => void;
}

const SERIAL_TAIL_BYTES = 8192;
/** How long QEMU may take to end after it has closed its monitor. */
const END_GRACE_MS = 200;
/**
 * A master that ends while its guest runs (somebody ended sshd there) is started again after this time, and after twice as long
 * each time in vain: the guest must have noticed the end of one call before the next, or it answers the wrong one.
 */
const MASTER_RESTART_MS = 250;
const MASTER_RESTART_LIMIT_MS = 8000;
/** One that gets no answer from a guest that has booted called while the guest was hanging up. */
const MASTER_TIMEOUT_S = 10;

export class Vm {
  /** Settles when the guest is ready, or with the reason why it never will be. */
  readonly ready: Promise<BootReport>;
  /** Resolves, with QEMU's status, when the guest has ended. */
  readonly exited: Promise<number | null>;
  readonly #options: VmOptions;
  readonly #qemu: ChildProcess;
  readonly #startedAt = performance.now();
  readonly #events: BootEvent[] = [];
  readonly #isSetUp = Promise.withResolvers<void>();
  #master: ChildProcess | undefined;
  /** Ours until it is filled; only of a guest that is restored. */
  readonly #memory: number = -1;
  #hasEnded = false;
  #isKilled = false;
  #stderr = "";

  constructor(options: VmOptions) {
    this.#options = options;
    const { config, qemu } = options;
    const { qmpSocket, sshSocket, statusSocket, setupSocket } = config;
    for (const path of [qmpSocket, sshSocket, statusSocket, setupSocket, options.endpoint.controlSocket])
      rmSync(path, { force: true });
    const stdio: StdioOptions = ["ignore", "ignore", "pipe"];
    if (options.restore !== undefined) {
      this.#memory = createSealedMemfd(`vhca-${config.name}`, config.memoryMiB << 20);
      stdio[MEMORY_DESCRIPTOR] = this.#memory;
    }
    this.#qemu = spawnTied(qemu.tool.file, [...qemu.tool.args, ...qemuArguments(config)], { stdio });
    makeNice(this.#qemu.pid);
    options.onProcess(this.#qemu.pid);
    if (this.#qemu.stderr)
      onLines(this.#qemu.stderr, (line) => {
        this.#stderr = lastLines(`${this.#stderr}\n${line}`, 50).trimStart();
      });
    this.exited = new Promise((resolve) => {
      this.#qemu.on("error", (error) => {
        this.#stderr += error.message;
        this.#end(resolve, null);
      });
      this.#qemu.on("close", (code) => this.#end(resolve, code));
    });
    this.ready = this.#boot();
    this.ready.catch(() => {});
  }

  /** It has ended, or is about to because it was killed. */
  get hasEnded(): boolean {
    return this.#hasEnded || this.#isKilled;
  }

  /** It starts, or was started, from a snapshot. */
  get isRestored(): boolean {
    return this.#options.restore !== undefined;
  }

  /** It was ended on purpose. */
  get wasKilled(): boolean {
    return this.#isKilled;
  }

  /** QEMU's process id. */
  get pid(): number | undefined {
    return this.#qemu.pid;
  }

  /** Ends the guest at once, as pulling the plug does. The image is read-only, so nothing can be damaged. */
  async kill(): Promise<void> {
    this.killNow();
    await this.exited;
  }

  /** The same without waiting, for a process that is exiting. */
  killNow(): void {
    this.#isKilled = true;
    this.#endProcesses();
  }

  #endProcesses(): void {
    signalGroup(this.#qemu.pid, "SIGKILL");
    signalGroup(this.#master?.pid, "SIGKILL");
  }

  #end(resolve: (status: number | null) => void, status: number | null): void {
    this.#hasEnded = true;
    signalGroup(this.#master?.pid, "SIGKILL");
    rmSync(this.#options.endpoint.controlSocket, { force: true });
    resolve(status);
  }

  async #boot(): Promise<BootReport> {
    const { bootTimeoutMs, restore } = this.#options;
    const sshIsUp = Promise.withResolvers<void>();
    const failed = Promise.withResolvers<never>();
    if (restore === undefined) void this.#keepMaster(sshIsUp.resolve);
    else {
      // Nobody may call before the keys are there.
      void this.#isSetUp.promise.then(() => this.#keepMaster(sshIsUp.resolve));
      this.#restore(restore).catch(async (cause) => {
        // If QEMU ended, its own words say why.
        await Promise.race([this.exited, sleep(END_GRACE_MS)]);
        const reason = cause instanceof Error ? cause.message : String(cause);
        failed.reject(new LabError("restore", `${this.#options.config.name} cannot be restored: ${reason}`, { cause }));
      });
    }
    // A guest that hangs in its restore must leave time to boot another.
    const timeoutMs = restore === undefined ? bootTimeoutMs : bootTimeoutMs / 2;
    const timer = setTimeout(() => failed.reject(this.#bootError(`was not ready after ${timeoutMs / 1000} s`)), timeoutMs);
    void this.exited.then(() => failed.reject(this.#bootError("ended while it was booting")));
    failed.promise.catch(() => {});
    try {
      const [hca] = await Promise.race([Promise.all([this.#listen(), sshIsUp.promise]), failed.promise]);
      const start = restore === undefined ? "cold" : "warm";
      return { events: this.#events, hca, start, seconds: this.#elapsed() };
    } catch (error) {
      this.#endProcesses();
      await this.exited;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Loads the snapshot, tells the guest who it is, and lets it go on. */
  async #restore({ snapshot, commands }: Restore): Promise<void> {
    const { config } = this.#options;
    // QEMU starts meanwhile, and those of other guests
    await sleep(0);
    try {
      loadMemory(snapshot.memoryFile, this.#memory);
    } finally {
      closeDescriptor(this.#memory);
    }
    (await connectWhenThere(config.qmpSocket, () => this.#hasEnded))?.destroy();
    const qmp = await Qmp.open(config.qmpSocket);
    try {
      await loadGuest(qmp, snapshot.stateFile);
      this.#note({ event: "restored", seconds: this.#elapsed(), detail: "" });
      const setup = await connectWhenThere(config.setupSocket, () => this.#hasEnded);
      setup?.on("error", () => {});
      // Read, else the end of it would go unnoticed and keep this process alive.
      setup?.resume();
      setup?.write(await commands);
      await qmp.execute("cont");
    } finally {
      qmp.close();
    }
  }

  /** Reads the guest's news; resolves at "ready". */
  async #listen(): Promise<BootReport["hca"]> {
    const socket = await connectWhenThere(this.#options.config.statusSocket, () => this.#hasEnded);
    return new Promise((resolve, reject) => {
      if (socket === undefined) return;
      socket.on("error", () => {});
      onLines(socket, (line) => {
        const [event = "", , ...detail] = line.trim().split(" ");
        this.#note({ event, seconds: this.#elapsed(), detail: detail.join(" ") });
        if (event === "channel") signalGroup(this.#master?.pid, "SIGKILL");
        if (event === "setup") this.#isSetUp.resolve();
        if (event === "failed") reject(this.#bootError(detail.join(" ")));
        if (event === "ready") resolve(detail[0] === "joined" || detail[0] === "present" ? detail[0] : "none");
      });
      socket.resume();
    });
  }

  /** Holds an ssh master for as long as the guest runs, and says when the first one can carry commands. */
  async #keepMaster(onUp: () => void): Promise<void> {
    const { config, endpoint, runFolder, onProcess } = this.#options;
    let hasBooted = false;
    let restartMs = MASTER_RESTART_MS;
    while (!this.#hasEnded) {
      const socket = await connectWhenThere(config.sshSocket, () => this.#hasEnded);
      if (socket === undefined) return;
      const master = startMaster(endpoint, runFolder, socket);
      socket.destroy();
      this.#master = master;
      onProcess(master.pid);
      if (master.stderr)
        onLines(master.stderr, (line) => {
          this.#stderr = lastLines(`${this.#stderr}\nssh: ${line}`, 50).trimStart();
        });
      let hasMasterEnded = false;
      const ended = new Promise<void>((resolve) => {
        master.on("close", () => {
          hasMasterEnded = true;
          resolve();
        });
      });
      const calledAt = this.#elapsed();
      while (!hasMasterEnded && !existsSync(endpoint.controlSocket)) {
        await sleep(20);
        if (hasBooted && this.#elapsed() - calledAt > MASTER_TIMEOUT_S) signalGroup(master.pid, "SIGKILL");
      }
      if (!hasMasterEnded) {
        this.#note({ event: "ssh", seconds: this.#elapsed(), detail: "" });
        hasBooted = true;
        restartMs = MASTER_RESTART_MS;
        onUp();
      }
      await ended;
      // a killed master leaves its socket, which would look like a new one's and keep that from making its own
      rmSync(endpoint.controlSocket, { force: true });
      await sleep(restartMs);
      restartMs = Math.min(2 * restartMs, MASTER_RESTART_LIMIT_MS);
    }
  }

  #note(event: BootEvent): void {
    this.#events.push(event);
    this.#options.onEvent(event);
  }

  #elapsed(): number {
    return Math.round(performance.now() - this.#startedAt) / 1000;
  }

  #bootError(what: string): LabError {
    const serial = readTail(this.#options.config.serialLog);
    const panic = /Kernel panic - not syncing: .*/.exec(serial)?.[0];
    const reason = panic ?? this.#stderr.split("\n").find((line) => line !== "");
    const details = [serial && `serial log of ${this.#options.config.name}:\n${lastLines(serial)}`, this.#stderr]
      .filter(Boolean)
      .join("\n");
    return new LabError("boot", `${this.#options.config.name} ${what}${reason ? `: ${reason}` : ""}`, { details });
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The end of a file, without what a terminal would do with it. */
function readTail(path: string): string {
  if (!existsSync(path)) return "";
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    const length = Math.min(size, SERIAL_TAIL_BYTES);
    const buffer = Buffer.alloc(length);
    readSync(fd, buffer, 0, length, size - length);
    // firmware and kernel write for a terminal
    return stripVTControlCharacters(buffer.toString("utf8")).replaceAll("\r", "");
  } finally {
    closeSync(fd);
  }
}
