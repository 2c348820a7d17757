// What holds for every message of the protocol, whatever it asks for ("Header", "Message sizes"). Each message's own test file
// calls `testEveryMessage` with a right request, and then tests the fields that only this message has.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Errno } from "../../src/host/system-error.ts";
import { DeviceInfo, Header } from "../../src/spec/vfio-user/messages.ts";
import { Command, MessageType } from "../../src/spec/vfio-user/numbers.ts";
import { ServerCounter } from "../../src/vfio-user/index.ts";
import { MAX_MESSAGE_BYTES } from "../../src/vfio-user/limits.ts";
import { type HeaderFields, message, openDescriptors, type RawPeer, type Rig, rig } from "./raw-peer.ts";

/** A right request, and what must come back. */
export interface Example {
  readonly payload: Uint8Array;
  readonly descriptors?: readonly number[];
  /** The reply's payload, exactly. */
  readonly replyPayload?: Uint8Array;
  /** How many descriptors come with the reply. */
  readonly replyDescriptors?: number;
}

export interface MessageKind {
  readonly name: string;
  readonly command: number;
  /** The errno of the reply; 0 if left out. A message that is refused for what it is has none but this. */
  readonly errno?: number;
  /** The shortest payload that is not refused as too short; all of the example's if left out. */
  readonly leastPayload?: number;
  /** The least `argsz` that is accepted, for messages that begin with one. */
  readonly leastArgsz?: number;
  /** Makes the request; called once per server. */
  example(of: Rig): Example;
  /** Brings the server into a state in which the request succeeds (again). */
  prepare?(one: RawPeer, of: Rig): void;
}

const getInfo = message(Command.DEVICE_GET_INFO, Buffer.from([16, ...new Array<number>(15).fill(0)]), { id: 0x0815 });
const ALL_ONES = 0xffffffff;

/** Registers the tests that any message must pass; VERSION, which opens a session, has its own. */
export function testEveryMessage(kind: MessageKind): void {
  test(`${kind.name}: the reply, byte for byte; reserved fields and ids mean nothing`, (t) => new Trial(t, kind).replies());
  test(`${kind.name}: in pieces, and glued to others`, (t) => new Trial(t, kind).pieces());
  test(`${kind.name}: cut off at every byte, nothing is left behind and the next client is served`, (t) =>
    new Trial(t, kind).cuts());
  test(`${kind.name}: wrong headers, and before VERSION`, (t) => new Trial(t, kind).headers());
  test(`${kind.name}: a payload cut short, an argsz too small or huge`, (t) => new Trial(t, kind).lengths());
  test(`${kind.name}: descriptors it does not take are closed, too many are refused`, (t) => new Trial(t, kind).descriptors());
}

class Trial {
  readonly #kind: MessageKind;
  readonly #rig: Rig;
  readonly #example: Example;
  readonly #request: Buffer;

  constructor(t: TestContext, kind: MessageKind) {
    this.#kind = kind;
    this.#rig = rig(t);
    this.#example = kind.example(this.#rig);
    this.#request = message(kind.command, this.#example.payload);
  }

