import assert from "node:assert/strict";
import { after, test } from "node:test";
import { AbstractDatagramSocket, MAX_ABSTRACT_NAME_BYTES } from "./abstract-datagram.ts";
import { DatagramBatch } from "./datagram-batch.ts";
import { allocateNative } from "./mapping.ts";
import { Errno, SystemError } from "./system-error.ts";

const memory = allocateNative(4096);
const base = `vhca-test-${process.pid}`;
const opened: AbstractDatagramSocket[] = [];
after(() => {
  for (const socket of opened) socket.close();
});

function open(name: string, wantsCredentials = false): AbstractDatagramSocket {
  const socket = new AbstractDatagramSocket(`${base}-${name}`, wantsCredentials);
  opened.push(socket);
  return socket;
}

test("a datagram, its sender's name and credentials, and the reply to it", () => {
  const server = open("server", true);
  const client = open("client");
  assert.equal(server.receive(memory, 0, 100), -Errno.EAGAIN);
  assert.equal(client.connect(`${base}-server`), 0);
  memory.bytes.write("hello", 0);
  assert.equal(client.send(memory, 0, 5), 5);
  assert.equal(server.receive(memory, 100, 3), 5, "the length is the whole datagram's");
  assert.equal(memory.bytes.toString("latin1", 100, 105), "hel\0\0", "and no more than the room for it is written");
  assert.equal(server.senderName(), `${base}-client`);
  assert.deepEqual(server.senderCredentials(), { pid: process.pid, uid: process.getuid?.() });
  memory.bytes.write("answer", 200);
  assert.equal(server.reply(memory, 200, 6), 6);
  assert.equal(client.receive(memory, 300, 100), 6);
  assert.equal(memory.bytes.toString("latin1", 300, 306), "answer");
});

test("several datagrams in one call, each with its length, cut to its room; no more than fit", () => {
  const reader = open("reader");
  const writer = open("writer");
  const batch = new DatagramBatch(2, 4);
  assert.equal(reader.receiveMany(batch), -Errno.EAGAIN);
  assert.equal(writer.connect(`${base}-reader`), 0);
  memory.bytes.write("onethreefour", 0);
  for (const [at, length] of [
    [0, 3],
    [3, 5],
    [8, 4],
  ] as const)
    assert.equal(writer.send(memory, at, length), length);
  const take = (): [number, string][] =>
    Array.from({ length: reader.receiveMany(batch) }, (_, index) => {
      const at = batch.offsetOf(index);
      return [batch.lengthOf(index), batch.memory.bytes.toString("latin1", at, at + 4)];
    });
  assert.deepEqual(take(), [
    [3, "one\0"],
    [5, "thre"],
  ]);
  assert.deepEqual(take(), [[4, "four"]]);
});

test("a name that is taken, too long, or nobody's", () => {
  open("taken");
  assert.throws(
    () => new AbstractDatagramSocket(`${base}-taken`),
    (error) => error instanceof SystemError && error.code === "EADDRINUSE",
  );
  assert.throws(() => new AbstractDatagramSocket("x".repeat(MAX_ABSTRACT_NAME_BYTES + 1)), /ENAMETOOLONG/);
  assert.equal(open("asks").connect(`${base}-nobody`), -Errno.ECONNREFUSED);
});

test("a connected socket takes datagrams from its peer only, and notices that the peer has gone", () => {
  const a = open("a");
  const peer = new AbstractDatagramSocket(`${base}-peer`);
  const stranger = open("stranger");
  assert.equal(a.connect(`${base}-peer`), 0);
  assert.equal(stranger.connect(`${base}-a`), -Errno.EPERM);
  assert.equal(a.connect(`${base}-peer`), 0, "asking again whether it is there changes nothing");
  peer.close();
  assert.equal(a.send(memory, 0, 5), -Errno.ECONNREFUSED);
  assert.equal(a.connect(`${base}-peer`), -Errno.ECONNREFUSED);
});

test("a queue that nobody empties says EAGAIN", () => {
  const slow = open("slow");
  const eager = open("eager");
  assert.equal(eager.connect(`${base}-slow`), 0);
  let sent = 0;
  let result = 0;
  while (result >= 0 && sent < 10_000) {
    result = eager.send(memory, 0, 288);
    if (result >= 0) sent++;
  }
  assert.equal(result, -Errno.EAGAIN);
  for (let i = 0; i < sent; i++) assert.equal(slow.receive(memory, 0, 288), 288);
  assert.equal(slow.receive(memory, 0, 288), -Errno.EAGAIN);
});
