// UNIX datagram sockets with abstract names (unix(7)): no file, gone with the process, seen by everybody in the network namespace. Never
// waiting. Names are written as C programs do that count the NUL after the text in: another length is another name.

import type { DatagramBatch } from "./datagram-batch.ts";
import {
  bind,
  check,
  closeDescriptor,
  connect,
  lastErrno,
  OpenFlag,
  recvmmsg,
  recvmsg,
  SocketConstant,
  send,
  sendmsg,
  setsockopt,
  socket,
} from "./libc.ts";
import { allocateNative, type NativeMemory, setPointer, setWord64 } from "./mapping.ts";
import { MSG_CONTROL, MSG_CONTROLLEN, MSG_IOV, MSG_IOVLEN, MSG_NAME, MSG_NAMELEN } from "./msghdr.ts";
import { Errno, SystemError } from "./system-error.ts";

/** sun_path without the NULs before and after the text. */
export const MAX_ABSTRACT_NAME_BYTES = 106;

// struct msghdr, iovec, sockaddr_un and cmsghdr with ucred in one page of scratch memory; calls are synchronous, so all sockets share it
const scratch = allocateNative(4096);
const MSGHDR = 0;
const IOVEC = 64;
const SENDER = 96;
const TARGET = 256;
const CONTROL = 384;
const OPTION = 448;
const SOCKADDR_BYTES = 110;
const SUN_PATH_AT = 2;
/** Room for the credentials alone: descriptors that come along do not fit, and the kernel closes them. */
const CREDENTIALS_BYTES = 32;
const CMSG_TYPE = 12;
const UCRED_PID = 16;
const UCRED_UID = 20;
const message = scratch.address + MSGHDR;
setPointer(scratch.view, MSG_IOV, scratch, IOVEC);
setWord64(scratch.view, MSG_IOVLEN, 1);
setPointer(scratch.view, MSG_CONTROL, scratch, CONTROL);

/** A datagram's sender as the kernel vouches for it. */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
}

export class AbstractDatagramSocket {
  readonly descriptor: number;

  /**
   * Binds a socket to `name`.
   * @param wantsCredentials `senderCredentials` is of use; a receive takes a little longer
   * @throws SystemError EADDRINUSE if somebody has that name, ENAMETOOLONG
   */
  constructor(name: string, wantsCredentials = false) {
    const { AF_UNIX, DGRAM, SOL_SOCKET, SO_PASSCRED } = SocketConstant;
    this.descriptor = check(socket(AF_UNIX, DGRAM | OpenFlag.NONBLOCK | OpenFlag.CLOEXEC, 0), "socket");
    try {
      scratch.view.setInt32(OPTION, 1, true);
      if (wantsCredentials) {
        check(setsockopt(this.descriptor, SOL_SOCKET, SO_PASSCRED, scratch.address + OPTION, 4), "setsockopt", "SO_PASSCRED");
      }
      check(bind(this.descriptor, scratch.address + TARGET, encodeName(name)), "bind", `abstract socket ${name}`);
    } catch (error) {
      closeDescriptor(this.descriptor);
      throw error;
    }
  }

  /**
   * From now on datagrams come from the socket with this name only, and `send` goes there.
   * @returns 0 or a negative errno (-ECONNREFUSED: nobody has that name)
   */
  connect(name: string): number {
    return connect(this.descriptor, scratch.address + TARGET, encodeName(name)) < 0 ? -lastErrno() : 0;
  }

