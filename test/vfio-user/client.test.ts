import assert from "node:assert/strict";
import { test } from "node:test";
import { drainEventfd } from "../../src/host/eventfd.ts";
import { Errno } from "../../src/host/system-error.ts";
import { IrqIndex, IrqSetFlag, RegionIndex } from "../../src/spec/vfio-user/numbers.ts";
import { type ClientOptions, ServerCounter, VfioUserClient, type VfioUserServer } from "../../src/vfio-user/index.ts";
import { openDescriptors, type Rig, rig } from "./raw-peer.ts";
import { BAR0_BYTES, BAR2_BYTES, BAR4_BYTES, MSIX_VECTORS } from "./toy-device.ts";

/** A client whose server works while it waits. */
const clientOf = (server: VfioUserServer, options: ClientOptions = {}): VfioUserClient =>
  new VfioUserClient(server.path, { whileWaiting: () => void server.poll(), ...options });

/** The server notices that the client has gone. */
const settle = ({ server }: Rig): void => {
  while (server.poll() > 0);
};

test("client: negotiates, and learns what the device is", (t) => {
  const all = rig(t);
  const client = clientOf(all.server);
  assert.equal(client.capabilities.maxMessageDescriptors, 16);
  assert.equal(client.capabilities.maxDataBytes, 1 << 20);
  assert.equal(client.capabilities.writeMultiple, true);
  assert.deepEqual(client.deviceInfo(), { flags: 3, regionCount: 9, irqCount: 5 });
  assert.equal(client.regionInfo(RegionIndex.BAR0).sizeBytes, BAR0_BYTES);
  assert.deepEqual(client.regionInfo(RegionIndex.BAR0).areas, []);
  assert.equal(client.irqInfo(IrqIndex.MSIX).count, MSIX_VECTORS);
  client.close();
  client.close();
  settle(all);
});

test("client: registers by message, short and long, posted and several at once", (t) => {
  const all = rig(t);
  const { server, device } = all;
  const client = clientOf(server);
  client.write32(0, 16, 0xdeadbeef);
  assert.equal(client.read32(0, 16), 0xdeadbeef);
  const data = Uint8Array.from({ length: BAR0_BYTES }, (_, i) => i * 7);
  client.write(0, 0, data);
  assert.deepEqual(client.read(0, 0, BAR0_BYTES), data);
  client.post(0, 0, Uint8Array.of(0xaa));
  assert.equal(client.read32(0, 0) & 0xff, 0xaa, "a posted write is done before the next command");
  assert.equal(client.writeMulti([0, 1, 2].map((i) => ({ region: 0, offset: i, data: Uint8Array.of(i + 1) }))), 3);
  assert.deepEqual(device.bar0.bytes.subarray(0, 3), Buffer.of(1, 2, 3));
  assert.throws(() => client.read(0, BAR0_BYTES, 4), { name: "VfioUserError", errno: Errno.EINVAL });
  assert.throws(() => client.write(RegionIndex.ROM, 0, data), { errno: Errno.EACCES });
  client.reset();
  assert.equal(client.read32(0, 16), 0);
  assert.equal(server.counters[ServerCounter.deviceReset], 1);
  client.close();
  settle(all);
});