  replies(): void {
    const one = this.#rig.ready();
    const variants: HeaderFields[] = [{}, { id: 0 }, { id: 0xffff }, { error: 1, errno: 5 }, { errno: ALL_ONES }];
    for (const fields of variants) {
      this.#prepare(one);
      this.#send(one, fields);
      this.#assertReply(one, fields.id ?? 0x4711);
    }
    one.expect(Command.DEVICE_RESET);
    this.#prepare(one);
    this.#send(one, {});
    this.#assertReply(one, 0x4711);
    this.#prepare(one);
    const { counters } = this.#rig.server;
    const before = [counters[this.#kind.command], counters[ServerCounter.errors]] as [number, number];
    this.#send(one, { noReply: 1 });
    assert.equal(one.receive(), undefined, "no reply was wanted");
    assert.equal(counters[this.#kind.command], before[0] + 1, "but it was executed");
    assert.equal(counters[ServerCounter.errors], before[1] + (this.#errno === 0 ? 0 : 1));
  }

  pieces(): void {
    const one = this.#rig.ready();
    this.#prepare(one);
    for (let at = 0; at < this.#request.length; at++) {
      assert.equal(one.receive(), undefined, `answered after ${at} bytes`);
      one.send(this.#request.subarray(at, at + 1), at === 0 ? (this.#example.descriptors ?? []) : []);
    }
    this.#assertReply(one, 0x4711);
    this.#prepare(one);
    one.put(Buffer.concat([getInfo, this.#request.subarray(0, 1)]), []);
    one.put(Buffer.concat([this.#request.subarray(1), getInfo]), this.#example.descriptors ?? []);
    one.turn();
    assert.equal(one.receive()?.id, 0x0815);
    this.#assertReply(one, 0x4711);
    assert.equal(one.receive()?.id, 0x0815);
    assert.equal(one.receive(), undefined);
  }

  cuts(): void {
    const { server, registry, device } = this.#rig;
    const before = openDescriptors();
    for (let cut = 0; cut <= this.#request.length; cut++) {
      const one = this.#rig.ready();
      this.#prepare(one);
      if (cut > 0) one.send(this.#request.subarray(0, cut), this.#example.descriptors ?? []);
      one.close();
      const left = [server.isConnected, registry.size, device.dma.mappedBytes, openDescriptors()];
      assert.deepEqual(left, [false, 0, 0, before], `connected, memories, mapped bytes, descriptors after byte ${cut}`);
    }
    const next = this.#rig.ready();
    this.#prepare(next);
    this.#send(next, {});
    this.#assertReply(next, 0x4711);
  }

  headers(): void {
    const { server } = this.#rig;
    const one = this.#rig.ready();
    this.#prepare(one);
    this.#send(one, { type: MessageType.REPLY });
    this.#send(one, { type: MessageType.REPLY, error: 1, errno: Errno.EIO });
    assert.equal(one.receive(), undefined, "a reply that nobody has asked for is not answered");
    for (const type of [2, 15]) {
      this.#send(one, { type });
      assert.equal(one.receive()?.errno, Errno.EINVAL, `message of type ${type}`);
    }
    this.#send(one, {});
    this.#assertReply(one, 0x4711);
    one.close();
    for (const size of [0, Header.byteLength - 1, MAX_MESSAGE_BYTES + 1, 0x7fff_ffff, ALL_ONES]) this.#sentAway(size);
    const early = this.#rig.peer();
    this.#send(early, {});
    assert.equal(early.receive()?.errno, Errno.EINVAL, "before VERSION");
    assert.equal(early.isCutOff, true);
    early.close();
    const waiting = this.#rig.ready();
    this.#prepare(waiting);
    this.#send(waiting, { size: this.#request.length + 1 });
    assert.equal(waiting.receive(), undefined, "one byte is still missing");
    waiting.close();
    assert.equal(server.isConnected, false);
  }

  lengths(): void {
    const { leastArgsz, leastPayload } = this.#kind;
    const { payload, descriptors } = this.#example;
    const one = this.#rig.ready();
    this.#prepare(one);
    for (let length = 0; length < (leastPayload ?? payload.length); length++) {
      one.expectErrno(Errno.EINVAL, this.#kind.command, payload.subarray(0, length), descriptors);
    }
    if (leastArgsz === undefined) return;
    for (const argsz of [0, 1, leastArgsz - 1]) {
      one.expectErrno(Errno.EINVAL, this.#kind.command, withArgsz(payload, argsz), descriptors);
    }
    for (const argsz of [leastArgsz, ALL_ONES]) {
      this.#prepare(one);
      one.send(message(this.#kind.command, withArgsz(payload, argsz)), descriptors);
      this.#assertReply(one, 0x4711);
    }
  }

  descriptors(): void {
    const one = this.#rig.ready();
    const [event = -1] = this.#rig.eventfds(1);
    const strange = Object.values(this.#rig.strange());
    this.#prepare(one);
    const before = openDescriptors();
    if (this.#example.descriptors === undefined) {
      for (const given of [strange, new Array<number>(16).fill(event)]) {
        one.send(this.#request, given);
        this.#assertReply(one, 0x4711);
        this.#prepare(one);
      }
      assert.equal(openDescriptors(), before + (this.#example.replyDescriptors ?? 0) * 2);
    }
    const had = openDescriptors();
    for (const count of [17, 253]) {
      one.expectErrno(Errno.EINVAL, this.#kind.command, this.#example.payload, new Array<number>(count).fill(event));
    }
    // one with each half, and then so many that the sum is too much
    const half = this.#request.length >> 1;
    one.put(this.#request.subarray(0, half), strange);
    one.put(this.#request.subarray(half), [...strange, ...strange]);
    one.turn();
    assert.equal(one.receive()?.errno, Errno.EINVAL);
    assert.equal(openDescriptors(), had, "all of them are closed");
    one.expect(Command.DEVICE_GET_INFO, getInfo.subarray(Header.byteLength));
  }

  get #errno(): number {
    return this.#kind.errno ?? 0;
  }

  #prepare(one: RawPeer): void {
    this.#kind.prepare?.(one, this.#rig);
  }

  #send(one: RawPeer, fields: HeaderFields): void {
    one.send(message(this.#kind.command, this.#example.payload, fields), this.#example.descriptors);
  }

  /** A message whose size makes no sense ends the session, without a reply. */
  #sentAway(size: number): void {
    const one = this.#rig.ready();
    this.#prepare(one);
    one.put(message(this.#kind.command, this.#example.payload, { size }), this.#example.descriptors);
    assert.equal(one.isCutOff, true, `size ${size}`);
    assert.equal(this.#rig.server.isConnected, false);
    one.close();
  }

  #assertReply(one: RawPeer, id: number): void {
    const { replyPayload, replyDescriptors } = this.#example;
    const reply = one.receive();
    const errno = this.#errno;
    const error = { error: errno === 0 ? 0 : 1, errno };
    const expected = message(this.#kind.command, errno === 0 ? replyPayload : undefined, {
      id,
      type: MessageType.REPLY,
      ...error,
    });
    assert.equal(reply?.bytes.toString("hex"), expected.toString("hex"));
    assert.equal(reply?.descriptors.length, replyDescriptors ?? 0);
  }
}

function withArgsz(payload: Uint8Array, argsz: number): Buffer {
  const bytes = Buffer.from(payload);
  bytes.writeUInt32LE(argsz >>> 0, DeviceInfo.argsz.offset);
  return bytes;
}
