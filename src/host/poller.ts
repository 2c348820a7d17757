// Waiting for descriptors, with nanoseconds (ppoll(2)). The set is small and written anew before each wait, which costs a
// few stores and keeps nobody's state; nothing is allocated.

import { lastErrno, PollEvent, ppoll, ppollElsewhere } from "./libc.ts";
import { allocateNative, type NativeMemory, setWord64 } from "./mapping.ts";
import { Errno, SystemError } from "./system-error.ts";

export { PollEvent } from "./libc.ts";

/** sizeof(struct pollfd): int fd, short events, short revents. */
const POLLFD_BYTES = 8;
const TIMESPEC_BYTES = 16;
const NS_PER_S = 1_000_000_000;
const NS_PER_MS = 1_000_000;

export class Poller {
  readonly #memory: NativeMemory;
  /** BigInts made once: a Number this large would become a new heap number at every load. */
  readonly #timespec: bigint;
  readonly #fds: bigint;
  readonly #capacity: number;
  #count = 0;

  /** @param capacity most descriptors in one wait. */
  constructor(capacity = 1024) {
    this.#capacity = capacity;
    this.#memory = allocateNative(TIMESPEC_BYTES + capacity * POLLFD_BYTES);
    this.#timespec = BigInt(this.#memory.address);
    this.#fds = BigInt(this.#memory.address + TIMESPEC_BYTES);
  }

  /** Empties the set. */
  clear(): void {
    this.#count = 0;
  }

  /** Adds a descriptor to wait for (`PollEvent` bits); returns its place for `eventsOf`. */
  add(fd: number, events: number): number {
    const place = this.#count;
    if (place >= this.#capacity) throw new Error(`invariant: a poller holds at most ${this.#capacity} descriptors`);
    const at = TIMESPEC_BYTES + place * POLLFD_BYTES;
    const view = this.#memory.view;
    view.setInt32(at, fd, true);
    view.setInt16(at + 4, events, true);
    view.setInt16(at + 6, 0, true);
    this.#count = place + 1;
    return place;
  }

  /**
   * Waits until a descriptor of the set is ready or `timeoutNs` have gone by (0: just looks, 330 ns).
   * @returns how many are ready; 0 after the time or when a signal came.
   */
  wait(timeoutNs: number): number {
    this.#setTime(timeoutNs);
    const ready = ppoll(this.#fds, this.#count, this.#timespec, 0);
    if (ready >= 0) return ready;
    const errno = lastErrno();
    if (errno === Errno.EINTR) return 0;
    throw new SystemError("ppoll", errno);
  }

  /** The same in a thread of the pool; the set must stay as it is until then. A signal or an error counts as nothing. */
  waitElsewhere(timeoutNs: number): Promise<void> {
    this.#setTime(timeoutNs);
    return new Promise((resolve) => {
      ppollElsewhere(this.#fds, this.#count, this.#timespec, 0, () => resolve());
    });
  }

  #setTime(timeoutNs: number): void {
    const view = this.#memory.view;
    const seconds = Math.floor(timeoutNs / NS_PER_S);
    setWord64(view, 0, seconds);
    setWord64(view, 8, Math.floor(timeoutNs - seconds * NS_PER_S));
  }

  /** What happened to the descriptor at `place` (`PollEvent` bits; ERR, HUP and NVAL come unasked). */
  eventsOf(place: number): number {
    return this.#memory.view.getInt16(TIMESPEC_BYTES + place * POLLFD_BYTES + 6, true);
  }

  /** Descriptors in the set: the place of the next one. */
  get count(): number {
    return this.#count;
  }

  /** Whether anything happened to a descriptor from place `from` to before place `to`. */
  hasEvents(from: number, to: number): boolean {
    for (let place = from; place < to; place++) if (this.eventsOf(place) !== 0) return true;
    return false;
  }
}

const single = new Poller(1);

/** Waits for one descriptor; false if the time went by. For blocking clients, not for the engine. */
export function waitFor(fd: number, events: number, timeoutNs: number): boolean {
  single.clear();
  single.add(fd, events | PollEvent.ERR);
  return single.wait(timeoutNs) > 0;
}

/**
 * Waits until one of `fds` can be read, or for `timeoutMs`, without blocking the thread: one of libuv's pool waits instead. It keeps
 * the process alive and cannot be called off, so keep the time short.
 */
export async function waitForAny(fds: readonly number[], timeoutMs: number): Promise<void> {
  const poller = new Poller(fds.length);
  for (const fd of fds) poller.add(fd, PollEvent.IN);
  await poller.waitElsewhere(timeoutMs * NS_PER_MS);
}

/** Whether whoever read from this pipe or socket has left (POLLERR, poll(2)), as a write would find out. */
export const hasNoReader = (fd: number): boolean => waitFor(fd, 0, 0);
