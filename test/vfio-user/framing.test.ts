import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { closeDescriptor, duplicateDescriptor, SocketConstant, setsockopt } from "../../src/host/libc.ts";
import { allocateNative } from "../../src/host/mapping.ts";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, DmaMap, RegionAccess } from "../../src/spec/vfio-user/messages.ts";
import { Command, DmaMapFlag } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_MESSAGE_BYTES } from "../../src/vfio-user/limits.ts";
import { message, openDescriptors, record, rig } from "./raw-peer.ts";

const getInfo = message(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));

test("framing: a size below 16 or above the largest message ends that session, and the next client is served", (t) => {
  const { ready, server, device } = rig(t);
  for (const size of [0, 15, MAX_MESSAGE_BYTES + 1, 0x7fffffff, 0xffffffff]) {
    const one = ready();
    one.send(message(Command.DEVICE_GET_INFO, record(DeviceInfo, {}), { size }));
    assert.equal(one.isCutOff, true, `size ${size}`);
    assert.equal(server.isConnected, false);
    one.close();
  }
  assert.equal(server.counters[ServerCounter.framingErrors], 5);
  assert.deepEqual(device.events.slice(0, 4), ["connected", "disconnected", "reset", "connected"]);
  ready().expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});

test("framing: a message that comes byte by byte, and many that come at once", (t) => {
  const { ready } = rig(t);
  const one = ready();
  for (let i = 0; i < getInfo.length; i++) {
    assert.equal(one.receive(), undefined);
    one.send(getInfo.subarray(i, i + 1));
  }
  assert.equal(one.receive()?.payload.length, 16);
  one.send(Buffer.concat(Array.from({ length: 50 }, () => getInfo)));
  for (let i = 0; i < 50; i++) assert.equal(one.receive()?.errno, 0, `reply ${i}`);
  assert.equal(one.receive(), undefined);
});

test("framing: the largest message there is", (t) => {
  const { ready } = rig(t);
  const one = ready();
  const access = record(RegionAccess, { offset: 0n, region: 6, count: 1 << 20 });
  const reply = one.expect(Command.REGION_READ, access);
  assert.equal(reply.payload.length, 16 + (1 << 20));
  assert.equal(reply.payload.at(-1), 0xff);
  one.expectErrno(Errno.EACCES, Command.REGION_WRITE, Buffer.concat([access, Buffer.alloc(1 << 20)]));
});

test("framing: descriptors belong to the message they come with, at whichever byte", (t) => {
  const { ready, device, memory } = rig(t);
  const ram = memory(65536);
  const one = ready();
  for (let at = 0; at < 48; at++) {
    const address = 4096 * at;
    const map = message(
      Command.DMA_MAP,
      record(DmaMap, { flags: DmaMapFlag.READ, address, size: 4096, offset: 4096 * (at % 16) }),
    );
    one.put(Buffer.concat([getInfo, map.subarray(0, at)]));
    one.put(map.subarray(at), [ram.descriptor]);
    one.put(getInfo);
    one.turn();
    for (const command of [Command.DEVICE_GET_INFO, Command.DMA_MAP, Command.DEVICE_GET_INFO]) {
      const reply = one.receive();
      assert.equal(reply?.command, command);
      assert.equal(reply?.errno, 0);
    }
    assert.equal(device.dma.locate(0, address), true, `descriptor with byte ${at}`);
  }
});

test("framing: more descriptors than allowed are refused and closed, all at once or one by one", (t) => {
  const { ready, eventfds } = rig(t);
  const one = ready();
  const [event = -1] = eventfds(1);
  const before = openDescriptors();
  one.expectErrno(Errno.EINVAL, Command.DEVICE_RESET, undefined, new Array<number>(17).fill(event));
  one.expectErrno(Errno.EINVAL, Command.DEVICE_RESET, undefined, new Array<number>(250).fill(event));
  for (let i = 0; i < getInfo.length; i++) one.put(getInfo.subarray(i, i + 1), [event]);
  one.turn();
  assert.equal(one.receive()?.errno, Errno.EINVAL);
  one.send(getInfo, new Array<number>(16).fill(event));
  assert.equal(one.receive()?.errno, 0, "descriptors that a command has no use for are closed");
  assert.equal(openDescriptors(), before);
});

