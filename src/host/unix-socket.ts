// UNIX stream sockets that carry descriptors (unix(7), SCM_RIGHTS), never waiting. Node's own sockets cannot do that.

import { lstatSync, unlinkSync } from "node:fs";
import {
  accept4,
  bind,
  check,
  closeDescriptor,
  connect,
  getsockopt,
  lastErrno,
  listen,
  OpenFlag,
  recvmsg,
  SocketConstant,
  sendmsg,
  shutdown,
  socket,
} from "./libc.ts";
import { allocateNative, type NativeMemory, setPointer, setWord64 } from "./mapping.ts";
import { MSG_CONTROL, MSG_CONTROLLEN, MSG_FLAGS, MSG_IOV, MSG_IOVLEN } from "./msghdr.ts";
import { Errno, SystemError } from "./system-error.ts";

/** The kernel's own limit on descriptors in one message (SCM_MAX_FD). */
export const MAX_DESCRIPTORS = 253;
/** sun_path with its NUL. */
const MAX_PATH_BYTES = 108;
/** One client is served and a few may wait. */
const BACKLOG = 4;

// struct msghdr, iovec, cmsghdr and sockaddr_un in one page of scratch memory; calls are synchronous, so all sockets share it
const scratch = allocateNative(4096);
const MSGHDR = 0;
const IOVEC = 64;
const SOCKADDR = 96;
const CONTROL = 256;
/** struct ucred: pid, uid, gid; it takes the place of control messages. */
const UCRED_BYTES = 12;
const UCRED_LENGTH = 224;
const CMSG_HEADER_BYTES = 16;
const CONTROL_BYTES = CMSG_HEADER_BYTES + MAX_DESCRIPTORS * 4 + 4;
const message = scratch.address + MSGHDR;
setPointer(scratch.view, MSGHDR + MSG_IOV, scratch, IOVEC);
setWord64(scratch.view, MSGHDR + MSG_IOVLEN, 1);
setPointer(scratch.view, MSGHDR + MSG_CONTROL, scratch, CONTROL);

/** One end of a connection. */
export class UnixSocket {
  readonly descriptor: number;
  /** Descriptors that came with the last `receive`, `receivedCount` of them; they are the caller's to close. */
  readonly received = new Int32Array(MAX_DESCRIPTORS);
  receivedCount = 0;
  /** True if descriptors that came with the last `receive` were lost, because this process may open no more. */
  wasTruncated = false;

  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /**
   * Receives what is there, at most `length` bytes, to `memory` from `at`. Does not wait and allocates nothing (259 ns when
   * there is nothing).
   * @returns the number of bytes, 0 if the other end is closed, or a negative errno (-EAGAIN: nothing there).
   */
  receive(memory: NativeMemory, at: number, length: number): number {
    const view = scratch.view;
    setPointer(view, IOVEC, memory, at);
    setWord64(view, IOVEC + 8, length);
    setWord64(view, MSGHDR + MSG_CONTROLLEN, CONTROL_BYTES);
    this.receivedCount = 0;
    this.wasTruncated = false;
    const count = recvmsg(this.descriptor, message, SocketConstant.MSG_DONTWAIT | SocketConstant.MSG_CMSG_CLOEXEC);
    if (count < 0) return -lastErrno();
    if (view.getUint32(MSGHDR + MSG_CONTROLLEN, true) !== 0) this.#collect();
    if ((view.getInt32(MSGHDR + MSG_FLAGS, true) & SocketConstant.MSG_CTRUNC) !== 0) this.wasTruncated = true;
    return count;
  }

  /**
   * Sends at most `length` bytes of `memory` from `at`, with the first `descriptorCount` of `descriptors` on the first of
   * them. Does not wait.
   * @returns the number of bytes taken, or a negative errno (-EAGAIN: the other end does not read).
   */
  send(memory: NativeMemory, at: number, length: number, descriptors: Int32Array, descriptorCount: number): number {
    const view = scratch.view;
    setPointer(view, IOVEC, memory, at);
    setWord64(view, IOVEC + 8, length);
    const controlBytes = descriptorCount === 0 ? 0 : CMSG_HEADER_BYTES + descriptorCount * 4;
    setWord64(view, MSGHDR + MSG_CONTROLLEN, (controlBytes + 7) & ~7);
    if (descriptorCount > 0) {
      setWord64(view, CONTROL, controlBytes);
      view.setInt32(CONTROL + 8, SocketConstant.SOL_SOCKET, true);
      view.setInt32(CONTROL + 12, SocketConstant.SCM_RIGHTS, true);
      for (let i = 0; i < descriptorCount; i++) view.setInt32(CONTROL + CMSG_HEADER_BYTES + i * 4, descriptors[i] ?? -1, true);
    }
    const count = sendmsg(this.descriptor, message, SocketConstant.MSG_DONTWAIT | SocketConstant.MSG_NOSIGNAL);
    return count < 0 ? -lastErrno() : count;
  }

  /** The process at the other end when it connected; 0 if it cannot be told, as across PID namespaces (unix(7), SO_PEERCRED). */
  peerPid(): number {
    const view = scratch.view;
    view.setInt32(CONTROL, 0, true);
    view.setUint32(UCRED_LENGTH, UCRED_BYTES, true);
    const { SOL_SOCKET, SO_PEERCRED } = SocketConstant;
    const { address } = scratch;
    const status = getsockopt(this.descriptor, SOL_SOCKET, SO_PEERCRED, address + CONTROL, address + UCRED_LENGTH);
    return status < 0 ? 0 : view.getInt32(CONTROL, true);
  }

