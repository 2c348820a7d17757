// A peer that speaks bytes: it builds messages field by field, right or wrong, and turns the server's crank by itself, so that
// every test is one thread and has no time in it.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type LayoutInfo, writeAll } from "../../src/base/layout.ts";
import { nameOf } from "../../src/base/names.ts";
import { createEventfd } from "../../src/host/eventfd.ts";
import { closeDescriptor } from "../../src/host/libc.ts";
import { allocateNative, type NativeMemory } from "../../src/host/mapping.ts";
import { createSharedMemory, type OwnedSharedMemory, SharedMemoryRegistry } from "../../src/host/shared-memory.ts";
import { Errno, errnoName } from "../../src/host/system-error.ts";
import { connectUnix, type UnixSocket } from "../../src/host/unix-socket.ts";
import { Header, Version } from "../../src/spec/vfio-user/messages.ts";
import { Command, MessageType } from "../../src/spec/vfio-user/numbers.ts";
import { VfioUserServer } from "../../src/vfio-user/index.ts";
import { openStrangeDescriptors, type StrangeDescriptors } from "./strange-descriptors.ts";
import { ToyDevice } from "./toy-device.ts";

export const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

export interface Rig {
  readonly device: ToyDevice;
  readonly server: VfioUserServer;
  readonly registry: SharedMemoryRegistry;
  /** Warnings and other messages of the server. */
  readonly messages: string[];
  /** A peer that has connected; it has said nothing yet. */
  peer(): RawPeer;
  /** A peer that has negotiated. */
  ready(): RawPeer;
  /** Eventfds and shared memory of the peer's, gone after the test. */
  eventfds(count: number): number[];
  memory(byteLength: number): OwnedSharedMemory;
  /** Descriptors of all kinds. */
  strange(): StrangeDescriptors;
}

/** A server with a toy device, gone after the test; the test fails if it leaves a descriptor open. */
export function rig(t: Pick<TestContext, "after">): Rig {
  const before = openDescriptors();
  const folder = mkdtempSync(join(tmpdir(), "vhca-raw-"));
  const device = new ToyDevice();
  const registry = new SharedMemoryRegistry();
  const messages: string[] = [];
  const note = (message: string): void => void messages.push(message);
  const server = new VfioUserServer(device, {
    path: join(folder, "s"),
    registry,
    log: { debug: note, info: note, warn: note },
  });
  const peers: RawPeer[] = [];
  const events: number[] = [];
  const memories: OwnedSharedMemory[] = [];
  t.after(() => {
    for (const peer of peers) peer.close();
    for (const fd of events) closeDescriptor(fd);
    for (const made of memories) made.close();
    server.close();
    device.close();
    rmSync(folder, { recursive: true });
    assert.equal(registry.size, 0, "memory of a client is still mapped");
    assert.equal(openDescriptors(), before, "descriptors leaked");
  });
  const peer = (): RawPeer => {
    const made = new RawPeer(server);
    peers.push(made);
    return made;
  };
  const eventfds = (count: number): number[] => {
    const made = Array.from({ length: count }, createEventfd);
    events.push(...made);
    return made;
  };
  const memory = (byteLength: number): OwnedSharedMemory => {
    const made = createSharedMemory("guest", byteLength);
    memories.push(made);
    return made;
  };
  const strange = (): StrangeDescriptors => {
    const made = openStrangeDescriptors();
    events.push(...Object.values(made));
    return made;
  };
  return { device, server, registry, messages, peer, ready: () => peer().negotiate(), eventfds, memory, strange };
}

/** Header fields a test wants to be other than right. */
export interface HeaderFields {
  readonly id?: number;
  readonly size?: number;
  readonly type?: number;
  readonly noReply?: number;
  readonly error?: number;
  readonly errno?: number;
}