/** A TCP socket's descriptor with data the other end does not take, told to linger for an hour; nobody else has it open. */
async function lingeringSocket(): Promise<{ fd: number; end(): Promise<void> }> {
  const listener = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const accepted = once(listener, "connection") as Promise<[Socket]>;
  const socket = createConnection((listener.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const [peer] = await accepted;
  while (socket.write(Buffer.alloc(1 << 20)));
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
  const kept = duplicateDescriptor(fd);
  socket.destroy();
  await once(socket, "close");
  const linger = allocateNative(8);
  linger.view.setInt32(0, 1, true);
  linger.view.setInt32(4, 3600, true);
  assert.equal(setsockopt(kept, SocketConstant.SOL_SOCKET, SocketConstant.SO_LINGER, linger.address, 8), 0);
  linger.mapping.release();
  const end = async (): Promise<void> => {
    peer.destroy();
    await once(peer, "close");
    listener.close();
    await once(listener, "close");
  };
  return { fd: kept, end };
}

test("framing: a socket that is told to linger is closed at once, whether its message was read or not", async (t) => {
  const { ready, server } = rig(t);
  for (const isRead of [true, false]) {
    const one = ready();
    const { fd, end } = await lingeringSocket();
    if (!isRead) one.put(message(Command.DEVICE_GET_INFO, record(DeviceInfo, {}), { size: 0 }));
    one.put(getInfo, [fd]);
    closeDescriptor(fd);
    one.turn();
    if (isRead) assert.equal(one.receive()?.errno, 0);
    else assert.equal(server.isConnected, false, "the session ended at the message before");
    one.close();
    await end();
  }
});

test("framing: a reply is not answered, another type of message is refused", (t) => {
  const { ready } = rig(t);
  const one = ready();
  one.send(message(Command.DEVICE_GET_INFO, record(DeviceInfo, {}), { type: 1 }));
  assert.equal(one.receive(), undefined);
  one.expectErrno(Errno.EINVAL, Command.DEVICE_GET_INFO, record(DeviceInfo, {}), [], { type: 2 });
});

test("framing: commands nobody has heard of are refused, and the session goes on", (t) => {
  const one = rig(t).ready();
  for (const command of [0, 19, 0x7fff, 0xffff]) {
    one.expectErrno(Errno.EINVAL, command);
    one.expectErrno(Errno.EINVAL, command, Buffer.alloc(1000, 0xff));
  }
  one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});

test("framing: a size smaller than what was sent makes the rest a message of its own", (t) => {
  const { ready, server } = rig(t);
  const one = ready();
  // the rest is zeros, which is no header
  one.put(message(Command.DEVICE_RESET, Buffer.alloc(32), { size: 16 }));
  assert.equal(one.receive()?.errno, 0);
  assert.equal(one.isCutOff, true);
  assert.equal(server.counters[ServerCounter.framingErrors], 1);
  const two = ready();
  two.send(message(Command.DEVICE_RESET, getInfo, { size: 16 }));
  assert.equal(two.receive()?.command, Command.DEVICE_RESET);
  assert.equal(two.receive()?.command, Command.DEVICE_GET_INFO);
});

test("framing: with the no-reply flag nothing is answered, neither success nor failure", (t) => {
  const { ready, device, server } = rig(t);
  const one = ready();
  const write = record(RegionAccess, { offset: 8n, region: 0, count: 2 }, Uint8Array.of(0xab, 0xcd));
  one.send(message(Command.REGION_WRITE, write, { noReply: 1 }));
  one.send(message(0x1234, undefined, { noReply: 1 }));
  assert.equal(one.receive(), undefined);
  assert.equal(device.bar0.bytes.readUInt16BE(8), 0xabcd);
  assert.equal(server.counters[ServerCounter.errors], 1);
  assert.equal(server.counters[ServerCounter.unknown], 1);
});

test("framing: a client that does not read its replies holds up only itself, and gets them all when it does", (t) => {
  const { ready, server } = rig(t);
  const one = ready();
  const read = message(Command.REGION_READ, record(RegionAccess, { offset: 0n, region: 6, count: 1 << 18 }));
  let asked = 0;
  for (let round = 0; round < 20; round++) {
    if (one.put(read) === read.length) asked++;
    one.turn();
  }
  const served = server.counters[ServerCounter.regionRead] ?? 0;
  assert.ok(served < asked, `${served} of ${asked} served although the replies do not fit`);
  for (let i = 0; i < asked; i++) assert.equal(one.receive()?.payload.length, 16 + (1 << 18), `reply ${i}`);
});
