import assert from "node:assert/strict";
import { PerformanceObserver } from "node:perf_hooks";
import { test } from "node:test";
import { drainEventfd } from "../../src/host/eventfd.ts";
import { IrqSet } from "../../src/spec/vfio-user/messages.ts";
import { Command, IrqIndex, IrqSetFlag } from "../../src/spec/vfio-user/numbers.ts";
import { Poller } from "../../src/vfio-user/index.ts";
import { record, rig } from "./raw-peer.ts";

test("what the engine calls all the time allocates nothing: idle polls, with and without a client, and interrupts", async (t) => {
  const { ready, server, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const poller = new Poller(4);
  const idle = (): void => {
    server.poll();
    poller.clear();
    server.watch(poller);
    poller.wait(0);
  };
  for (let i = 0; i < 20_000; i++) idle();
  const flags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
  ready().expect(Command.DEVICE_SET_IRQS, record(IrqSet, { flags, index: IrqIndex.MSIX, start: 0, count: 1 }), [event]);
  const { interrupts } = device;
  const turn = (): void => {
    idle();
    interrupts?.signal(IrqIndex.MSIX, 0);
    interrupts?.signal(IrqIndex.MSIX, 1);
  };
  for (let i = 0; i < 20_000; i++) turn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  let collections = 0;
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length;
  });
  observer.observe({ entryTypes: ["gc"] });
  for (let i = 0; i < 300_000; i++) turn();
  await new Promise((resolve) => setTimeout(resolve, 20));
  observer.disconnect();
  // 16 bytes per turn would be 5 MB, hence several collections; one may be somebody else's
  assert.ok(collections <= 1, `${collections} collections`);
  assert.equal(drainEventfd(event), 320_000);
});
