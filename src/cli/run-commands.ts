// Commands in several VMs at once: output line by line with the node's name in front, one status each.

import { setTimeout as sleep } from "node:timers/promises";
import { KeptOutput } from "../lab/kept-output.ts";
import type { Lab } from "../lab/lab.ts";
import { LabError } from "../lab/lab-error.ts";
import { LineSplitter } from "./line-splitter.ts";
import { printError } from "./output.ts";

/** How long other commands may go on after one has failed: a server whose client is gone would wait for ever. */
const GRACE_MS = 5_000;

/** Status of a command that we ended, as of a shell's command that SIGTERM ended. */
const STATUS_ENDED = 143;

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
  /** Why it did not end by itself although we did not end it: its VM is gone. */
  error?: string;
  /** There was more output than is kept. */
  isCut?: true;
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
  const [out, err] = [process.stdout, process.stderr].map(
    (stream) => new Output(isCollected, (line) => stream.write(`${prefix}${line}\n`)),
  ) as [Output, Output];
  const began = performance.now();
  const end = await endOf(lab, command, signal, out, err);
  out.end();
  err.end();
  const now = performance.now();
  return {
    ...{ ...command, ...end, stdout: out.kept.text, stderr: err.kept.text },
    ...{ seconds: (now - began) / 1000, endedAtMs: now - startMs },
    ...(out.kept.isCut || err.kept.isCut ? { isCut: true } : {}),
  };
}

type End = Pick<CommandResult, "status" | "wasEnded" | "error">;

/** How a command ended. It may have been ended by `signal`, also before it began, or its VM is gone, which is told at once. */
async function endOf(lab: Lab, { node, command }: NodeCommand, signal: AbortSignal, out: Output, err: Output): Promise<End> {
  try {
    const streams = { onStdout: (chunk: Buffer) => out.push(chunk), onStderr: (chunk: Buffer) => err.push(chunk) };
    return { status: (await lab.node(node).exec(command, { signal, ...streams })).status, wasEnded: false };
  } catch (error) {
    if (signal.aborted) return { status: STATUS_ENDED, wasEnded: true };
    if (!(error instanceof LabError && error.code === "node-gone")) throw error;
    return { status: printError(error), wasEnded: false, error: error.message };
  }
}

/** Output that is printed line by line, or kept for the result. */
class Output {
  readonly kept = new KeptOutput();
  readonly #lines: LineSplitter | undefined;

  constructor(isCollected: boolean, print: (line: string) => void) {
    this.#lines = isCollected ? undefined : new LineSplitter(print);
  }

  push(chunk: Buffer): void {
    (this.#lines ?? this.kept).push(chunk);
  }

  end(): void {
    this.#lines?.end();
  }
}
