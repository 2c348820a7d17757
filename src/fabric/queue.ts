// The fabric's one queue: packets that have left a port and not yet been handled at the next, and port events for HCAs.
// Everything that happens in the fabric happens when an entry is taken out, so nothing recurses and work can be counted.
//
//   ring:   head ──► oldest … newest ◄── head + length      (grows by doubling up to MAX_QUEUED)

import type { CaPort } from "./ca-port.ts";
import { MAX_QUEUED } from "./limits.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";

const FIRST_SIZE = 64;

export interface PacketDelivery {
  readonly kind: "packet";
  /** Port the packet arrives at. */
  readonly port: Port;
  /** Owned by the queue; shared between the copies of a multicast packet. */
  readonly packet: Uint8Array;
  /** The same bytes; made once, since a packet may have many hops. */
  readonly view: DataView;
  readonly isVl15: boolean;
  /** Sent by this very port: from a switch's own port 0, or a loopback to a CA port's own LID. */
  readonly isLocal: boolean;
  readonly hops: number;
  /** Switches a multicast packet has been through. */
  readonly visited: Set<FabricNode> | undefined;
}

export interface EventDelivery {
  readonly kind: "event";
  readonly port: CaPort;
  readonly isActive: boolean;
}

export type Delivery = PacketDelivery | EventDelivery;

/** A first-in first-out ring that grows as needed. */
export class DeliveryQueue {
  #ring: (Delivery | undefined)[] = new Array<Delivery | undefined>(FIRST_SIZE).fill(undefined);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Appends a packet; false if the queue is full. */
  push(delivery: PacketDelivery): boolean {
    if (this.#length >= MAX_QUEUED) return false;
    this.#append(delivery);
    return true;
  }

  /** Appends an event, which must not get lost; there are at most a few per command of a driver. */
  pushEvent(delivery: EventDelivery): void {
    this.#append(delivery);
  }

  #append(delivery: Delivery): void {
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = delivery;
    this.#length++;
  }

  shift(): Delivery | undefined {
    if (this.#length === 0) return undefined;
    const delivery = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.#length--;
    return delivery;
  }

  #grow(): void {
    const grown = new Array<Delivery | undefined>(this.#ring.length * 2).fill(undefined);
    for (let i = 0; i < this.#length; i++) grown[i] = this.#ring[(this.#head + i) & (this.#ring.length - 1)];
    this.#ring = grown;
    this.#head = 0;
  }
}
