// What a broken or hostile peer may do with any message: cut it, glue it, lie about its size, hang descriptors on it, send it at the wrong
// time. Each message's own test file runs these beside what is special to it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Errno, errnoName } from "../../src/host/system-error.ts";
import { Header } from "../../src/spec/vfio-user/messages.ts";
import { Command } from "../../src/spec/vfio-user/numbers.ts";
import { MAX_MESSAGE_BYTES } from "../../src/vfio-user/limits.ts";
import { message, openDescriptors, type RawPeer, type Rig, rig } from "./raw-peer.ts";

/** A message as a good client would send it. */
export interface GoodMessage {
  readonly name: string;
  readonly command: number;
  /** Its payload; called once per message, since some must not repeat. */
  readonly payload: (rig: Rig) => Buffer;
  /** Descriptors it comes with. */
  readonly descriptors?: (rig: Rig) => number[];
  /** Errno it is answered with (default 0). */
  readonly errno?: number;
  /** Sets the session up so that the message is good. */
  readonly prepare?: (rig: Rig, peer: RawPeer) => void;
  /** It may be sent twice in one session. */
  readonly isRepeatable?: boolean;
}

const aliveCommand = Command.DEVICE_GET_INFO;
const alivePayload = (): Buffer => {
  const payload = Buffer.alloc(16);
  payload.writeUInt32LE(16, 0);
  return payload;
};

/** The next client is served as if nothing had happened, and nothing of the last one is left. */
function assertForgotten({ server, device, registry, ready }: Rig, before: number): void {
  assert.equal(server.isConnected, false);
  assert.equal(registry.size, 0);
  assert.equal(device.dma.mappedBytes, 0);
  assert.equal(openDescriptors(), before);
  const next = ready();
  next.expect(aliveCommand, alivePayload());
  next.close();
}

function newPeer(rig: Rig, good: GoodMessage): RawPeer {
  if (good.command === Command.VERSION) return rig.peer();
  const peer = rig.ready();
  good.prepare?.(rig, peer);
  return peer;
}

/** Adds the tests that every message has in common. */
export function testHostilePeers(good: GoodMessage): void {
  const { name, command } = good;
  const bytesOf = (rig: Rig): Buffer => message(command, good.payload(rig));
  const answers = (peer: RawPeer, count: number): void => {
    for (let i = 0; i < count; i++) assert.equal(errnoName(peer.receive()?.errno ?? -1), errnoName(good.errno ?? 0));
  };

  test(`${name}: cut off after any byte, with the client gone, it leaves nothing behind`, (t) => {
    const scene = rig(t);
    const descriptors = good.descriptors?.(scene) ?? [];
    const before = openDescriptors();
    const length = bytesOf(scene).length;
    const step = Math.max(1, Math.floor(length / 200));
    for (let cut = 1; cut < length; cut += step) {
      const peer = newPeer(scene, good);
      peer.send(bytesOf(scene).subarray(0, cut), descriptors);
      assert.equal(peer.receive(), undefined, `no answer to ${cut} bytes`);
      peer.close();
      assert.equal(openDescriptors(), before, `descriptors after ${cut} bytes`);
    }
    assertForgotten(scene, before);
  });

  test(`${name}: byte by byte it is the same message, and so are two in one piece`, (t) => {
    const scene = rig(t);
    const descriptors = good.descriptors?.(scene) ?? [];
    const peer = newPeer(scene, good);
    const bytes = bytesOf(scene);
    for (let at = 0; at < bytes.length; at++) peer.send(bytes.subarray(at, at + 1), at === 0 ? descriptors : []);
    answers(peer, 1);
    if (good.isRepeatable === true) {
      peer.send(Buffer.concat([bytesOf(scene), bytesOf(scene)]), [...descriptors, ...descriptors]);
      answers(peer, 2);
    }
    peer.expect(aliveCommand, alivePayload());
  });

  test(`${name}: a size that lies: smaller than a header or larger than any message ends the session, shorter than the payload is refused`, (t) => {
    const scene = rig(t);
    const before = openDescriptors();
    for (const size of [0, 15, MAX_MESSAGE_BYTES + 1, 0x7fffffff, 0xffffffff]) {
      const peer = newPeer(scene, good);
      peer.send(message(command, good.payload(scene), { size }));
      assert.equal(peer.isCutOff, true, `size ${size}`);
      peer.close();
    }
    assertForgotten(scene, before);
    const payload = good.payload(scene);
    if (payload.length === 0 || command === Command.VERSION) return;
    const peer = newPeer(scene, good);
    peer.send(message(command, Buffer.alloc(0)));
    const errno = peer.receive()?.errno ?? 0;
    assert.ok(errno === Errno.EINVAL || errno === Errno.ENOTSUP, `without its payload: ${errnoName(errno)}`);
    peer.expect(aliveCommand, alivePayload());
  });

  test(`${name}: descriptors that do not belong to it, up to 253 at once, are closed`, (t) => {
    const scene = rig(t);
    const [event = -1] = scene.eventfds(1);
    const before = openDescriptors();
    for (const count of [1, 2, 16, 17, 253]) {
      const peer = newPeer(scene, good);
      peer.send(bytesOf(scene), new Array<number>(count).fill(event));
      peer.receive();
      peer.close();
      assert.equal(openDescriptors(), before, `${count} descriptors`);
    }
    assertForgotten(scene, before);
  });

  test(`${name}: as a reply it is not answered, without reply it is done in silence, with the error flag it is still a command`, (t) => {
    const scene = rig(t);
    const descriptors = good.descriptors?.(scene) ?? [];
    if (command === Command.VERSION) return;
    const first = newPeer(scene, good);
    first.send(message(command, good.payload(scene), { type: 1 }), descriptors);
    assert.equal(first.receive(), undefined);
    first.expect(aliveCommand, alivePayload());
    first.close();
    const second = newPeer(scene, good);
    second.send(message(command, good.payload(scene), { noReply: 1 }), descriptors);
    assert.equal(second.receive(), undefined);
    second.expect(aliveCommand, alivePayload());
    second.close();
    const third = newPeer(scene, good);
    third.send(message(command, good.payload(scene), { error: 1 }), descriptors);
    answers(third, 1);
  });

  test(`${name}: before the version is agreed on it ends the session`, (t) => {
    const scene = rig(t);
    if (command === Command.VERSION) return;
    const before = openDescriptors();
    const peer = scene.peer();
    peer.send(bytesOf(scene));
    peer.receive();
    assert.equal(peer.isCutOff, true);
    peer.close();
    assertForgotten(scene, before);
  });
}

/** Bytes of a header, for tests that count. */
export const HEADER_BYTES = Header.byteLength;
