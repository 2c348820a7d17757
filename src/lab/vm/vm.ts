// One guest: its QEMU, its news channel and its ssh master, from start to end.

import type { ChildProcess } from "node:child_process";
import { closeSync, existsSync, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { LabError, lastLines } from "../lab-error.ts";
import { onLines, signalGroup, spawnTied } from "../run-command.ts";
import { loadGuest } from "./migration.ts";
import { makeNice } from "./niceness.ts";
import type { Qemu } from "./qemu.ts";
import { devicesToPlug, type GuestConfig, qemuArguments } from "./qemu-command.ts";
import { Qmp } from "./qmp.ts";
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
  readonly snapshotFile: string;
  readonly files: Buffer;
  /** Settles when the HCA can be plugged in. */
  readonly hcasReady: Promise<unknown> | undefined;
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
  #hasEnded = false;
  #isKilled = false;
  #stderr = "";

  constructor(options: VmOptions) {
    this.#options = options;
    const { config, qemu } = options;
    const { qmpSocket, sshSocket, statusSocket, setupSocket } = config;
    for (const path of [qmpSocket, sshSocket, statusSocket, setupSocket, options.endpoint.controlSocket])
      rmSync(path, { force: true });
    this.#qemu = spawnTied(qemu.tool.file, [...qemu.tool.args, ...qemuArguments(config)], {
      stdio: ["ignore", "ignore", "pipe"],
    });
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
      this.#restore(restore).catch((cause) => {
        const reason = cause instanceof Error ? cause.message : String(cause);
        failed.reject(new LabError("restore", `${this.#options.config.name} cannot be restored: ${reason}`, { cause }));
      });
    }
    const timer = setTimeout(
      () => failed.reject(this.#bootError(`was not ready after ${bootTimeoutMs / 1000} s`)),
      bootTimeoutMs,
    );
    void this.exited.then(() => failed.reject(this.#bootError("ended while it was booting")));
    failed.promise.catch(() => {});
    try {
      const [hca] = await Promise.race([Promise.all([this.#listen(), sshIsUp.promise]), failed.promise]);
      const start = restore === undefined ? "cold" : "warm";
      return { events: this.#events, hca, start, seconds: this.#elapsed() };
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Loads the snapshot, plugs in what cannot be part of one, lets the guest go on, and tells it who it is. */
  async #restore({ snapshotFile, files, hcasReady }: Restore): Promise<void> {
    const { config } = this.#options;
    (await connectWhenThere(config.qmpSocket, () => this.#hasEnded))?.destroy();
    const qmp = await Qmp.open(config.qmpSocket);
    try {
      await loadGuest(qmp, snapshotFile);
      this.#note({ event: "restored", seconds: this.#elapsed(), detail: "" });
      await hcasReady;
      for (const device of devicesToPlug(config)) await qmp.execute("device_add", device);
      const setup = await connectWhenThere(config.setupSocket, () => this.#hasEnded);
      setup?.on("error", () => {});
      setup?.write(Buffer.concat([Buffer.from(setupLine(config, files.length)), files]));
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

/** The line that `receive` in guest/init reads; the archive follows it. */
function setupLine(config: GuestConfig, bytes: number): string {
  const { index, ethernetMtu, share, waitForIb, hcaSocket } = config;
  const flag = (isSet: boolean): string => (isSet ? "1" : "0");
  const wait = waitForIb && hcaSocket !== undefined ? "ib" : "no";
  const seconds = Math.round(Date.now() / 1000);
  const words = [index, ethernetMtu, flag(share !== undefined), wait, flag(hcaSocket !== undefined), seconds, bytes];
  return `${words.join(" ")}\n`;
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
