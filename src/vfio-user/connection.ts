// Messages over a UNIX socket: whole ones in, whole ones out, whatever pieces the kernel makes of them. Used by both ends.
//
// A message is read header first and then its rest, never beyond its end, so that the descriptors which the kernel hands out
// with a piece of the stream belong to the message being read: the kernel attaches them to the first byte they were sent with.

import type { Field64 } from "../base/layout.ts";
import { closeForeignDescriptor } from "../host/foreign-descriptor.ts";
import { allocateNative, type NativeMemory } from "../host/mapping.ts";
import { Errno } from "../host/system-error.ts";
import type { UnixSocket } from "../host/unix-socket.ts";
import { Header } from "../spec/vfio-user/messages.ts";
import { VfioUserError } from "./error.ts";
import { MAX_MESSAGE_BYTES, MAX_MESSAGE_DESCRIPTORS, RECEIVES_PER_MESSAGE } from "./limits.ts";

/** Where a message's payload starts in its buffer. */
export const PAYLOAD = Header.byteLength;

/** Pieces with descriptors that are read when a connection is closed; the socket's buffer holds some 280. */
const MAX_UNREAD = 1024;
const UNREAD_BYTES = 65_536;

/** What `Connection.receive` found. */
export const Received = {
  /** No whole message yet. */
  NOTHING: 0,
  /** A message is in `request`. */
  MESSAGE: 1,
  /** The other end is gone. */
  CLOSED: 2,
  /** The stream makes no sense any more. */
  BROKEN: 3,
  /** A part of a message has come, and more of it may be there. */
  PARTIAL: 4,
} as const;

/** The memory a connection works in; a server keeps one pair for all its sessions. Untouched pages cost nothing. */
export interface MessageBuffers {
  readonly incoming: NativeMemory;
  readonly outgoing: NativeMemory;
}

export function allocateBuffers(): MessageBuffers {
  return { incoming: allocateNative(MAX_MESSAGE_BYTES), outgoing: allocateNative(MAX_MESSAGE_BYTES) };
}

export function releaseBuffers(buffers: MessageBuffers): void {
  buffers.incoming.mapping.release();
  buffers.outgoing.mapping.release();
}

export class Connection {
  readonly socket: UnixSocket;
  readonly incoming: NativeMemory;
  readonly outgoing: NativeMemory;
  /** Bytes of the received message, header included. */
  size = 0;
  /** Descriptors that came with it. Take them with `takeDescriptor`; the next `receive` closes the others. */
  descriptorCount = 0;
  /** The peer sent more than MAX_MESSAGE_DESCRIPTORS with it; none is kept. */
  hadTooManyDescriptors = false;
  /** Descriptors were lost because this process may open no more. */
  lostDescriptors = false;
  /** Descriptors to send with the next message; they stay the sender's. */
  readonly outgoingDescriptors = new Int32Array(MAX_MESSAGE_DESCRIPTORS);

  readonly #descriptors = new Int32Array(MAX_MESSAGE_DESCRIPTORS);
  #have = 0;
  #need: number = Header.byteLength;
  #sendAt = 0;
  #sendEnd = 0;
  #sendDescriptorCount = 0;
  /** A message could not be sent, so the other end would wait for it for ever. */
  #hasSendFailed = false;

  constructor(socket: UnixSocket, buffers: MessageBuffers) {
    this.socket = socket;
    this.incoming = buffers.incoming;
    this.outgoing = buffers.outgoing;
  }