  /** Ends both directions: what the peer has sent can still be read, but nothing can be added to it. */
  shutdown(): void {
    shutdown(this.descriptor, SocketConstant.SHUT_RDWR);
  }

  close(): void {
    closeDescriptor(this.descriptor);
  }

  /** Takes the descriptors out of the control messages of the last recvmsg. */
  #collect(): void {
    const view = scratch.view;
    const end = CONTROL + view.getUint32(MSGHDR + MSG_CONTROLLEN, true);
    for (let at = CONTROL; at + CMSG_HEADER_BYTES <= end; ) {
      const length = view.getUint32(at, true);
      if (length < CMSG_HEADER_BYTES) return;
      const isRights =
        view.getInt32(at + 8, true) === SocketConstant.SOL_SOCKET && view.getInt32(at + 12, true) === SocketConstant.SCM_RIGHTS;
      for (let i = at + CMSG_HEADER_BYTES; isRights && i + 4 <= at + length; i += 4) {
        this.received[this.receivedCount++] = view.getInt32(i, true);
      }
      at += (length + 7) & ~7;
    }
  }
}

/** A listening socket in the file system. */
export class UnixListener {
  readonly path: string;
  readonly descriptor: number;
  readonly #inode: bigint;

  /**
   * Listens at `path`. A socket file that nobody listens on any more is removed first.
   * @throws SystemError EADDRINUSE if somebody does, or if the path is something else.
   */
  constructor(path: string) {
    this.path = path;
    removeStaleSocket(path);
    const descriptor = newSocket();
    try {
      check(bind(descriptor, scratch.address + SOCKADDR, encodeAddress(path)), "bind", path);
      check(listen(descriptor, BACKLOG), "listen", path);
      this.#inode = lstatSync(path, { bigint: true }).ino;
    } catch (error) {
      closeDescriptor(descriptor);
      throw error;
    }
    this.descriptor = descriptor;
  }

  /** A client that waits to be served, or undefined. Does not wait. */
  accept(): UnixSocket | undefined {
    const fd = accept4(this.descriptor, 0, 0, OpenFlag.NONBLOCK | OpenFlag.CLOEXEC);
    if (fd >= 0) return new UnixSocket(fd);
    const errno = lastErrno();
    // a client that came and went before we looked is no reason to stop, nor is a shortage that may pass
    if (PASSING_ACCEPT_ERRORS.has(errno)) return undefined;
    throw new SystemError("accept4", errno, this.path);
  }

  /** Stops listening and removes the socket file, if it is still ours. */
  close(): void {
    closeDescriptor(this.descriptor);
    try {
      if (lstatSync(this.path, { bigint: true }).ino === this.#inode) unlinkSync(this.path);
    } catch {
      // somebody has removed it already
    }
  }
}

const PASSING_ACCEPT_ERRORS: ReadonlySet<number> = new Set([
  Errno.EAGAIN,
  Errno.EINTR,
  Errno.ECONNABORTED,
  Errno.EMFILE,
  Errno.ENFILE,
  Errno.ENOBUFS,
  Errno.ENOMEM,
]);

/**
 * Connects to the socket at `path`.
 * @throws SystemError ENOENT, ECONNREFUSED, or EAGAIN when too many clients wait there already.
 */
export function connectUnix(path: string): UnixSocket {
  const descriptor = newSocket();
  if (connect(descriptor, scratch.address + SOCKADDR, encodeAddress(path)) < 0) {
    const errno = lastErrno();
    closeDescriptor(descriptor);
    throw new SystemError("connect", errno, path);
  }
  return new UnixSocket(descriptor);
}

function newSocket(): number {
  const type = SocketConstant.STREAM | OpenFlag.NONBLOCK | OpenFlag.CLOEXEC;
  return check(socket(SocketConstant.AF_UNIX, type, 0), "socket");
}

/** Writes a sockaddr_un to the scratch memory; returns its length. */
function encodeAddress(path: string): number {
  const name = Buffer.from(path);
  if (name.length === 0 || name.length >= MAX_PATH_BYTES) {
    const limit = MAX_PATH_BYTES - 1;
    throw new SystemError("socket path", Errno.ENAMETOOLONG, `expected 1 to ${limit} bytes, got ${name.length}: ${path}`);
  }
  scratch.view.setUint16(SOCKADDR, SocketConstant.AF_UNIX, true);
  scratch.bytes.fill(0, SOCKADDR + 2, SOCKADDR + 2 + MAX_PATH_BYTES);
  scratch.bytes.set(name, SOCKADDR + 2);
  return 2 + name.length + 1;
}

function removeStaleSocket(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new SystemError("bind", Errno.EADDRINUSE, `${path} exists and is not a socket`);
  try {
    connectUnix(path).close();
  } catch (error) {
    if (!(error instanceof SystemError) || error.errno !== Errno.ECONNREFUSED) throw error;
    unlinkSync(path);
    return;
  }
  throw new SystemError("bind", Errno.EADDRINUSE, `another process listens at ${path}`);
}
