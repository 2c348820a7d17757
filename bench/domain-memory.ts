// What a domain of `vhca up` weighs, for each shape in turn: resident memory of its process (VmRSS and its parts), a minute after its start.
//   node bench/domain-memory.ts [SHAPE…]      default: one switch, and fat-tree:34 (9826 hosts)
// A checkout whose files have just changed strips their types first, which takes 30 MB more: the second run counts.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin/vhca.js", import.meta.url));
const MINUTE_MS = 60_000;

async function measure(shape: string): Promise<void> {
  const runs = mkdtempSync(join(tmpdir(), "vhca-memory-"));
  const topology = shape === "" ? [] : ["--topology", shape];
  const domain = spawn(process.execPath, [BIN, "up", "--foreground", ...topology], {
    env: { ...process.env, XDG_RUNTIME_DIR: runs },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const hasEnded = new Promise<void>((resolve) => domain.once("exit", () => resolve()));
  await sleep(MINUTE_MS);
  const status = readFileSync(`/proc/${domain.pid}/status`, "utf8");
  const mb = (field: string): number => Math.round((Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024) / 1e6);
  console.log(
    `${shape || "one switch"}: ${mb("VmRSS")} MB resident (${mb("RssAnon")} its own, ${mb("RssFile")} of files), ${mb("VmHWM")} at most`,
  );
  domain.kill();
  await hasEnded;
  rmSync(runs, { recursive: true, force: true });
}

const shapes = process.argv.slice(2);
for (const shape of shapes.length > 0 ? shapes : ["", "fat-tree:34"]) await measure(shape);
