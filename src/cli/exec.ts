// vhca exec: a command in a VM that another vhca process runs.

import type { Command } from "commander";
import { execInRunningLab } from "../lab/lab.ts";
import { interruptible } from "./interrupt.ts";
import { UsageError } from "./output.ts";

export function addExec(program: Command): void {
  program
    .command("exec <node> [command...]")
    .summary("run a command in a VM that is running")
    .description(
      "Runs a command in a VM of a running `vhca run`; output streamed, status passed on. On a terminal, without a command: a shell.",
    )
    .option("--lab <id>", "which lab, if several run; the newest by default")
    .action(async (node: string, words: string[], options: { lab?: string }) => {
      const isShell = words.length === 0;
      if (isShell && !process.stdin.isTTY) throw new UsageError("no command given: vhca exec NODE -- COMMAND");
      const lab = options.lab === undefined ? {} : { labId: options.lab };
      process.exitCode = await interruptible(async (signal) => {
        const common = { signal, stdin: "inherit" as const, ...lab };
        const result = isShell
          ? await execInRunningLab(node, "exec bash -l", { ...common, tty: true })
          : await execInRunningLab(node, words.join(" "), {
              ...common,
              onStdout: (chunk) => process.stdout.write(chunk),
              onStderr: (chunk) => process.stderr.write(chunk),
            });
        return result.status;
      });
    });
}
