// VFIO_USER_VERSION, which opens a session.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, Version } from "../../src/spec/vfio-user/messages.ts";
import { Command, MessageType } from "../../src/spec/vfio-user/numbers.ts";
import { MAX_MESSAGE_BYTES } from "../../src/vfio-user/limits.ts";
import { message, openDescriptors, type RawPeer, record, rig } from "./raw-peer.ts";

const version = (major: number, minor: number, json = ""): Buffer => record(Version, { major, minor }, Buffer.from(json));

test("VERSION: the reply repeats the major, never raises the minor, and ends its JSON with NUL", (t) => {
  const { peer, device } = rig(t);
  const one = peer();
  const reply = one.expect(Command.VERSION, version(0, 0, '{"capabilities":{"max_msg_fds":16,"write_multiple":true}}\0'));
  assert.equal(Version.major.get(reply.view, 0), 0);
  assert.equal(Version.minor.get(reply.view, 0), 0);
  assert.equal(reply.payload.at(-1), 0);
  const { capabilities } = JSON.parse(reply.payload.toString("utf8", 4, reply.payload.length - 1));
  assert.deepEqual(capabilities, {
    max_msg_fds: 16,
    max_data_xfer_size: 1048576,
    max_dma_maps: 4096,
    pgsizes: 4096,
    write_multiple: true,
  });
  assert.deepEqual(device.events, ["connected"]);
});

test("VERSION: no JSON, an empty one, and unknown capabilities are all right; what was not proposed is not offered", (t) => {
  const { peer } = rig(t);
  for (const json of ["", "\0", "{}\0", '{"capabilities":{"twin_socket":{"supported":true}},"more":1}\0']) {
    const one = peer();
    const reply = one.expect(Command.VERSION, version(0, 7, json));
    assert.equal(Version.minor.get(reply.view, 0), 1);
    assert.doesNotMatch(reply.payload.toString(), /write_multiple|twin_socket/);
    one.close();
  }
});

/** The first message is refused: an answer with the errno, then the end. */
function refused(one: RawPeer, bytes: Buffer, errno: number): void {
  one.send(bytes);
  assert.equal(one.receive()?.errno, errno);
  assert.equal(one.isCutOff, true);
  one.close();
}

test("VERSION: another major, broken JSON, a missing NUL, or another first message ends the session", (t) => {
  const { peer, device, server } = rig(t);
  refused(peer(), message(Command.VERSION, version(1, 0)), Errno.ENOTSUP);
  refused(peer(), message(Command.VERSION, Buffer.alloc(3)), Errno.EINVAL);
  const wrong = [
    "{}",
    "{\0",
    "[]\0",
    "3\0",
    '{"capabilities":7}\0',
    '{"capabilities":{"max_msg_fds":"many"}}\0',
    `${" ".repeat(5000)}\0`,
  ];
  for (const json of wrong) refused(peer(), message(Command.VERSION, version(0, 0, json)), Errno.EINVAL);
  refused(peer(), message(Command.DEVICE_GET_INFO, record(DeviceInfo, {})), Errno.EINVAL);
  assert.deepEqual(device.events, [], "the device hears of nobody who has not negotiated");
  assert.equal(server.isConnected, false);
});

test("VERSION: a second one is refused, and the session goes on", (t) => {
  const one = rig(t).ready();
  one.expectErrno(Errno.EINVAL, Command.VERSION, version(0, 0));
  one.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
});

const hello = message(Command.VERSION, version(0, 0, '{"capabilities":{"max_msg_fds":8}}\0'));

test("VERSION: the reply, byte for byte, also byte by byte and together with the command that follows", (t) => {
  const { peer } = rig(t);
  const json = '{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":4096,"pgsizes":4096}}\0';
  const expected = message(Command.VERSION, version(0, 0, json), { type: MessageType.REPLY }).toString("hex");
  const whole = peer();
  whole.send(Buffer.concat([hello, message(Command.DEVICE_GET_INFO, record(DeviceInfo, {}))]));
  assert.equal(whole.receive()?.bytes.toString("hex"), expected);
  assert.equal(whole.receive()?.command, Command.DEVICE_GET_INFO);
  whole.close();
  const one = peer();
  for (let at = 0; at < hello.length; at++) {
    assert.equal(one.receive(), undefined);
    one.send(hello.subarray(at, at + 1));
  }
  assert.equal(one.receive()?.bytes.toString("hex"), expected);
});