  /**
   * Receives a datagram to `memory` from `at`; what is longer than `length` is cut. Allocates nothing.
   * @returns how long it is, before it was cut; or a negative errno (-EAGAIN: nothing there)
   */
  receive(memory: NativeMemory, at: number, length: number): number {
    const { view } = scratch;
    setPointer(view, MSG_NAME, scratch, SENDER);
    view.setUint32(MSG_NAMELEN, SOCKADDR_BYTES, true);
    setPointer(view, IOVEC, memory, at);
    setWord64(view, IOVEC + 8, length);
    setWord64(view, MSG_CONTROLLEN, CREDENTIALS_BYTES);
    const { MSG_DONTWAIT, MSG_TRUNC, MSG_CMSG_CLOEXEC } = SocketConstant;
    const count = recvmsg(this.descriptor, message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    return count < 0 ? -lastErrno() : count;
  }

  /**
   * Receives what is there to `batch`, as many datagrams as it holds at most; what is longer than its room is cut. Allocates nothing.
   * @returns how many, or a negative errno (-EAGAIN: nothing there)
   */
  receiveMany(batch: DatagramBatch): number {
    const { MSG_DONTWAIT, MSG_TRUNC, MSG_CMSG_CLOEXEC } = SocketConstant;
    const count = recvmmsg(this.descriptor, batch.headers, batch.capacity, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC, 0);
    return count < 0 ? -lastErrno() : count;
  }

  /** The name that the last datagram's sender has, without its NULs; empty if it has none. Until the next `receive` of any socket. */
  senderName(): string {
    const length = scratch.view.getUint32(MSG_NAMELEN, true);
    const end = SENDER + Math.min(length, SOCKADDR_BYTES);
    const from = SENDER + SUN_PATH_AT + 1;
    return from >= end ? "" : Buffer.from(scratch.bytes.subarray(from, end)).toString("latin1").replace(/\0$/, "");
  }

  /** Who sent the last datagram, if the socket wants to know. Until the next `receive` of any socket. */
  senderCredentials(): Credentials | undefined {
    const { view } = scratch;
    if (view.getUint32(MSG_CONTROLLEN, true) < CREDENTIALS_BYTES - 4) return undefined;
    if (view.getInt32(CONTROL + CMSG_TYPE, true) !== SocketConstant.SCM_CREDENTIALS) return undefined;
    return { pid: view.getInt32(CONTROL + UCRED_PID, true), uid: view.getUint32(CONTROL + UCRED_UID, true) };
  }

  /** Sends a datagram to the connected socket. Returns its length or a negative errno (-EAGAIN: the other end's queue is full). */
  send(memory: NativeMemory, at: number, length: number): number {
    const { MSG_DONTWAIT, MSG_NOSIGNAL } = SocketConstant;
    const count = send(this.descriptor, memory.address + at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return count < 0 ? -lastErrno() : count;
  }

  /** Sends a datagram to whoever sent the last one received, by any socket. */
  reply(memory: NativeMemory, at: number, length: number): number {
    const { view } = scratch;
    setPointer(view, MSG_NAME, scratch, SENDER);
    setPointer(view, IOVEC, memory, at);
    setWord64(view, IOVEC + 8, length);
    setWord64(view, MSG_CONTROLLEN, 0);
    const { MSG_DONTWAIT, MSG_NOSIGNAL } = SocketConstant;
    const count = sendmsg(this.descriptor, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return count < 0 ? -lastErrno() : count;
  }

  close(): void {
    closeDescriptor(this.descriptor);
  }
}

/** Writes a sockaddr_un to the scratch memory; returns its length. */
function encodeName(name: string): number {
  const text = Buffer.from(name);
  if (text.length === 0 || text.length > MAX_ABSTRACT_NAME_BYTES) {
    const detail = `expected 1 to ${MAX_ABSTRACT_NAME_BYTES} bytes, got ${text.length}: ${name}`;
    throw new SystemError("abstract socket", Errno.ENAMETOOLONG, detail);
  }
  scratch.view.setUint16(TARGET, SocketConstant.AF_UNIX, true);
  scratch.bytes.fill(0, TARGET + SUN_PATH_AT, TARGET + SOCKADDR_BYTES);
  scratch.bytes.set(text, TARGET + SUN_PATH_AT + 1);
  return SUN_PATH_AT + 1 + text.length + 1;
}
