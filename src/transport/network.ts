// All HCA ports that this engine carries messages between: the end ports of a fabric by their number.

import { Loopback } from "./packets/loopback.ts";
import type { PacketInlet } from "./packets/receive.ts";
import { receivePackets } from "./packets/receive.ts";
import type { PacketLane } from "./packets/ring.ts";
import type { AdapterPort } from "./port.ts";

/** `Wire.resolve` answers with this minus n for a port that is reached through lane n; -1 is nowhere. */
const FIRST_LANE = -2;

export class Network {
  readonly #ports: (AdapterPort | undefined)[] = [];
  /** Changes when a QP, a port or a connection's state may have changed: cached peers are looked up again. */
  epoch = 0;
  /** Packets that ended nowhere. */
  readonly counts = { malformed: 0, unroutable: 0 };
  /** Where packets between ports of this engine go; undefined as long as the short path serves them. */
  loopback: PacketLane | undefined = undefined;
  readonly #lanes: (PacketLane | undefined)[] = [];
  readonly #inlets: PacketInlet[] = [];

  /** Connects a port under the number its wire has in the fabric. */
  attach(port: AdapterPort): void {
    const index = port.wire.index;
    while (this.#ports.length <= index) this.#ports.push(undefined);
    this.#ports[index] = port;
    this.epoch++;
  }

  detach(port: AdapterPort): void {
    if (this.#ports[port.wire.index] === port) this.#ports[port.wire.index] = undefined;
    this.epoch++;
  }

  /** The HCA port behind end port `index`, if it is one. */
  portAt(index: number): AdapterPort | undefined {
    return index >= 0 ? this.#ports[index] : undefined;
  }

  /** Number of the end port of this engine that has that unicast LID, or -1. */
  findLid(dlid: number): number {
    for (let i = 0; i < this.#ports.length; i++) if (this.#ports[i]?.ownsLid(dlid) === true) return i;
    return -1;
  }

  /** Adds a way to another engine; returns the number that `Wire.resolve` answers for ports behind it. */
  addLane(lane: PacketLane): number {
    this.#lanes.push(lane);
    this.epoch++;
    return FIRST_LANE - (this.#lanes.length - 1);
  }

  /** The lane with the number that `Wire.resolve` has answered. */
  laneAt(answer: number): PacketLane | undefined {
    return answer <= FIRST_LANE ? this.#lanes[FIRST_LANE - answer] : undefined;
  }

  /** From now on also messages between ports of this engine go as packets. */
  forcePackets(): void {
    const loopback = new Loopback(this);
    this.loopback = loopback.ring;
    this.addInlet(loopback);
    this.epoch++;
  }

  /** Packets that come in there are delivered by `receive`. */
  addInlet(inlet: PacketInlet): void {
    this.#inlets.push(inlet);
  }

  /** Takes packets that have arrived. Returns work done. */
  receive(nowNs: number): number {
    let work = 0;
    for (let i = 0; i < this.#inlets.length; i++) work += receivePackets(this, this.#inlets[i]!, nowNs);
    return work;
  }

  connectionsChanged(): void {
    this.epoch++;
  }
}
