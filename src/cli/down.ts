// vhca down: ends the device domain that `vhca up` started.

import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { getUpDomain } from "./domains.ts";
import { printLine } from "./output.ts";

const STOP_TIMEOUT_MS = 10_000;

export function addDown(program: Command): void {
  program
    .command("down")
    .summary("end the device domain that is up")
    .description("Ends the device domain that `vhca up` started; VMs that use its HCAs lose them.")
    .action(async () => {
      const { client, status } = await getUpDomain();
      await client.stop();
      for (const start = Date.now(); existsSync(client.socketPath) && Date.now() - start < STOP_TIMEOUT_MS; ) await sleep(20);
      printLine(`Device domain down (process ${status.pid}).`);
    });
}
