// VFIO_USER_DMA_READ and VFIO_USER_DMA_WRITE go from server to client. This server sends none, so as commands they are wrong, and
// replies to them come unasked.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, DmaAccess } from "../../src/spec/vfio-user/messages.ts";
import { Command, MessageType } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_DATA_BYTES } from "../../src/vfio-user/limits.ts";
import { testEveryMessage } from "./every-message.ts";
import { message, openDescriptors, record, rig } from "./raw-peer.ts";

const { DMA_READ, DMA_WRITE } = Command;
const access = (count: number, data = new Uint8Array(0)): Buffer =>
  record(DmaAccess, { address: 0n, count: BigInt(count) }, data);

for (const [name, command] of [
  ["DMA_READ", DMA_READ],
  ["DMA_WRITE", DMA_WRITE],
] as const) {
  testEveryMessage({ name, command, errno: Errno.EINVAL, leastPayload: 0, example: () => ({ payload: access(4) }) });
}

test("DMA_READ and DMA_WRITE: replies that nobody has asked for, with data, errors and descriptors, change nothing", (t) => {
  const { ready, server, device, eventfds } = rig(t);
  const one = ready();
  const events = eventfds(3);
  const before = openDescriptors();
  const replies = [
    message(DMA_READ, access(4096, new Uint8Array(4096)), { type: MessageType.REPLY }),
    message(DMA_READ, access(MAX_DATA_BYTES, new Uint8Array(MAX_DATA_BYTES)), { type: MessageType.REPLY }),
    message(DMA_READ, access(0xffff_ffff), { type: MessageType.REPLY }),
    message(DMA_WRITE, access(8), { type: MessageType.REPLY, noReply: 1 }),
    message(DMA_WRITE, new Uint8Array(0), { type: MessageType.REPLY, error: 1, errno: Errno.EFAULT }),
    message(DMA_WRITE, new Uint8Array(3), { type: MessageType.REPLY, id: 0 }),
  ];
  for (const reply of replies) one.send(reply, events);
  assert.equal(one.receive(), undefined);
  assert.equal(openDescriptors(), before);
  assert.equal(server.counters[ServerCounter.messagesOut], 1, "the one to VERSION");
  assert.equal(server.counters[ServerCounter.errors], 0);
  assert.deepEqual(device.events, ["connected"]);
  one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});

test("DMA_READ and DMA_WRITE: ten thousand unasked replies in a row are each handled once", (t) => {
  const { ready, server } = rig(t);
  const one = ready();
  const reply = message(DMA_READ, access(4, new Uint8Array(4)), { type: MessageType.REPLY });
  const before = server.counters[ServerCounter.messagesIn] ?? 0;
  for (let i = 0; i < 100; i++) one.send(Buffer.concat(new Array<Buffer>(100).fill(reply)));
  assert.equal(server.counters[ServerCounter.messagesIn], before + 10_000);
  assert.equal(server.poll(), 0);
});
