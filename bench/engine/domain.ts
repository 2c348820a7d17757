// A device domain in a process of its own, which can be stopped and let go on like a tape.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DomainView } from "../../src/domain/protocol.ts";
import { sleepNs } from "../../src/host/thread.ts";
import type { DataPath } from "../../src/transport/network.ts";
import type { DomainQuestion } from "./domain-process.ts";

const PROGRAM = fileURLToPath(new URL("./domain-process.ts", import.meta.url));
const LOOK_NS = 100_000;

/** Stops a process, all of its threads, and waits until it stands still. */
export function freeze(pid: number): void {
  process.kill(pid, "SIGSTOP");
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))) sleepNs(LOOK_NS);
}

/** Lets a process that `freeze` has stopped go on. */
export function thaw(pid: number): void {
  process.kill(pid, "SIGCONT");
}

export class Domain {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #folder: string;
  #isFrozen = false;

  private constructor(child: ChildProcess, folder: string) {
    if (child.pid === undefined) throw new Error("the device domain could not be started");
    this.pid = child.pid;
    this.#child = child;
    this.#folder = folder;
  }

  /** Starts a domain with HCAs of these names, spread over that many engine threads; resolves once they listen. */
  static async start(names: readonly string[], engines = 1, dataPath: DataPath = "auto"): Promise<Domain> {
    const folder = mkdtempSync(join(tmpdir(), "vhca-bench-"));
    const child = fork(PROGRAM, [folder, String(engines), dataPath, ...names], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    const domain = new Domain(child, folder);
    await domain.#message();
    return domain;
  }

  /** Where the HCA listens. */
  socketPath(name: string): string {
    return join(this.#folder, `${name}.sock`);
  }

  async describe(): Promise<DomainView> {
    return (await this.#ask("describe")) as DomainView;
  }

  freeze(): void {
    if (!this.#isFrozen) freeze(this.pid);
    this.#isFrozen = true;
  }

  thaw(): void {
    if (this.#isFrozen) thaw(this.pid);
    this.#isFrozen = false;
  }

  /** Path under which the memory of an HCA's UAR pages can be opened. */
  uarPath(name: string): string {
    return memfdPaths(this.pid, `vhca-${name}-uar`)[0] ?? "";
  }

  /** CPU time of all threads so far, in ms. */
  cpuMs(): number {
    const fields = readFileSync(`/proc/${this.pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    // utime and stime, proc(5), in ticks of 10 ms.
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  async stop(): Promise<void> {
    this.thaw();
    const hasEnded = once(this.#child, "exit");
    if (this.#child.exitCode === null) {
      this.#child.send("stop" satisfies DomainQuestion);
      await hasEnded;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #ask(question: DomainQuestion): Promise<unknown> {
    this.#child.send(question);
    return this.#message();
  }

  /** The next message, or an error when the process ends instead. */
  async #message(): Promise<unknown> {
    const ended = new AbortController();
    const { signal } = ended;
    const exit = once(this.#child, "exit", { signal }).then(() => {
      throw new Error("the device domain has ended");
    });
    exit.catch(() => {});
    try {
      const [message] = (await Promise.race([once(this.#child, "message", { signal }), exit])) as unknown[];
      return message;
    } finally {
      ended.abort();
    }
  }
}

/** Paths of a process' memfds of that name, in the order of their descriptors. */
export function memfdPaths(pid: number, name: string): string[] {
  const folder = `/proc/${pid}/fd`;
  const isNamed = (fd: string): boolean => {
    try {
      return readlinkSync(`${folder}/${fd}`) === `/memfd:${name} (deleted)`;
    } catch {
      return false;
    }
  };
  const fds = readdirSync(folder).sort((a, b) => Number(a) - Number(b));
  return fds.filter(isNamed).map((fd) => `${folder}/${fd}`);
}
