import assert from "node:assert/strict";
import { test } from "node:test";
import { drainEventfd } from "../../src/host/eventfd.ts";
import { connectUnix } from "../../src/host/unix-socket.ts";
import { DeviceInfo, DmaMap, DmaUnmap, IrqSet, RegionAccess, Version } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag, IrqIndex, IrqSetFlag } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter, VfioUserServer } from "../../src/vfio-user/index.ts";
import { message, openDescriptors, RawPeer, record, rig } from "./raw-peer.ts";
import { ToyDevice } from "./toy-device.ts";

const getInfo = record(DeviceInfo, {});

test("session: the client goes; interrupts, memory and state go with it, and the next one is served", (t) => {
  const { ready, device, server, registry, eventfds, memory } = rig(t);
  const [event = -1] = eventfds(1);
  const ram = memory(65536);
  const before = openDescriptors();
  for (let round = 1; round <= 3; round++) {
    const one = ready();
    one.expect(Command.DMA_MAP, record(DmaMap, { flags: 3, address: 0n, size: 65536n }), [ram.descriptor]);
    const flags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
    one.expect(Command.DEVICE_SET_IRQS, record(IrqSet, { flags, index: IrqIndex.MSIX, start: 0, count: 1 }), [event]);
    const interrupts = device.interrupts;
    one.close();
    assert.equal(server.isConnected, false);
    assert.equal(registry.size, 0);
    assert.equal(device.dma.mappedBytes, 0);
    assert.equal(interrupts?.signal(IrqIndex.MSIX, 0), false);
    assert.equal(drainEventfd(event), 0);
    assert.equal(openDescriptors(), before);
    assert.deepEqual(device.events.splice(0), ["connected", "disconnected", "reset"]);
    assert.equal(server.counters[ServerCounter.sessions], round);
  }
});

test("session: an interrupt that waits when the client goes is not the next client's", (t) => {
  const { ready, device, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const first = ready();
  device.interrupts?.signal(IrqIndex.MSIX, 0);
  device.interrupts?.setIntx(true);
  first.close();
  const second = ready();
  const flags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
  for (const index of [IrqIndex.MSIX, IrqIndex.INTX]) {
    second.expect(Command.DEVICE_SET_IRQS, record(IrqSet, { flags, index, start: 0, count: 1 }), [event]);
  }
  assert.equal(drainEventfd(event), 0);
});

test("session: a second client waits until the first has gone, and the log says so", (t) => {
  const { ready, server, messages } = rig(t);
  const first = ready();
  const second = new RawPeer(server);
  const hello = message(Command.VERSION, record(Version, { major: 0, minor: 0 }));
  second.send(hello);
  assert.equal(second.receive(), undefined);
  first.expect(Command.DEVICE_GET_INFO, getInfo);
  for (let i = 0; i < 5000; i++) server.poll();
  assert.equal(messages.filter((text) => /another client waits/.test(text)).length, 1);
  first.close();
  assert.equal(second.receive()?.errno, 0);
  second.expect(Command.DEVICE_GET_INFO, getInfo);
  second.close();
});

test("session: the server sends its client away, and closes for good", (t) => {
  const { ready, server, device } = rig(t);
  const one = ready();
  server.disconnect();
  assert.equal(one.isCutOff, true);
  ready();
  server.close();
  server.close();
  assert.equal(server.poll(), 0);
  assert.throws(() => connectUnix(server.path), { code: "ENOENT" });
  assert.deepEqual(device.events, ["connected", "disconnected", "reset", "connected", "disconnected", "reset"]);
});

test("session: a device that throws does not leave the client's things behind", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  device.read = () => {
    throw new Error("device bug");
  };
  one.put(message(Command.REGION_READ, record(RegionAccess, { region: 0, count: 4 })));
  assert.throws(() => server.poll(), /device bug/);
  device.reset = () => {
    throw new Error("reset bug");
  };
  assert.throws(() => server.disconnect(), /reset bug/);
  assert.equal(one.isCutOff, true);
});

test("session: the client vanishes after any byte of a whole session, and nothing is left behind", (t) => {
  const { server, device, peer, registry, eventfds, memory } = rig(t);
  const [event = -1] = eventfds(1);
  const ram = memory(65536);
  const irqFlags = IrqSetFlag.DATA_EVENTFD | IrqSetFlag.ACTION_TRIGGER;
  const script: { bytes: Buffer; descriptors?: readonly number[] }[] = [
    { bytes: message(Command.VERSION, record(Version, { major: 0, minor: 0 }, Buffer.from("{}\0"))) },
    {
      bytes: message(Command.DMA_MAP, record(DmaMap, { flags: DmaMapFlag.READ, address: 0n, size: 65536n })),
      descriptors: [ram.descriptor],
    },
    { bytes: message(Command.DEVICE_GET_INFO, getInfo) },
    {
      bytes: message(Command.DEVICE_SET_IRQS, record(IrqSet, { flags: irqFlags, index: IrqIndex.MSIX, start: 0, count: 2 })),
      descriptors: [event, event],
    },
    { bytes: message(Command.REGION_WRITE, record(RegionAccess, { region: 0, count: 4 }, Uint8Array.of(1, 2, 3, 4))) },
    { bytes: message(Command.DMA_UNMAP, record(DmaUnmap, { address: 0n, size: 65536n })) },
  ];
  const total = script.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const before = openDescriptors();
  for (let cut = 0; cut <= total; cut++) {
    const one = peer();
    let left = cut;
    for (const { bytes, descriptors } of script) {
      if (left > 0) one.send(bytes.subarray(0, left), descriptors);
      left -= bytes.length;
    }
    one.close();
    assert.equal(server.isConnected, false, `after byte ${cut}`);
    assert.equal(registry.size, 0, `after byte ${cut}`);
    assert.equal(device.dma.mappedBytes, 0, `after byte ${cut}`);
    assert.equal(openDescriptors(), before, `after byte ${cut}`);
  }
});

test("server: clients that come and go all the time do not fill the log", (t) => {
  const { peer, messages } = rig(t);
  const clients = 300;
  for (let i = 0; i < clients; i++) peer().close();
  assert.ok(messages.some((text) => /client connected/.test(text)));
  assert.ok(messages.some((text) => /client gone/.test(text)));
  assert.ok(messages.length < clients, `${messages.length} lines`);
});

test("server: a device that describes itself wrongly is refused when the server is made", () => {
  const device = new ToyDevice();
  const withRegion = (region: object): ToyDevice => Object.assign(Object.create(device), { regions: [region] });
  const mapping = { descriptor: 0, offset: 0, areas: [{ offset: 100, sizeBytes: 4096 }] };
  const region = { isReadable: true, isWritable: true, sizeBytes: 8192, mapping };
  const options = { path: "/tmp/never" };
  assert.throws(() => new VfioUserServer(withRegion(region), options), /region 0: expected mappable areas/);
  const outside = { ...mapping, areas: [{ offset: 4096, sizeBytes: 8192 }] };
  assert.throws(() => new VfioUserServer(withRegion({ ...region, mapping: outside }), options), /region 0/);
  assert.throws(
    () => new VfioUserServer(Object.assign(Object.create(device), { irqCounts: [0, 0, 4000] }), options),
    /0 to 2048 vectors/,
  );
  device.close();
});
