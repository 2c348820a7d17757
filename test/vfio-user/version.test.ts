import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, Version } from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { message, type RawPeer, record, rig } from "./raw-peer.ts";

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
