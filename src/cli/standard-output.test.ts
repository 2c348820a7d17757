// What pipes do to commands: more output than a pipe holds arrives whole, and a reader that leaves ends the command quietly.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const env = { ...process.env, XDG_RUNTIME_DIR: mkdtempSync(join(tmpdir(), "vhca-pipe-")) };
after(() => rmSync(env.XDG_RUNTIME_DIR, { recursive: true, force: true }));

/** Runs a shell pipeline that begins with vhca; statuses of vhca and of the last command, and what both printed. */
function pipe(args: string, reader: string): Promise<{ statuses: string; stdout: string; stderr: string }> {
  const script = `set -o pipefail; "${process.execPath}" "${main}" ${args} | ${reader}; echo " status \${PIPESTATUS[0]}"`;
  const child = spawn("bash", ["-c", script], { env, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (part) => {
    stdout += part;
  });
  child.stderr.on("data", (part) => {
    stderr += part;
  });
  return new Promise((resolve) => {
    child.on("close", () => {
      const [, text = "", statuses = ""] = /^(.*) status (\d+)\n$/s.exec(stdout) ?? [];
      resolve({ statuses, stdout: text, stderr });
    });
  });
}

test("output that cannot be written is one line and status 3", async () => {
  const { statuses, stderr } = await pipe("status >/dev/full", "cat");
  assert.deepEqual(
    [statuses, stderr],
    ["3", "vhca: standard output cannot be written: ENOSPC: no space left on device, write\n"],
  );
});

test("a domain in the foreground whose reader leaves ends, and leaves no folder behind", async () => {
  const { statuses, stderr } = await pipe("up --foreground", "true");
  assert.deepEqual([statuses, stderr], ["141", ""]);
  assert.equal(existsSync(join(env.XDG_RUNTIME_DIR, "vhca")), false);
});

test("output through pipes", async (t) => {
  // 280 KB of JSON.
  const up = await pipe("up --hca n1 --topology fat-tree:8", "cat");
  t.after(() => pipe("down", "cat"));
  assert.equal(up.statuses, "0", up.stderr);

  await t.test("a reader that is slow gets everything", async () => {
    const { statuses, stdout, stderr } = await pipe("status --json", "(sleep 0.5; cat)");
    assert.equal(statuses, "0", stderr);
    assert.ok(stdout.length > 4 << 16, `${stdout.length}`);
    const [domain] = JSON.parse(stdout) as { fabric: { nodes: unknown[] } }[];
    assert.equal(domain?.fabric.nodes.length, 128);
  });

  await t.test("a reader that leaves ends it like SIGPIPE, without a word", async () => {
    const { statuses, stderr } = await pipe("status --json", "head -c 10");
    assert.deepEqual([statuses, stderr], ["141", ""]);
  });

  await t.test("a capture ends with its reader", async () => {
    const { statuses, stdout, stderr } = await pipe("capture - --port n1 --seconds 0.5", "head -c 4 | od -An -tx1");
    assert.deepEqual([statuses, stdout.trim()], ["0", "0a 0d 0d 0a"], stderr);
  });
});
