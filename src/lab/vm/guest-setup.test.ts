import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { runCommand } from "../run-command.ts";
import { setupCommands } from "./guest-setup.ts";
import type { GuestConfig } from "./qemu-command.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-setup-"));
after(() => rmSync(folder, { recursive: true }));

const config: GuestConfig = {
  ...{ name: "n7", index: 7, accelerator: "tcg", memoryMiB: 512, cpus: 1, ethernetMtu: 9000, waitForIb: true },
  ...{ kernelFile: "/k", initialArchive: "/i", rootImage: "/r", modulesImage: "/m", serialLog: "/l", start: "restore" },
  ...{ qmpSocket: "/q", sshSocket: "/s", statusSocket: "/t", setupSocket: "/u" },
};

test("setup: files of any text arrive as they are, with their rights, one command a line", async () => {
  const files = new Map([
    ["etc/plain", { data: "two\nlines\n", mode: 0o644 }],
    ["etc/key", { data: 'it\'s "quoted" $HOME `id` \\n \\\\ %s %b\n\n\tend without newline', mode: 0o600 }],
  ]);
  for (const path of files.keys()) mkdirSync(dirname(join(folder, path)), { recursive: true });
  const writes = setupCommands(config, files)
    .split("\n")
    .filter((line) => line.includes("printf"));
  assert.equal(writes.length, files.size);
  for (const line of writes) {
    const ran = await runCommand("/bin/sh", ["-c", line.replaceAll("/proc/1/root", folder)]);
    assert.equal(ran.status, 0, ran.stderr);
  }
  for (const [path, { data, mode }] of files) {
    assert.equal(readFileSync(join(folder, path), "utf8"), data);
    assert.equal(statSync(join(folder, path)).mode & 0o777, mode, path);
  }
});

test("setup: says which node it is, whether it has a folder and an HCA, and what time it is; ends with end", async () => {
  const print = 'echo "$node $mtu $share $wait $hardware"';
  const variables = async (each: Partial<GuestConfig>): Promise<string> => {
    const lines = setupCommands({ ...config, ...each }, new Map())
      .split("\n")
      .filter((line) => /^(node|hardware)=/.test(line));
    return (await runCommand("/bin/sh", ["-c", [...lines, print].join("\n")])).stdout.trim();
  };
  assert.equal(await variables({}), "7 9000   hw ether 52:56:00:86:00:07");
  assert.equal(await variables({ share: "/home" }), "7 9000 1  hw ether 52:56:00:86:00:07");
  assert.equal(await variables({ hcaSocket: "/h" }), "7 9000  ib hw ether 52:56:00:86:00:07");
  assert.equal(await variables({ hcaSocket: "/h", waitForIb: false }), "7 9000   hw ether 52:56:00:86:00:07");
  const commands = setupCommands(config, new Map(), 1_700_000_000_900);
  assert.match(commands, /^date -s @1700000001 /m);
  assert.ok(commands.endsWith("\nend\n"));
});
