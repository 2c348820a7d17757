// Packets of data in the fabric's lanes: their bytes, and what the ports have to know of each. All of it is made once; queues are lists
// through `next`, so that nothing is allocated and no queue has a size of its own.

import { type Memory, newMemory } from "../../base/bytes.ts";
import { MANAGEMENT_PACKETS, POOL_PACKETS } from "./limits.ts";

/** The largest payload with all headers. */
const SLOT_BYTES = 4096 + 128;
export const NO_PACKET = -1;
/** In no port's receive buffer, but still where it was sent. */
export const AT_SENDER = -1;

export class PacketPool {
  readonly memory: Memory = newMemory(POOL_PACKETS * SLOT_BYTES);
  /** Bytes from the LRH to the end without CRCs, and blocks of 64 bytes with them. */
  readonly length = new Int32Array(POOL_PACKETS);
  readonly blocks = new Int32Array(POOL_PACKETS);
  /** Lane of the link that it waits for or is on. */
  readonly vl = new Uint8Array(POOL_PACKETS);
  readonly hops = new Uint8Array(POOL_PACKETS);
  /** Inter-packet delay (static-rates.ts). */
  readonly delay = new Uint8Array(POOL_PACKETS);
  /** Port whose receive buffer it is in, as `PortLanes.index`, and the lane of that buffer. */
  readonly heldBy = new Int32Array(POOL_PACKETS);
  readonly heldVl = new Uint8Array(POOL_PACKETS);
  /** A management datagram (management.ts). */
  readonly isManagement = new Uint8Array(POOL_PACKETS);
  /** Packet that this one is a copy of, which occupies the receive buffer for it, or NO_PACKET; of that one, the copies that have not left. */
  readonly copyOf = new Int32Array(POOL_PACKETS).fill(NO_PACKET);
  readonly copies = new Uint16Array(POOL_PACKETS);
  /** What all copies of one multicast packet have in common. */
  readonly multicastNumber = new Int32Array(POOL_PACKETS);
  /** When it came to the node that it is in. */
  readonly arrivedNs = new Float64Array(POOL_PACKETS);
  /** Life of the link that it is on (`PortLanes.generation`). */
  readonly generation = new Int32Array(POOL_PACKETS);
  /** The one behind it in its queue. */
  readonly next = new Int32Array(POOL_PACKETS);
  #used = 0;
  /** Never used yet: memory that nobody touches costs nothing. */
  #fresh = 0;
  #free = NO_PACKET;
  #isStarved = false;
  /** Changes when there is room again after there was none. */
  roomEpoch = 0;

  get used(): number {
    return this.#used;
  }

  /** Room for a packet, or NO_PACKET. @param kept packets that are to have room besides it */
  take(kept = MANAGEMENT_PACKETS): number {
    if (this.#used >= POOL_PACKETS - kept) {
      this.#isStarved = true;
      return NO_PACKET;
    }
    let slot = this.#free;
    if (slot !== NO_PACKET) this.#free = this.next[slot]!;
    else slot = this.#fresh++;
    this.isManagement[slot] = 0;
    this.#used++;
    return slot;
  }

  release(slot: number): void {
    this.next[slot] = this.#free;
    this.#free = slot;
    this.#used--;
    if (!this.#isStarved || this.#used > POOL_PACKETS / 2) return;
    this.#isStarved = false;
    this.roomEpoch++;
  }

  /** Makes `to` a copy of `from`, which waits for it from now on. */
  copy(from: number, to: number): void {
    const at = this.at(from);
    this.memory.bytes.copyWithin(this.at(to), at, at + this.length[from]!);
    this.length[to] = this.length[from]!;
    this.blocks[to] = this.blocks[from]!;
    this.hops[to] = this.hops[from]!;
    this.multicastNumber[to] = this.multicastNumber[from]!;
    this.heldBy[to] = AT_SENDER;
    this.copyOf[to] = from;
    this.copies[from]! += 1;
  }

  /** Where the packet begins in `memory`. */
  at(slot: number): number {
    return slot * SLOT_BYTES;
  }

  /** Whether a packet of so many bytes fits. */
  fits(bytes: number): boolean {
    return bytes <= SLOT_BYTES;
  }
}
