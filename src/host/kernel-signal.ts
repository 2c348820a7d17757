// Signalling an eventfd that somebody else may have filled, without ever waiting.
//
// A write to a full eventfd waits if the descriptor is blocking (eventfd(2)), and whether it is blocking is up to everybody who
// shares it: a peer could stop this thread whenever it likes. The kernel itself signals eventfds without waiting, for instance
// when asynchronous I/O completes (io_submit(2), IOCB_FLAG_RESFD). So the smallest I/O there is, a read of nothing from the
// eventfd itself, is submitted; how it ends does not matter. It costs as much as a write.

import { syscall, viewOf } from "./libc.ts";
import { allocateNative, setPointer } from "./mapping.ts";

/** Numbers of io_setup(2) and io_submit(2). */
const SYSTEM_CALLS: Readonly<Record<string, { setup: number; submit: number } | undefined>> = {
  x64: { setup: 206, submit: 209 },
  arm64: { setup: 0, submit: 2 },
};
// struct iocb in memory, and the array of one pointer to it that io_submit takes
const CONTEXT_AT = 0;
const POINTER_AT = 8;
const IOCB_AT = 64;
const IOCB_OPCODE = 16;
const IOCB_FILE = 20;
const IOCB_FLAGS = 56;
const IOCB_RESULT_FD = 60;
const IOCB_CMD_PREAD = 0;
const IOCB_FLAG_RESFD = 1;
// struct aio_ring, as 32-bit words: completions wait there until its head has followed its tail
const RING_HEAD = 2;
const RING_TAIL = 3;
const RING_MAGIC = 4;
const AIO_RING_MAGIC = 0xa10a10a1 | 0;
const RING_HEADER_BYTES = 32;

/** Signals the eventfd; false if the descriptor is not an open eventfd. */
export type SignalEventfd = (fd: number) => boolean;

/** Sets up signalling for this thread; undefined if the system has no asynchronous I/O to offer. */
export function createKernelSignal(): SignalEventfd | undefined {
  const numbers = SYSTEM_CALLS[process.arch];
  if (numbers === undefined) return undefined;
  const memory = allocateNative(4096);
  const { view } = memory;
  if (syscall(numbers.setup, 1, memory.address + CONTEXT_AT, 0) !== 0) return undefined;
  const context = view.getBigUint64(CONTEXT_AT, true);
  const ring = new Int32Array(viewOf(Number(context), RING_HEADER_BYTES));
  if (ring[RING_MAGIC] !== AIO_RING_MAGIC) return undefined;
  setPointer(view, POINTER_AT, memory, IOCB_AT);
  view.setUint16(IOCB_AT + IOCB_OPCODE, IOCB_CMD_PREAD, true);
  view.setUint32(IOCB_AT + IOCB_FLAGS, IOCB_FLAG_RESFD, true);
  const pointer = BigInt(memory.address + POINTER_AT);
  return (fd) => {
    view.setInt32(IOCB_AT + IOCB_FILE, fd, true);
    view.setInt32(IOCB_AT + IOCB_RESULT_FD, fd, true);
    const submitted = syscall(numbers.submit, context, 1, pointer);
    Atomics.store(ring, RING_HEAD, Atomics.load(ring, RING_TAIL));
    return submitted === 1;
  };
}
