// Commands in several VMs at once: output line by line with the node's name in front, one status each.

import { setTimeout as sleep } from "node:timers/promises";
import type { Lab } from "../lab/lab.ts";
import { LineSplitter } from "./line-splitter.ts";

/** How long other commands may go on after one has failed: a server whose client is gone would wait for ever. */
const GRACE_MS = 5_000;

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
  /** Ended by us, because another command failed or time ran out. */
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

/** Runs all commands to their end. */
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
    if (result.status !== 0 && !result.wasEnded && !options.keepsGoing && !failure.signal.aborted) {
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
  const out = new LineSplitter((line) => process.stdout.write(`${prefix}${line}\n`));
  const err = new LineSplitter((line) => process.stderr.write(`${prefix}${line}\n`));
  const began = performance.now();
  const ended = (status: number, stdout: string, stderr: string): CommandResult => {
    const now = performance.now();
    return {
      ...command,
      status,
      stdout,
      stderr,
      seconds: (now - began) / 1000,
      endedAtMs: now - startMs,
      wasEnded: signal.aborted,
    };
  };
  if (signal.aborted) return ended(1, "", "");
  const streams = isCollected
    ? {}
    : { onStdout: (chunk: Buffer) => out.push(chunk), onStderr: (chunk: Buffer) => err.push(chunk) };
  const result = await lab.node(command.node).exec(command.command, { signal, ...streams });
  out.end();
  err.end();
  return ended(result.status, result.stdout, result.stderr);
}
