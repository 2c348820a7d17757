// vhca down: ends the device domain that `vhca up` started.

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { identify, isRunning } from "../lab/run-folder.ts";
import { domainSummary, getUpDomain } from "./domains.ts";
import { printJson, printLine } from "./output.ts";

const STOP_TIMEOUT_MS = 10_000;
const LOOK_MS = 20;

export function addDown(program: Command): void {
  program
    .command("down")
    .summary("end the device domain that is up")
    .description("Ends the device domain that `vhca up` started; VMs that use its HCAs lose them.")
    .option("--json", "print what was ended as JSON, as vhca up does what it started")
    .action(async ({ json }: { json?: boolean }) => {
      const { client, status } = await getUpDomain();
      const id = identify(status.pid);
      await client.stop();
      await untilEnded(() => existsSync(client.socketPath) || (id !== undefined && isRunning(id)), status.pid);
      if (json === true) printJson(domainSummary(status));
      else printLine(`Device domain down (process ${status.pid}).`);
    });
}

/** Returns when the process has ended, so that whoever starts another domain finds its names free. @throws if that takes too long */
async function untilEnded(isThere: () => boolean, pid: number): Promise<void> {
  for (const start = Date.now(); isThere(); await sleep(LOOK_MS))
    if (Date.now() - start >= STOP_TIMEOUT_MS)
      throw new Error(`the device domain (process ${pid}) was told to end and is still there after ${STOP_TIMEOUT_MS / 1000} s`);
}
