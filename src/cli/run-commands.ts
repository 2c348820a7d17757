// Commands in several VMs at once: output line by line with the node's name in front, one status each.

import { setTimeout as sleep } from "node:timers/promises";
import type { Lab } from "../lab/lab.ts";
import { LineSplitter } from "./line-splitter.ts";

/** How long other commands may go on after one has failed: a server whose client is gone would wait for ever. */
const GRACE_MS = 5_000;

/** Status of a command that we ended, as of a shell's command that SIGTERM ended. */
const STATUS_ENDED = 143;
const KEPT_BYTES = 64 << 20;

export interface NodeCommand {
  node: string;
  command: string;
}

export interface CommandResult extends NodeCommand {
  status: number;
  stdout: string;
  stderr: string;
  seconds: number;
  /** Milliseconds since the first command started. */
  endedAtMs: number;
  /** Ended by us, because another command failed, time ran out or the user said so. */
  wasEnded: boolean;
}

export interface RunCommandsOptions {
  signal: AbortSignal;
  /** Time between the starts of commands on different nodes. */
  staggerMs: number;
  /** Keep the output for the result instead of printing it. */
  isCollected: boolean;
  keepsGoing: boolean;
  /** Lines of output have the node's name in front, where there is more than one; true if left out. */
  isPrefixed?: boolean;
}

/** Runs all commands to their end, which is ours if `signal` says so, or a few seconds after one of them has failed. */
export async function runCommands(
  lab: Lab,
  commands: readonly NodeCommand[],
  options: RunCommandsOptions,
): Promise<CommandResult[]> {
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const startMs = performance.now();
  const isStaggered = new Set(commands.map((c) => c.command)).size > 1;
  const running = commands.map(async (command, i) => {
    if (isStaggered && i > 0) await sleep(i * options.staggerMs, undefined, { signal }).catch(() => {});
    const result = await runOne(lab, command, signal, options, startMs);
    if (result.status !== 0 && !result.wasEnded && !options.keepsGoing) {
      setTimeout(() => failure.abort(new Error(`${command.node} failed`)), GRACE_MS).unref();
    }
    return result;
  });
  return Promise.all(running);
}

async function runOne(
  lab: Lab,
  command: NodeCommand,
  signal: AbortSignal,
  { isCollected, isPrefixed = true }: RunCommandsOptions,
  startMs: number,
): Promise<CommandResult> {
  const prefix = isPrefixed && lab.nodes.length > 1 ? `${command.node} | ` : "";
  const out = isCollected ? new Kept() : new LineSplitter((line) => process.stdout.write(`${prefix}${line}\n`));
  const err = isCollected ? new Kept() : new LineSplitter((line) => process.stderr.write(`${prefix}${line}\n`));
  const began = performance.now();
  const status = await statusOf(lab, command, signal, out, err);
  out.end();
  err.end();
  const now = performance.now();
  return {
    ...command,
    status: status ?? STATUS_ENDED,
    ...{ stdout: out instanceof Kept ? out.text : "", stderr: err instanceof Kept ? err.text : "" },
    ...{ seconds: (now - began) / 1000, endedAtMs: now - startMs, wasEnded: status === undefined },
  };
}

/** A command's status; undefined if `signal` ended it, or came before it began. */
async function statusOf(
  lab: Lab,
  { node, command }: NodeCommand,
  signal: AbortSignal,
  out: Sink,
  err: Sink,
): Promise<number | undefined> {
  try {
    const streams = { onStdout: (chunk: Buffer) => out.push(chunk), onStderr: (chunk: Buffer) => err.push(chunk) };
    return (await lab.node(node).exec(command, { signal, ...streams })).status;
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

type Sink = Pick<LineSplitter, "push">;

/** Output that is kept for the result, up to a bound. */
class Kept {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): void {
    if (this.#bytes < KEPT_BYTES) this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  end(): void {}

  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8");
  }
}
