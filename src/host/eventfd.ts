// Event descriptors: how a device interrupts a VM and how one thread wakes another.

import { readlinkSync } from "node:fs";
import { createKernelSignal, type SignalEventfd } from "./kernel-signal.ts";
import { check, Fcntl, fcntl, eventfd as makeEventfd, OpenFlag, read, write } from "./libc.ts";
import { allocateNative } from "./mapping.ts";

const scratch = allocateNative(4096);
/** The number 1 as the 8 bytes that an eventfd takes. */
const ONE = scratch.address;
const COUNT_AT = 8;
const COUNT = scratch.address + COUNT_AT;
scratch.view.setUint32(0, 1, true);

/** A new eventfd: non-blocking, close-on-exec, not signalled. */
export function createEventfd(): number {
  return check(makeEventfd(0, OpenFlag.NONBLOCK | OpenFlag.CLOEXEC), "eventfd");
}

const writeOne: SignalEventfd = (fd) => write(fd, ONE, 8) === 8;
/** Set up when it is first used: most threads signal nothing. */
let kernelSignal: SignalEventfd | undefined;

/**
 * Signals an eventfd and never waits, whatever a peer that shares it has done to it (kernel-signal.ts; where that is not to be
 * had, a write, which does not wait as long as the eventfd is not blocking). Allocates nothing. An eventfd that is full is
 * signalled already.
 * @returns false if the descriptor is not open any more.
 */
export function signalEventfd(fd: number): boolean {
  kernelSignal ??= createKernelSignal() ?? writeOne;
  // the kernel may be short of memory for a moment; an interrupt must not be lost for that
  return kernelSignal(fd) || writeOne(fd);
}

/** Reads an eventfd back to zero; returns how often it had been signalled (at most 2^32 - 1), 0 if not at all. */
export function drainEventfd(fd: number): number {
  return read(fd, COUNT, 8) === 8 ? scratch.view.getUint32(COUNT_AT, true) : 0;
}

/** Takes a peer's descriptor for an eventfd: true if it is one. It is made non-blocking, so that a write to it does not wait. */
export function adoptEventfd(fd: number): boolean {
  if (!isEventfd(fd)) return false;
  const flags = fcntl(fd, Fcntl.GETFL, 0);
  return flags >= 0 && fcntl(fd, Fcntl.SETFL, flags | OpenFlag.NONBLOCK) === 0;
}

function isEventfd(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:[eventfd]";
  } catch {
    return false;
  }
}
