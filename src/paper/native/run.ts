// Runs a native process on a device domain of its own: the domain is this process's engine thread, the program another process.

import { fileURLToPath } from "node:url";
import { silentLog } from "../../base/log.ts";
import { hcaSocketPath } from "../../control/socket-paths.ts";
import { DomainHandle } from "../../domain/domain-handle.ts";
import { runCommand } from "../../lab/run-command.ts";
import { RunFolder } from "../../lab/run-folder.ts";
import { type Tally, tallyOf } from "../counting.ts";
import type { NativeResult, NativeTest } from "./test.ts";

const TIMEOUT_MS = 120_000;
const NAMES = ["n1", "n2"] as const;

/** A domain with two HCAs for native processes. */
export class NativePair implements AsyncDisposable {
  readonly #domain: DomainHandle;
  readonly #folder: RunFolder;

  private constructor(domain: DomainHandle, folder: RunFolder) {
    this.#domain = domain;
    this.#folder = folder;
  }

  static async start(doorbells: "mapped" | "trapped" = "mapped"): Promise<NativePair> {
    const pair = new NativePair(new DomainHandle({ log: silentLog }), RunFolder.create());
    try {
      for (const name of NAMES)
        await pair.#domain.addHca({ name, socketPath: hcaSocketPath(pair.#folder.path, name), doorbells });
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs the program once. @throws Error with what it said if it fails */
  async run(test: NativeTest, signal: AbortSignal): Promise<NativeResult> {
    const sockets = NAMES.map((name) => hcaSocketPath(this.#folder.path, name));
    const program = fileURLToPath(new URL(`./process${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));
    const args = [program, ...sockets, JSON.stringify(test)];
    const { status, stdout, stderr } = await runCommand(process.execPath, args, { signal, timeoutMs: TIMEOUT_MS });
    signal.throwIfAborted();
    if (status !== 0) throw new Error(`the native process ended with status ${status}: ${stderr.trim()}`);
    return JSON.parse(stdout) as NativeResult;
  }

  readonly tally = async (): Promise<Tally> => tallyOf(await this.#domain.describe());

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#domain.stop();
    this.#folder.remove();
  }
}
