// A network between the guests of a test bed that loses, doubles, reorders and delays packets, as a seed says.

import { newMemory } from "../../src/base/bytes.ts";
import type { Random } from "../../src/base/random.ts";
import { Loopback } from "../../src/transport/packets/loopback.ts";
import { PacketRing, ringBytes } from "../../src/transport/packets/ring.ts";
import type { TestBed } from "./pair.ts";

const LOG_RING_BYTES = 18;

/** Probabilities for each packet. */
export interface Faults {
  loss: number;
  duplicate: number;
  /** Of being held back for some packets. */
  reorder: number;
}

interface Held {
  bytes: Uint8Array;
  /** Rounds until it is delivered. */
  rounds: number;
}

export class FaultyLink {
  faults: Faults;
  /** Packets that came, were lost, doubled and held back. */
  readonly counts = { packets: 0, lost: 0, doubled: 0, held: 0 };
  /** Called with each packet before its fate is decided; false loses it. */
  filter: (packet: Uint8Array) => boolean = () => true;
  readonly #random: Random;
  /** What the guests send into; what they receive from is the loopback's ring. */
  readonly #outgoing = new PacketRing(newMemory(ringBytes(LOG_RING_BYTES)));
  readonly #loopback: Loopback;
  #held: Held[] = [];

  constructor(bed: TestBed, random: Random, faults: Faults) {
    const { network } = bed.domain;
    this.#random = random;
    this.faults = faults;
    this.#loopback = new Loopback(network);
    network.addInlet(this.#loopback);
    network.loopback = this.#outgoing;
    network.setPath("packets");
  }

  /** Moves what has been sent, with faults. Returns packets that came or are still held back. */
  step(): number {
    let moved = 0;
    while (this.#outgoing.take()) {
      const { memory, at, length } = this.#outgoing;
      this.#decide(new Uint8Array(memory.bytes.subarray(at, at + length)));
      this.#outgoing.release();
      moved++;
    }
    for (const each of this.#held) each.rounds--;
    for (const each of this.#held.filter(({ rounds }) => rounds <= 0)) this.#deliver(each.bytes);
    this.#held = this.#held.filter(({ rounds }) => rounds > 0);
    return moved + this.#held.length;
  }

  /** Puts a packet on the way that nobody has sent. */
  inject(bytes: Uint8Array): void {
    this.#held.push({ bytes, rounds: 1 + this.#random.below(4) });
  }

  #decide(bytes: Uint8Array): void {
    const { loss, duplicate, reorder } = this.faults;
    this.counts.packets++;
    if (!this.filter(bytes) || this.#random.chance(loss)) {
      this.counts.lost++;
      return;
    }
    if (this.#random.chance(reorder)) {
      this.counts.held++;
      this.#held.push({ bytes, rounds: 1 + this.#random.below(4) });
    } else {
      this.#deliver(bytes);
    }
    if (!this.#random.chance(duplicate)) return;
    this.counts.doubled++;
    this.#held.push({ bytes, rounds: 1 + this.#random.below(8) });
  }

  #deliver(bytes: Uint8Array): void {
    const { ring } = this.#loopback;
    // A receiver that is behind loses what does not fit, as it would with buffers of its own.
    if (!ring.reserve(bytes.length)) return;
    ring.memory.bytes.set(bytes, ring.at);
    ring.commit(0);
  }
}
