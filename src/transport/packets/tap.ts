// A tap on a port: whoever wants to see what the port sends and receives is given each packet once for each direction. Without one,
// sending costs nothing and receiving a look at a field; a tapped port sends into lanes of its own that lead into the real ones.

import type { Memory } from "../../base/bytes.ts";
import type { PacketLane } from "./ring.ts";

/** Is given packets as they lie in memory, from the LRH on and without CRCs. It must neither keep the memory nor take long. */
export interface PacketSink {
  keep(memory: Memory, at: number, length: number, isSent: boolean): void;
}

export class PortTap {
  readonly sink: PacketSink;
  /** One for each way out of the port: the loopback, and cables to other engines. */
  readonly #lanes: TappedLane[] = [];

  constructor(sink: PacketSink) {
    this.sink = sink;
  }

  /** The lane to send into instead of `lane`. */
  before(lane: PacketLane): PacketLane {
    for (let i = 0; i < this.#lanes.length; i++) if (this.#lanes[i]!.lane === lane) return this.#lanes[i]!;
    const tapped = new TappedLane(lane, this.sink);
    this.#lanes.push(tapped);
    return tapped;
  }
}

/** A lane whose packets are seen before they leave. */
class TappedLane implements PacketLane {
  readonly lane: PacketLane;
  readonly memory: Memory;
  readonly #sink: PacketSink;
  #length = 0;

  constructor(lane: PacketLane, sink: PacketSink) {
    this.lane = lane;
    this.memory = lane.memory;
    this.#sink = sink;
  }

  get vl(): number {
    return this.lane.vl;
  }

  get makesSendersWait(): boolean {
    return this.lane.makesSendersWait;
  }

  get at(): number {
    return this.lane.at;
  }

  reserve(bytes: number, sl: number, dlid: number, delay: number): boolean {
    this.#length = bytes;
    return this.lane.reserve(bytes, sl, dlid, delay);
  }

  commit(tag: number): void {
    // Not afterwards, when the place is the receiver's.
    this.#sink.keep(this.memory, this.lane.at, this.#length, true);
    this.lane.commit(tag);
  }
}
