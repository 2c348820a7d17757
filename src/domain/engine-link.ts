// This engine's thread and another one: the rings between them, mapped here, and how the other one is woken.

import type { LabFabric } from "../fabric/lab-fabric.ts";
import { signalEventfd } from "../host/eventfd.ts";
import { Mapping } from "../host/mapping.ts";
import type { Network } from "../transport/network.ts";
import { PacketRing, ringBytes } from "../transport/packets/ring.ts";
import { type EnginePlace, joinEngine, LOG_TRUNK_BYTES } from "./engine-fabric.ts";
import type { EngineBell, TrunkOptions } from "./protocol.ts";
import type { TrunkEnd } from "./trunk-end.ts";
import { TRUNK_MEMORY_BYTES } from "./trunk-memory.ts";

export class EngineLink {
  readonly #end: TrunkEnd;
  readonly #peer: number;
  readonly #bell: EngineBell;
  readonly #doorbell: Int32Array;
  readonly #sleepers: Int32Array;

  constructor(options: TrunkOptions, sleepers: Int32Array, place: EnginePlace, fabric: LabFabric, network: Network) {
    this.#peer = options.peer;
    this.#bell = options.bell;
    this.#doorbell = new Int32Array(options.bell.doorbell);
    this.#sleepers = sleepers;
    const rings = { outgoing: ringOf(options.outgoing), incoming: ringOf(options.incoming) };
    this.#end = joinEngine(place, options.peer, fabric, network, rings);
  }

  /** Management packets for the other engine that found no room. */
  get dropped(): number {
    return this.#end.dropped;
  }

  get hasPackets(): boolean {
    return this.#end.hasPackets;
  }

  /** Wakes the other engine if something was sent to it since the last call and it sleeps. */
  wakePeer(): void {
    if (!this.#end.takeNews() || Atomics.load(this.#sleepers, this.#peer) === 0) return;
    // In this order: see EngineHandle.ask.
    signalEventfd(this.#bell.wakeDescriptor);
    Atomics.store(this.#doorbell, 0, 1);
  }
}

const ringOf = (descriptor: number): PacketRing =>
  new PacketRing(Mapping.ofDescriptor(descriptor, TRUNK_MEMORY_BYTES, true).memory(0, ringBytes(LOG_TRUNK_BYTES)));