test("VERSION: cut off at every byte, the device hears of nobody and the next client is served", (t) => {
  const { peer, server, device } = rig(t);
  const before = openDescriptors();
  for (let cut = 0; cut < hello.length; cut++) {
    const one = peer();
    if (cut > 0) one.send(hello.subarray(0, cut));
    assert.equal(server.isConnected, true);
    one.close();
    assert.deepEqual([server.isConnected, openDescriptors()], [false, before], `after byte ${cut}`);
  }
  assert.deepEqual(device.events, []);
  const next = peer();
  next.send(hello);
  assert.equal(next.receive()?.errno, 0);
});

test("VERSION: headers that are wrong, each with a connection of its own", (t) => {
  const { peer, server } = rig(t);
  for (const size of [0, 15, MAX_MESSAGE_BYTES + 1, 0xffff_ffff]) {
    const one = peer();
    one.send(message(Command.VERSION, version(0, 0), { size }));
    assert.equal(one.isCutOff, true, `size ${size}`);
    one.close();
  }
  for (const type of [2, 15]) refused(peer(), message(Command.VERSION, version(0, 0), { type }), Errno.EINVAL);
  const mute = peer();
  mute.send(message(Command.VERSION, version(0, 0), { type: MessageType.REPLY }));
  assert.equal(mute.receive(), undefined, "a reply to nothing opens no session, and is not answered");
  mute.send(hello);
  assert.equal(mute.receive()?.errno, 0);
  mute.close();
  const quiet = peer();
  quiet.send(message(Command.VERSION, version(0, 0), { noReply: 1, error: 1, errno: 99 }));
  assert.equal(quiet.receive(), undefined, "negotiated without a word");
  quiet.expect(Command.DEVICE_GET_INFO, record(DeviceInfo, {}));
  quiet.close();
  assert.equal(server.isConnected, false);
});

test("VERSION: descriptors are closed, too many end the session before it has begun", (t) => {
  const { peer, strange, eventfds } = rig(t);
  const [event = -1] = eventfds(1);
  const given = Object.values(strange());
  const before = openDescriptors();
  const one = peer();
  one.send(hello, given);
  assert.equal(one.receive()?.errno, 0);
  one.close();
  const two = peer();
  two.send(hello, new Array<number>(253).fill(event));
  assert.equal(two.receive()?.errno, Errno.EINVAL);
  assert.equal(two.isCutOff, true);
  two.close();
  assert.equal(openDescriptors(), before);
});

test("VERSION: numbers at their ends, and JSON that is deep, odd or not text", (t) => {
  const { peer } = rig(t);
  for (const [major, minor] of [
    [1, 0],
    [0xffff, 0],
    [0xffff, 0xffff],
  ] as const) {
    refused(peer(), message(Command.VERSION, version(major, minor)), Errno.ENOTSUP);
  }
  const wrong = [
    "[".repeat(4095),
    '{"capabilities":[]}',
    '{"capabilities":{"pgsizes":null}}',
    '{"capabilities":{"max_data_xfer_size":"1048576"}}',
    '{"capabilities":{"max_dma_maps":true}}',
    "\ufeff\u0001",
    "null",
  ];
  for (const json of wrong) refused(peer(), message(Command.VERSION, version(0, 0, `${json}\0`)), Errno.EINVAL);
  const right = [
    '{"capabilities":null}',
    '{"capabilities":{"max_msg_fds":0,"max_data_xfer_size":0,"max_dma_maps":1e308}}',
    '{"capabilities":{"__proto__":{"max_msg_fds":"x"},"constructor":7}}',
    '{"toString":1}',
    `${'{"a":'.repeat(500)}1${"}".repeat(500)}`,
  ];
  for (const json of right) {
    const one = peer();
    one.expect(Command.VERSION, version(0, 0xffff, `${json}\0`));
    one.close();
  }
  const twice = peer();
  twice.expect(Command.VERSION, version(0, 0, "{}\0not JSON\0"));
  twice.close();
});

test("VERSION: not again after a reset either", (t) => {
  const { ready, device } = rig(t);
  const one = ready();
  one.expect(Command.DEVICE_RESET);
  one.expectErrno(Errno.EINVAL, Command.VERSION, version(0, 0));
  assert.deepEqual(device.events, ["connected", "reset"]);
});