  /** Reads on until a message is whole, bounded and without waiting (`Received`). */
  receive(): number {
    if (this.#hasSendFailed) return Received.CLOSED;
    if (this.size !== 0) this.#startMessage();
    for (let i = 0; i < RECEIVES_PER_MESSAGE; i++) {
      const count = this.socket.receive(this.incoming, this.#have, this.#need - this.#have);
      if (count <= 0) return count === -Errno.EAGAIN || count === -Errno.EINTR ? Received.NOTHING : Received.CLOSED;
      this.#have += count;
      if (this.socket.receivedCount > 0 || this.socket.wasTruncated) this.#keepDescriptors();
      if (this.#have < this.#need) continue;
      const size = Header.size.get(this.incoming.view, 0);
      if (size === this.#need) {
        this.size = size;
        return Received.MESSAGE;
      }
      // the header is whole: now we know how long the message is
      if (size < Header.byteLength || size > MAX_MESSAGE_BYTES) return Received.BROKEN;
      this.#need = size;
    }
    return Received.PARTIAL;
  }

  /** Bytes of the next message that have come so far. */
  get partialBytes(): number {
    return this.size === 0 ? this.#have : 0;
  }

  /** Descriptor `index` of the message; its owner is now the caller. */
  takeDescriptor(index: number): number {
    const fd = this.#descriptors[index] ?? -1;
    if (index >= this.descriptorCount || fd < 0) throw new Error("invariant: a descriptor is taken once");
    this.#descriptors[index] = -1;
    return fd;
  }

  /** Looks at descriptor `index` without taking it. */
  peekDescriptor(index: number): number {
    return this.#descriptors[index] ?? -1;
  }

  /** Closes the message's descriptors that nobody has taken, without waiting for the next `receive`. */
  dropDescriptors(): void {
    for (let i = 0; i < this.descriptorCount; i++) {
      const fd = this.#descriptors[i] ?? -1;
      if (fd >= 0) closeForeignDescriptor(fd);
    }
    this.descriptorCount = 0;
  }

  /**
   * Starts sending the first `size` bytes of `outgoing`, with `descriptorCount` of `outgoingDescriptors`, after completing its
   * size field. Must not be called while `isSending`.
   */
  send(size: number, descriptorCount: number): void {
    Header.size.set(this.outgoing.view, 0, size);
    this.#sendAt = 0;
    this.#sendEnd = size;
    this.#sendDescriptorCount = descriptorCount;
    this.flush();
  }

  /** True while the other end has not taken all of the last message. */
  get isSending(): boolean {
    return this.#sendAt < this.#sendEnd;
  }

  /** Goes on sending, without waiting; returns how many bytes went. If that fails, `receive` says that the connection is over. */
  flush(): number {
    const before = this.#sendAt;
    while (this.#sendAt < this.#sendEnd) {
      const left = this.#sendEnd - this.#sendAt;
      const count = this.socket.send(this.outgoing, this.#sendAt, left, this.outgoingDescriptors, this.#sendDescriptorCount);
      if (count === -Errno.EAGAIN || count === -Errno.EINTR) break;
      this.#hasSendFailed = count < 0;
      this.#sendAt = count < 0 ? this.#sendEnd : this.#sendAt + count;
      this.#sendDescriptorCount = 0;
    }
    return this.#sendAt - before;
  }

  close(): void {
    this.dropDescriptors();
    // first, else a peer could send another one between the last look and the end
    this.socket.shutdown();
    this.#dropUnread();
    this.socket.close();
  }

  /** Messages nobody will read may have descriptors with them, which the kernel would close without our care. */
  #dropUnread(): void {
    for (let i = 0; i < MAX_UNREAD && this.socket.receive(this.incoming, 0, UNREAD_BYTES) > 0; i++) {
      for (let k = 0; k < this.socket.receivedCount; k++) closeForeignDescriptor(this.socket.received[k] ?? -1);
    }
  }

  #startMessage(): void {
    this.dropDescriptors();
    this.size = 0;
    this.#have = 0;
    this.#need = Header.byteLength;
    this.hadTooManyDescriptors = false;
    this.lostDescriptors = false;
  }

  #keepDescriptors(): void {
    const { socket } = this;
    if (socket.wasTruncated) this.lostDescriptors = true;
    if (this.descriptorCount + socket.receivedCount > MAX_MESSAGE_DESCRIPTORS) this.hadTooManyDescriptors = true;
    for (let i = 0; i < socket.receivedCount; i++) {
      const fd = socket.received[i] ?? -1;
      if (this.descriptorCount < MAX_MESSAGE_DESCRIPTORS) this.#descriptors[this.descriptorCount++] = fd;
      else closeForeignDescriptor(fd);
    }
  }
}

/**
 * A 64-bit quantity as a Number.
 * @throws VfioUserError EINVAL from 2^53 on, which no address, size or offset here can be.
 */
export function getWord64(field: Field64, view: DataView, at: number): number {
  const hi = field.hi.get(view, at);
  if (hi >= 1 << 21) throw new VfioUserError(Errno.EINVAL, `a 64-bit value of 2^53 or more (upper half 0x${hi.toString(16)})`);
  return hi * 2 ** 32 + field.lo.get(view, at);
}

/** Writes a Number below 2^53 as a 64-bit quantity. */
export function setWord64(field: Field64, view: DataView, at: number, value: number): void {
  field.hi.set(view, at, Math.floor(value / 2 ** 32));
  field.lo.set(view, at, value >>> 0);
}
