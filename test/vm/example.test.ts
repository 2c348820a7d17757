// The example device in a stock guest: what lspci shows, and its registers through the guest's own loads and stores.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { startLab } from "../../src/lab/lab.ts";
import { onLines } from "../../src/lab/run-command.ts";
import { whyNoVms } from "./session.ts";

const example = fileURLToPath(new URL("../../examples/vfio-user-device.ts", import.meta.url));

test("the example device in a guest: lspci, registers", async (t) => {
  const reason = await whyNoVms();
  if (reason !== undefined) {
    t.skip(`no VMs here: ${reason}`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "vhca-example-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const socket = join(folder, "x.sock");
  const device = spawn(process.execPath, [example, socket], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => device.kill());
  await new Promise<void>((resolve) => onLines(device.stdout, (line) => line.startsWith("serving on") && resolve()));

  const lab = await startLab({ nodes: 1, hcaSocket: () => socket, waitForIb: false });
  t.after(() => lab.stop());
  const run = async (command: string): Promise<string> => {
    const { status, stdout, stderr } = await lab.node("n1").exec(command);
    assert.equal(status, 0, `${command}\n${stdout}${stderr}`);
    return stdout.trim();
  };
  const shown = await run("lspci -nn -vv -d 1af4:10f1");
  assert.match(shown, /1af4:10f1/);
  assert.match(shown, /Memory at [0-9a-f]+ .*\[size=8K\]/);
  assert.match(shown, /MSI-X: Enable- Count=4/);

  const address = `0x${(await run("head -1 /sys/bus/pci/devices/0000:00:05.0/resource")).slice(2, 18)}`;
  const register = (offset: number): string => `$((${address} + ${offset}))`;
  await run("echo 1 > /sys/bus/pci/devices/0000:00:05.0/enable");
  assert.equal(await run(`busybox devmem ${register(0)} 32`), "0x61636876", "the letters vhca");
  assert.equal(await run(`busybox devmem ${register(4)} 32 0x12345678; busybox devmem ${register(4)} 32`), "0x12345678");
  assert.equal(await run(`busybox devmem ${register(8)} 32 2; busybox devmem ${register(8)} 32`), "0x00000001");
});
