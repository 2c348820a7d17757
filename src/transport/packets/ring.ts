// Packets on their way from one engine to another: a ring in memory that both see, written by one and read by the other. A full ring
// holds the sender back, as credits do on a link (IBA vol 1, 7.9), so nothing is lost here.
//
//   byte 0    how far it is written, byte 64 how far it is read: counts of bytes that wrap at 2^32
//   byte 128  the ring, a power of two of bytes: records of 8 bytes [length, tag] and the packet, at multiples of 8; a length
//             of -1 sends the reader back to the start

import { type Memory, publishWord } from "../../base/bytes.ts";

const WRITTEN_AT = 0;
const READ_AT = 64;
const RING_AT = 128;
const HEAD_BYTES = 8;
const WRAP = -1;

/** Bytes of memory for a ring of 2^log bytes. */
export const ringBytes = (log: number): number => RING_AT + 2 ** log;

/** Where packets leave. */
export interface PacketLane {
  readonly memory: Memory;
  /** Where the packet in the making begins. */
  readonly at: number;
  /** Virtual lane of the packet in the making. */
  readonly vl: number;
  /** A sender that finds no room is woken when there is some (`Adapter.hold`); else it is to try again and again. */
  readonly makesSendersWait: boolean;
  /** Makes room for a packet of `bytes` of service level `sl` to `dlid`, with an inter-packet delay (IBA vol 1, 9.11); false if there is none now. */
  reserve(bytes: number, sl: number, dlid: number, delay: number): boolean;
  /** Sends what was written into the room made last. `tag` tells the other end what it is. */
  commit(tag: number): void;
}

/** One end of a ring: whoever made it either writes or reads, or does both in turn if nobody else has the memory. */
export class PacketRing implements PacketLane {
  readonly memory: Memory;
  readonly vl = 0;
  /** The other end takes nothing until time has passed, and wakes senders then. */
  makesSendersWait = false;
  at = 0;
  /** The packet that `take` has found. */
  length = 0;
  tag = 0;
  readonly #size: number;
  #written: number;
  #read: number;
  /** The other end's count as last seen. */
  #seen: number;
  #reserved = 0;

  /** @param memory of `ringBytes` bytes, zero when the first end is made */
  constructor(memory: Memory) {
    this.memory = memory;
    this.#size = memory.bytes.length - RING_AT;
    this.#written = memory.words[WRITTEN_AT >> 2]!;
    this.#read = memory.words[READ_AT >> 2]!;
    this.#seen = this.#read;
  }

  reserve(bytes: number): boolean {
    const need = (HEAD_BYTES + bytes + 7) & ~7;
    const place = this.#written & (this.#size - 1);
    const toEnd = this.#size - place;
    const skipped = need <= toEnd ? 0 : toEnd;
    if (!this.#hasRoom(need + skipped)) return false;
    if (skipped > 0) this.memory.words[(RING_AT + place) >> 2] = WRAP;
    const head = RING_AT + (skipped > 0 ? 0 : place);
    this.memory.words[head >> 2] = bytes;
    this.at = head + HEAD_BYTES;
    this.#reserved = need + skipped;
    return true;
  }

  commit(tag: number): void {
    this.memory.words[(this.at - 4) >> 2] = tag;
    this.#written = (this.#written + this.#reserved) | 0;
    publishWord(this.memory, WRITTEN_AT, this.#written);
  }

  /** Finds the next packet: `at`, `length` and `tag` say what it is until `release`. False if there is none. */
  take(): boolean {
    const { words } = this.memory;
    if (words[WRITTEN_AT >> 2] === this.#read) return false;
    // Not before the sender's last word: the load above is what it published after everything else.
    let place = this.#read & (this.#size - 1);
    if (words[(RING_AT + place) >> 2] === WRAP) {
      this.#read = (this.#read + this.#size - place) | 0;
      place = 0;
    }
    this.at = RING_AT + place + HEAD_BYTES;
    this.length = words[(this.at - 8) >> 2]!;
    this.tag = words[(this.at - 4) >> 2]!;
    return true;
  }

  /** Gives the place of the packet taken last back to the sender. */
  release(): void {
    this.#read = (this.#read + ((HEAD_BYTES + this.length + 7) & ~7)) | 0;
    publishWord(this.memory, READ_AT, this.#read);
  }

  /** True if there is something to take. */
  get hasPackets(): boolean {
    return this.memory.words[WRITTEN_AT >> 2] !== this.#read;
  }

  /** Changes with every packet sent. */
  get written(): number {
    return this.#written;
  }

  #hasRoom(bytes: number): boolean {
    if (((this.#written - this.#seen) | 0) + bytes <= this.#size) return true;
    this.#seen = this.memory.words[READ_AT >> 2]!;
    return ((this.#written - this.#seen) | 0) + bytes <= this.#size;
  }
}
