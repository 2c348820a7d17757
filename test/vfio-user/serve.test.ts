import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createEventfd, drainEventfd } from "../../src/host/eventfd.ts";
import { closeDescriptor } from "../../src/host/libc.ts";
import { PollEvent, waitFor } from "../../src/host/poller.ts";
import { IrqIndex, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { serve, VfioUserClient } from "../../src/vfio-user/index.ts";
import { ToyDevice } from "./toy-device.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-serve-"));
after(() => rmSync(folder, { recursive: true }));

test("serve: stops when told, by close or by an AbortSignal, and leaves no socket behind", async () => {
  const device = new ToyDevice();
  const path = join(folder, "a");
  const first = serve(device, { path });
  assert.ok(existsSync(path));
  first.close();
  await first.closed;
  assert.equal(existsSync(path), false);
  const controller = new AbortController();
  const second = serve(device, { path, signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort();
  await second.closed;
  assert.equal(existsSync(path), false);
  const third = serve(device, { path, signal: AbortSignal.abort() });
  await third.closed;
  device.close();
});

test("serve: timers run, the sweep runs, and an error of the device ends it", async () => {
  const device = new ToyDevice();
  let sweeps = 0;
  const serving = serve(device, {
    path: join(folder, "b"),
    sweep: () => {
      sweeps++;
      if (sweeps === 50) throw new Error("device bug");
      return sweeps % 2;
    },
  });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await assert.rejects(serving.closed, /device bug/);
  clearInterval(timer);
  assert.equal(sweeps, 50);
  assert.equal(existsSync(join(folder, "b")), false);
  device.close();
});

test("the example: a device in another process, with its register, its interrupt, and what lspci needs", async () => {
  const script = fileURLToPath(new URL("../../examples/vfio-user-device.ts", import.meta.url));
  assert.ok(readFileSync(script, "utf8").split("\n").length <= 100);
  const path = join(folder, "example");
  const child = spawn(process.execPath, [script, path], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const client = new VfioUserClient(path);
  const config = Buffer.from(client.read(RegionIndex.CONFIG, 0, 256));
  assert.equal(config.readUInt32LE(0), 0x10f11af4);
  assert.equal(config[0x34], 0x40);
  assert.equal(Buffer.from(client.read(RegionIndex.BAR0, 0, 4)).toString(), "vhca");
  client.write32(RegionIndex.BAR0, 4, 0xcafe);
  assert.equal(client.read32(RegionIndex.BAR0, 4), 0xcafe);
  const event = createEventfd();
  client.setEventfds(IrqIndex.MSIX, 3, [event]);
  client.write32(RegionIndex.BAR0, 8, 3);
  assert.equal(waitFor(event, PollEvent.IN, 5e9), true);
  assert.equal(drainEventfd(event), 1);
  assert.equal(client.read32(RegionIndex.BAR0, 8), 1);
  closeDescriptor(event);
  client.close();
  child.kill("SIGTERM");
  const [status] = await once(child, "exit");
  assert.equal(status, 0);
  assert.equal(existsSync(path), false);
});
