// Commands in several VMs, without VMs: what comes of those whose VM is gone, and of output that is too long to be kept.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KEPT_OUTPUT_BYTES } from "../lab/kept-output.ts";
import type { Lab } from "../lab/lab.ts";
import { LabError } from "../lab/lab-error.ts";
import type { ExecOptions, ExecResult } from "../lab/vm/ssh.ts";
import { type CommandResult, runCommands } from "./run-commands.ts";

type Guest = (options: ExecOptions) => Promise<number>;

/** What comes of a command on each of these, its output collected. */
function run(...guests: Guest[]): Promise<CommandResult[]> {
  const exec = (guest: Guest) => async (_command: string, options: ExecOptions) =>
    ({ status: await guest(options) }) as ExecResult;
  const nodes = guests.map((guest, i) => ({ name: `n${i + 1}`, exec: exec(guest) }));
  const lab = { nodes, node: (name: string) => nodes.find((node) => node.name === name) } as unknown as Lab;
  const how = { signal: new AbortController().signal, staggerMs: 0, isCollected: true, keepsGoing: true };
  return runCommands(
    lab,
    nodes.map(({ name }) => ({ node: name, command: "x" })),
    how,
  );
}

test("a VM that goes away in the middle: what it had printed is kept, and so is what the others print later", async () => {
  const gone = Promise.withResolvers<void>();
  const [first, second] = await run(
    async ({ onStdout }) => {
      onStdout?.(Buffer.from("last words\n"));
      gone.resolve();
      throw new LabError("node-gone", "n1 is gone: its VM has ended");
    },
    async ({ onStdout }) => {
      await gone.promise;
      onStdout?.(Buffer.from("done\n"));
      return 0;
    },
  );
  const parts = (result: CommandResult | undefined): unknown[] => [
    result?.status,
    result?.wasEnded,
    result?.error,
    result?.stdout,
  ];
  assert.deepEqual(parts(first), [3, false, "n1 is gone: its VM has ended", "last words\n"]);
  assert.deepEqual(parts(second), [0, false, undefined, "done\n"]);
});

test("what cannot be ours is not hidden", async () => {
  await assert.rejects(
    run(() => Promise.reject(new Error("invariant: none"))),
    /invariant/,
  );
});

test("output beyond what is kept is cut, and the result says so", async () => {
  const half = Buffer.alloc(KEPT_OUTPUT_BYTES / 2, "a");
  const prints =
    (...chunks: Buffer[]): Guest =>
    async ({ onStdout }) => {
      for (const chunk of chunks) onStdout?.(chunk);
      return 0;
    };
  const [full, over] = await run(prints(half, half), prints(half, Buffer.concat([half, Buffer.from("b")]), half));
  assert.deepEqual([full?.stdout.length, full?.isCut], [KEPT_OUTPUT_BYTES, undefined]);
  assert.deepEqual([over?.stdout.length, over?.isCut, over?.stdout.at(-1)], [KEPT_OUTPUT_BYTES, true, "a"]);
});
