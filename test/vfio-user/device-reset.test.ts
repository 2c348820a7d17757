// VFIO_USER_DEVICE_RESET.

import assert from "node:assert/strict";
import { test } from "node:test";
import { drainEventfd } from "../../src/host/eventfd.ts";
import { DmaMap, IrqSet } from "../../src/spec/vfio-user/messages.ts";
import { Command, IrqIndex, IrqSetFlag } from "../../src/spec/vfio-user/numbers.ts";
import { testEveryMessage } from "./every-message.ts";
import { record, rig } from "./raw-peer.ts";
import { access } from "./region-accesses.ts";

const { DEVICE_RESET, DEVICE_SET_IRQS, DMA_MAP, REGION_READ, REGION_WRITE } = Command;

testEveryMessage({ name: "DEVICE_RESET", command: DEVICE_RESET, example: () => ({ payload: new Uint8Array(0) }) });

test("DEVICE_RESET: the device goes back to its beginning; memory and interrupts stay its client's", (t) => {
  const { ready, device, memory, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const one = ready();
  one.expect(DMA_MAP, record(DmaMap, { flags: 3, address: 0n, size: 4096n }), [memory(4096).descriptor]);
  const flags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
  one.expect(DEVICE_SET_IRQS, record(IrqSet, { flags, index: IrqIndex.MSIX, start: 0, count: 1 }), [event]);
  one.expect(REGION_WRITE, access(0, 0, 1, Uint8Array.of(7)));
  one.expect(DEVICE_RESET);
  assert.deepEqual(device.events, ["connected", "reset"]);
  assert.deepEqual(one.expect(REGION_READ, access(0, 0, 1)).payload, access(0, 0, 1, Uint8Array.of(0)));
  assert.equal(device.dma.locate(0, 0), true);
  assert.equal(device.interrupts?.signal(IrqIndex.MSIX, 0), true);
  assert.equal(drainEventfd(event), 1);
});

test("DEVICE_RESET: as often as the client likes, and with a payload that it should not have", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  for (let i = 0; i < 100; i++) one.expect(DEVICE_RESET, Buffer.alloc(i));
  assert.equal(device.events.filter((event) => event === "reset").length, 100);
});
