// Room in the window (base/window.ts) for memory of others. V8 believes that the whole range is its own and compiled code may
// reach all of it, so there is never a hole: what goes is replaced by private zero pages.

import { newWindow, type Window } from "../base/window.ts";
import { addressOf, check, MapFlag, mmap, munmap, Protection } from "./libc.ts";

const addresses = new WeakMap<Window, number>();

/** Where a window begins; it never moves. */
function windowAddress(window: Window): number {
  const known = addresses.get(window);
  if (known !== undefined) return known;
  const address = addressOf(window.memory.buffer);
  addresses.set(window, address);
  return address;
}

/** Addresses left to everybody else, such as memory that has no room in the window. Where `ulimit -v` is set there may be few. */
const SPARE_BYTES = 2 ** 33;

let own: Window | undefined;
let isTried = false;

/** The window of this thread, made when it is first wanted; undefined if addresses are scarce. */
export function threadWindow(): Window | undefined {
  if (isTried) return own;
  isTried = true;
  const spare = mmap(0, SPARE_BYTES, Protection.NONE, MapFlag.PRIVATE | MapFlag.ANONYMOUS | MapFlag.NORESERVE, -1, 0);
  if (spare === -1) return undefined;
  own = newWindow();
  check(munmap(spare, SPARE_BYTES), "munmap");
  return own;
}

/** A stretch of a window that something can be mapped into. */
export class Room {
  readonly offset: number;
  readonly address: number;
  readonly byteLength: number;
  readonly #window: Window;

  private constructor(window: Window, offset: number, byteLength: number) {
    this.#window = window;
    this.offset = offset;
    this.address = windowAddress(window) + offset;
    this.byteLength = byteLength;
  }

  /** Undefined if `window` has no `byteLength` bytes left. */
  static in(window: Window, byteLength: number): Room | undefined {
    const offset = window.take(byteLength);
    return offset < 0 ? undefined : new Room(window, offset, byteLength);
  }

  /** Clears it now; `leave` will follow when the last view has died. */
  leaveSoon(): void {
    this.#clear();
    this.#window.willGive();
  }

  /** Clears it and gives it back; the caller vouches that nobody looks there any more. What cannot be cleared is kept for good. */
  leave(): void {
    if (this.#clear()) this.#window.give(this.offset, this.byteLength);
  }

  /**
   * Puts zero pages there instead of what is mapped.
   * @returns false if the kernel refuses, which it may do under strict overcommit.
   */
  #clear(): boolean {
    const flags = MapFlag.PRIVATE | MapFlag.ANONYMOUS | MapFlag.NORESERVE | MapFlag.FIXED;
    return mmap(this.address, this.byteLength, Protection.READ | Protection.WRITE, flags, -1, 0) !== -1;
  }
}
