// The memory of the rings between engines: a memfd for each pair and direction, which each engine's thread maps for itself.

import { closeDescriptor } from "../host/libc.ts";
import { createSealedMemfd } from "../host/shared-memory.ts";
import { ringBytes } from "../transport/packets/ring.ts";
import { LOG_TRUNK_BYTES } from "./engine-fabric.ts";

const PAGE_BYTES = 4096;

/** Bytes of a ring's memory, in whole pages. */
export const TRUNK_MEMORY_BYTES = Math.ceil(ringBytes(LOG_TRUNK_BYTES) / PAGE_BYTES) * PAGE_BYTES;

export class TrunkMemory {
  /** By sending and receiving engine. */
  readonly #descriptors = new Map<string, number>();

  constructor(engines: number) {
    for (let from = 0; from < engines; from++) {
      for (let to = 0; to < engines; to++) {
        if (from !== to)
          this.#descriptors.set(`${from}-${to}`, createSealedMemfd(`vhca-trunk-${from}-${to}`, TRUNK_MEMORY_BYTES));
      }
    }
  }

  /** The memfd of what engine `from` sends to engine `to`. */
  descriptor(from: number, to: number): number {
    const descriptor = this.#descriptors.get(`${from}-${to}`);
    if (descriptor === undefined) throw new Error(`invariant: there is no ring from engine ${from} to ${to}`);
    return descriptor;
  }

  close(): void {
    for (const descriptor of this.#descriptors.values()) closeDescriptor(descriptor);
    this.#descriptors.clear();
  }
}