test("client: a mapped BAR is the device's own memory, whole or in part, and no message goes", (t) => {
  const all = rig(t);
  const { server, device } = all;
  const before = openDescriptors();
  const client = clientOf(server);
  const [bar2] = client.mapRegion(RegionIndex.BAR2);
  assert.equal(bar2?.memory.bytes.length, BAR2_BYTES);
  const messages = server.counters[ServerCounter.messagesIn];
  bar2.memory.view.setUint32(BAR2_BYTES - 4, 0x12345678);
  assert.equal(device.shared.memory.view.getUint32(BAR2_BYTES - 4), 0x12345678);
  assert.equal(server.counters[ServerCounter.messagesIn], messages);
  assert.deepEqual(client.read(RegionIndex.BAR2, BAR2_BYTES - 4, 4), Uint8Array.of(0x12, 0x34, 0x56, 0x78));
  const bar4 = client.mapRegion(RegionIndex.BAR4);
  assert.deepEqual(
    bar4.map(({ offset, sizeBytes }) => [offset, sizeBytes]),
    [
      [0, 4096],
      [8192, 4096],
    ],
  );
  bar4[1]?.memory.bytes.fill(0x5a);
  assert.equal(device.shared.memory.bytes[BAR2_BYTES + 8192], 0x5a);
  assert.equal(device.shared.memory.bytes[BAR2_BYTES + 8191], 0);
  assert.equal(client.read(RegionIndex.BAR4, 8192, BAR4_BYTES - 8192)[0], 0x5a);
  assert.throws(() => client.mapRegion(RegionIndex.BAR0), { errno: Errno.ENOTSUP });
  assert.equal(openDescriptors(), before + 2);
  bar2.memory.bytes[0] = 0x11;
  client.close();
  assert.equal(device.shared.memory.bytes[0], 0x11);
  assert.equal(bar2.memory.bytes[0], 0, "a view kept too long shows zeros");
  settle(all);
});

test("client: interrupts by eventfd", (t) => {
  const all = rig(t);
  const { server, device, eventfds } = all;
  const events = eventfds(3);
  const client = clientOf(server);
  client.setEventfds(IrqIndex.MSIX, 0, events);
  device.interrupts?.signal(IrqIndex.MSIX, 1);
  assert.deepEqual(events.map(drainEventfd), [0, 1, 0]);
  client.actOnIrqs(IrqSetFlag.ACTION_MASK, IrqIndex.MSIX, 0, 3);
  device.interrupts?.signal(IrqIndex.MSIX, 2);
  assert.deepEqual(events.map(drainEventfd), [0, 0, 0]);
  client.actOnIrqs(IrqSetFlag.ACTION_UNMASK, IrqIndex.MSIX, 0, 3);
  assert.deepEqual(events.map(drainEventfd), [0, 0, 1]);
  client.actOnIrqs(IrqSetFlag.ACTION_TRIGGER, IrqIndex.MSIX, 0, 2);
  assert.deepEqual(events.map(drainEventfd), [1, 1, 0]);
  client.clearEventfds(IrqIndex.MSIX, 0, 1);
  client.disableIrqs(IrqIndex.MSIX);
  assert.equal(device.interrupts?.signal(IrqIndex.MSIX, 1), false);
  assert.throws(() => client.setEventfds(IrqIndex.MSIX, MSIX_VECTORS, events), { errno: Errno.EINVAL });
  client.close();
  settle(all);
});

test("client: memory for the device", (t) => {
  const all = rig(t);
  const { server, device, memory } = all;
  const ram = memory(65536);
  const client = clientOf(server);
  client.dmaMap({ address: 0x1_0000_0000, sizeBytes: 65536, descriptor: ram.descriptor });
  client.dmaMap({ address: 0, sizeBytes: 4096, descriptor: ram.descriptor, offset: 4096, isWritable: false });
  client.dmaMap({ address: 0x8000_0000, sizeBytes: 4096 });
  ram.memory.bytes[4096] = 0x77;
  for (const hi of [0, 1]) {
    assert.equal(device.dma.locate(hi, hi * 4096), true);
    assert.equal(device.dma.memory.bytes[device.dma.at], 0x77);
  }
  assert.throws(() => client.dmaMap({ address: 0, sizeBytes: 4096 }), { errno: Errno.EEXIST });
  client.dmaUnmap(0, 4096);
  assert.equal(device.dma.locate(0, 0), false);
  client.dmaUnmapAll();
  assert.equal(device.dma.locate(1, 0), false);
  client.close();
  settle(all);
});

test("client: a server that does not answer, goes away, or is not there", (t) => {
  const all = rig(t);
  const { server } = all;
  assert.throws(() => new VfioUserClient(server.path, { timeoutMs: 1 }), { code: "ETIMEDOUT" });
  settle(all);
  const client = clientOf(server);
  server.disconnect();
  assert.throws(() => client.deviceInfo(), { code: "ECONNRESET" });
  client.close();
  assert.throws(() => client.deviceInfo(), /used after close/);
  assert.throws(() => new VfioUserClient(`${server.path}-not`), { code: "ENOENT" });
});
