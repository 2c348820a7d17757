// Event descriptors: how a device interrupts a VM and how one thread wakes another.

import { readlinkSync } from "node:fs";
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

/**
 * Signals an eventfd. Allocates nothing; 192 ns. An eventfd that is full is signalled already.
 * @returns false if the descriptor is not open any more.
 */
export function signalEventfd(fd: number): boolean {
  return write(fd, ONE, 8) === 8;
}

/** Reads an eventfd back to zero; returns how often it had been signalled (at most 2^32 - 1), 0 if not at all. */
export function drainEventfd(fd: number): number {
  return read(fd, COUNT, 8) === 8 ? scratch.view.getUint32(COUNT_AT, true) : 0;
}

/**
 * Takes a peer's descriptor for an eventfd: true if it is one. It is made non-blocking, so that writing to it does not wait.
 * (A peer that later makes it block again and fills it can hold us up: vfio-user trusts its peer that far.)
 */
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
