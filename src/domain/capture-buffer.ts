// Captured packets on their way from an engine to whoever writes them down: a ring in memory that both threads see. The engine copies a
// packet in if there is room and counts it as dropped if not; it never waits.
//
//   record:  time of the engine's clock (8 bytes), packet without CRCs; its tag is twice the interface's number, plus 1 if the port sent it

import { copyBytes, type Memory, memoryOf } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { PacketRing, ringBytes } from "../transport/packets/ring.ts";
import type { PacketSink } from "../transport/packets/tap.ts";

/** log2 of the bytes of an engine's ring: 30,000 packets of a full MTU, for the time in which the writer does not get a core. */
const LOG_BYTES = 26;
export const TIME_BYTES = 8;
/** Counts of an interface, in doubles. */
export const CaptureCount = { SEEN: 0, DROPPED: 1 } as const;
export const COUNTS_PER_INTERFACE = 2;

/** What an engine captures: ports by the names of their HCAs, each with its number in the file. */
export interface CaptureOptions {
  interfaces: { name: string; id: number }[];
  ring: SharedArrayBuffer;
  /** `COUNTS_PER_INTERFACE` doubles for each interface of the file. */
  counts: SharedArrayBuffer;
}

export const newCaptureRing = (): SharedArrayBuffer => new SharedArrayBuffer(ringBytes(LOG_BYTES));

/** One end of an engine's ring. */
export const openCaptureRing = (ring: SharedArrayBuffer): PacketRing => new PacketRing(memoryOf(ring));

/** One port's packets, on their way into the ring. */
export class CapturedPort implements PacketSink {
  readonly #ring: PacketRing;
  readonly #counts: Float64Array;
  readonly #id: number;
  readonly #clock: Clock;

  constructor(ring: PacketRing, counts: SharedArrayBuffer, id: number, clock: Clock) {
    this.#ring = ring;
    this.#counts = new Float64Array(counts, 8 * COUNTS_PER_INTERFACE * id, COUNTS_PER_INTERFACE);
    this.#id = id;
    this.#clock = clock;
  }

  keep(memory: Memory, at: number, length: number, isSent: boolean): void {
    const ring = this.#ring;
    this.#counts[CaptureCount.SEEN]! += 1;
    if (!ring.reserve(TIME_BYTES + length)) {
      this.#counts[CaptureCount.DROPPED]! += 1;
      return;
    }
    ring.memory.view.setFloat64(ring.at, this.#clock.nowNs(), true);
    copyBytes(memory, at, ring.memory, ring.at + TIME_BYTES, length);
    ring.commit(this.#id * 2 + (isSent ? 1 : 0));
  }

  /** The same for a management packet. */
  readonly observe = (packet: Uint8Array, isSent: boolean): void => {
    const copy = memoryOf(new Uint8Array(packet).buffer, 0, packet.length);
    this.keep(copy, 0, packet.length, isSent);
  };
}
