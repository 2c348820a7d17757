import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createEventfd } from "../host/eventfd.ts";
import { closeDescriptor } from "../host/libc.ts";
import { connectUnix, UnixListener } from "../host/unix-socket.ts";
import { DmaMap, Header } from "../spec/vfio-user/messages.ts";
import { allocateBuffers, Connection, getWord64, Received, releaseBuffers, setWord64 } from "./connection.ts";
import { MAX_MESSAGE_BYTES } from "./limits.ts";

const folder = mkdtempSync(join(tmpdir(), "vhca-connection-"));
after(() => rmSync(folder, { recursive: true }));

test("Connection: the largest message, sent and received in pieces, brings its descriptor once", () => {
  const before = readdirSync("/proc/self/fd").length;
  const listener = new UnixListener(join(folder, "s"));
  const buffers = [allocateBuffers(), allocateBuffers()] as const;
  const client = new Connection(connectUnix(listener.path), buffers[0]);
  const accepted = listener.accept();
  assert.ok(accepted);
  const server = new Connection(accepted, buffers[1]);
  const event = createEventfd();
  client.outgoing.bytes.fill(0x5a, Header.byteLength);
  client.outgoingDescriptors[0] = event;
  client.send(MAX_MESSAGE_BYTES, 1);
  assert.equal(client.isSending, true);
  let pieces = 0;
  for (; server.receive() !== Received.MESSAGE; pieces++) client.flush();
  assert.ok(pieces > 2);
  assert.equal(client.isSending, false);
  assert.equal(server.size, MAX_MESSAGE_BYTES);
  assert.equal(server.descriptorCount, 1);
  assert.equal(server.incoming.bytes[MAX_MESSAGE_BYTES - 1], 0x5a);
  const taken = server.takeDescriptor(0);
  assert.throws(() => server.takeDescriptor(0), /invariant/);
  assert.throws(() => server.takeDescriptor(1), /invariant/);
  assert.equal(server.receive(), Received.NOTHING);
  assert.equal(server.descriptorCount, 0);
  closeDescriptor(taken);
  closeDescriptor(event);
  client.close();
  assert.equal(server.receive(), Received.CLOSED);
  server.close();
  listener.close();
  buffers.forEach(releaseBuffers);
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("64-bit quantities: Numbers below 2^53 go through unchanged, anything above is refused", () => {
  const view = new DataView(new ArrayBuffer(DmaMap.byteLength));
  for (const value of [0, 1, 0xffffffff, 2 ** 32, 0x123456789abcd, 2 ** 53 - 1]) {
    setWord64(DmaMap.address, view, 0, value);
    assert.equal(DmaMap.address.getBig(view, 0), BigInt(value));
    assert.equal(getWord64(DmaMap.address, view, 0), value);
  }
  for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    DmaMap.address.setBig(view, 0, value);
    assert.throws(() => getWord64(DmaMap.address, view, 0), { errno: 22 });
  }
});