/** The bytes of a message. */
export function message(command: number, payload: Uint8Array = new Uint8Array(0), fields: HeaderFields = {}): Buffer {
  const bytes = Buffer.alloc(Header.byteLength + payload.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  writeAll(Header, view, 0, { id: 0x4711, command, size: bytes.length, type: MessageType.COMMAND, ...fields });
  bytes.set(payload, Header.byteLength);
  return bytes;
}

/** The bytes of a record, argsz and the like included, with `tail` behind it. */
export function record(
  of: { readonly info: LayoutInfo; readonly byteLength: number },
  values: Readonly<Record<string, number | bigint>>,
  tail: Uint8Array = new Uint8Array(0),
): Buffer {
  const bytes = Buffer.alloc(of.byteLength + tail.length);
  const hasArgsz = of.info.fields.has("argsz");
  writeAll(of, new DataView(bytes.buffer, bytes.byteOffset), 0, { ...(hasArgsz ? { argsz: of.byteLength } : {}), ...values });
  bytes.set(tail, of.byteLength);
  return bytes;
}

export interface Reply {
  readonly id: number;
  readonly command: number;
  readonly errno: number;
  /** All of it, header included. */
  readonly bytes: Buffer;
  readonly payload: Buffer;
  readonly view: DataView;
  /** The receiver's to close; `RawPeer.close` closes what is left. */
  readonly descriptors: readonly number[];
}

const BUFFER_BYTES = 2 ** 23;
const TURNS = 64;
/** Buffers of peers that are gone: making one costs a garbage collection now and then. */
const unusedBuffers: NativeMemory[] = [];

export class RawPeer {
  readonly #server: VfioUserServer;
  readonly #socket: UnixSocket;
  readonly #buffer = unusedBuffers.pop() ?? allocateNative(BUFFER_BYTES);
  readonly #descriptors: number[] = [];
  #have = 0;
  /** Where the message being received ends, as far as is known. */
  #end: number = Header.byteLength;
  #isClosed = false;

  constructor(server: VfioUserServer) {
    this.#server = server;
    this.#socket = connectUnix(server.path);
    this.turn();
  }

  /** Lets the server work until it has nothing more to do. */
  turn(): void {
    for (let i = 0; i < TURNS; i++) if (this.#server.poll() === 0) return;
  }

  /** Sends bytes as one sendmsg, without turning the crank. Returns how many were taken. */
  put(bytes: Uint8Array, descriptors: readonly number[] = []): number {
    this.#buffer.bytes.set(bytes, BUFFER_BYTES / 2);
    return this.#socket.send(this.#buffer, BUFFER_BYTES / 2, bytes.length, Int32Array.from(descriptors), descriptors.length);
  }

  /** Sends bytes and lets the server work. */
  send(bytes: Uint8Array, descriptors: readonly number[] = []): void {
    for (let at = 0; at < bytes.length; ) {
      const sent = this.put(bytes.subarray(at), at === 0 ? descriptors : []);
      assert.ok(sent > 0 || sent === -Errno.EAGAIN, errnoName(-sent));
      if (sent > 0) at += sent;
      this.turn();
    }
  }

  /** The next reply, or undefined if none is there. */
  receive(): Reply | undefined {
    for (let turns = 0; turns < TURNS; turns++) {
      // never beyond a message, so that the descriptors that come are its own
      const count = this.#socket.receive(this.#buffer, this.#have, this.#end - this.#have);
      for (let i = 0; i < this.#socket.receivedCount; i++) this.#descriptors.push(this.#socket.received[i] ?? -1);
      if (count > 0) this.#have += count;
      if (this.#have === Header.byteLength) this.#end = Header.size.get(this.#buffer.view, 0);
      if (this.#have === this.#end) return this.#take(this.#end);
      if (count <= 0 && this.#server.poll() === 0) return undefined;
    }
    return undefined;
  }

  /** True if the server has closed the connection. */
  get isCutOff(): boolean {
    this.turn();
    const count = this.#socket.receive(this.#buffer, this.#have, 1);
    return count === 0 || count === -Errno.ECONNRESET;
  }

  /** Sends a command and returns its reply. */
  ask(command: number, payload?: Uint8Array, descriptors: readonly number[] = [], fields: HeaderFields = {}): Reply {
    this.send(message(command, payload, fields), descriptors);
    const reply = this.receive();
    assert.ok(reply, `no reply to ${nameOf(Command, command)}`);
    assert.equal(reply.id, fields.id ?? 0x4711);
    assert.equal(reply.command, command);
    return reply;
  }

  /** The same, and it must succeed. */
  expect(command: number, payload?: Uint8Array, descriptors: readonly number[] = []): Reply {
    const reply = this.ask(command, payload, descriptors);
    assert.equal(errnoName(reply.errno), errnoName(0), nameOf(Command, command));
    return reply;
  }

  /** The same, and it must fail with `errno`, with nothing but a header; the session must go on. */
  expectErrno(
    errno: number,
    command: number,
    payload?: Uint8Array,
    descriptors: readonly number[] = [],
    fields?: HeaderFields,
  ): void {
    const reply = this.ask(command, payload, descriptors, fields);
    assert.equal(errnoName(reply.errno), errnoName(errno), nameOf(Command, command));
    assert.equal(reply.payload.length, 0);
    assert.equal(reply.descriptors.length, 0);
    assert.equal(this.#server.isConnected, true);
  }

  /** VERSION 0.0 as QEMU sends it. */
  negotiate(): this {
    const json =
      '{"capabilities":{"pgsizes":4096,"max_msg_fds":16,"max_dma_maps":65535,"max_data_xfer_size":1048576,"write_multiple":true}}\0';
    this.expect(Command.VERSION, record(Version, { major: 0, minor: 0 }, Buffer.from(json)));
    return this;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
    for (const fd of this.#descriptors) closeDescriptor(fd);
    unusedBuffers.push(this.#buffer);
    this.turn();
  }

  #take(size: number): Reply {
    const bytes = Buffer.from(this.#buffer.bytes.subarray(0, size));
    this.#have = 0;
    this.#end = Header.byteLength;
    const view = new DataView(bytes.buffer, bytes.byteOffset, size);
    assert.equal(Header.type.get(view, 0), MessageType.REPLY);
    assert.equal(Header.noReply.get(view, 0), 0);
    const errno = Header.errno.get(view, 0);
    assert.equal(Header.error.get(view, 0), errno === 0 ? 0 : 1);
    const payload = bytes.subarray(Header.byteLength);
    return {
      id: Header.id.get(view, 0),
      command: Header.command.get(view, 0),
      errno,
      bytes,
      payload,
      view: new DataView(payload.buffer, payload.byteOffset, payload.length),
      descriptors: this.#descriptors.slice(this.#descriptors.length - this.#freshDescriptors()),
    };
  }

  #seenDescriptors = 0;
  #freshDescriptors(): number {
    const fresh = this.#descriptors.length - this.#seenDescriptors;
    this.#seenDescriptors = this.#descriptors.length;
    return fresh;
  }
}
