// Packets between ports of the same engine, where the short path would do: for links that are tapped or lose packets, and for tests.

import { newMemory } from "../../base/bytes.ts";
import type { Network } from "../network.ts";
import { packet, packetWords } from "./packet.ts";
import type { PacketInlet } from "./receive.ts";
import { PacketRing, ringBytes } from "./ring.ts";

const LOG_BYTES = 18;

/** A ring that ends where it begins. */
export class Loopback implements PacketInlet {
  readonly ring = new PacketRing(newMemory(ringBytes(LOG_BYTES)));
  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
  }

  /** The sender has asked the forwarding tables already; what is left is whose LID it is. */
  resolve(dlid: number): number {
    return this.#network.findLid(dlid);
  }

  /** What the sender, whose packet is in hand, reaches; its own receivers it has served itself. */
  resolveMulticast(dlid: number, out: Int32Array, delaysNs: Float64Array): number {
    const wire = this.#network.portAt(this.#network.findLid(packet.slid))?.wire;
    if (wire === undefined) return 0;
    if (wire.hasFaultyFabric) return wire.passFaultsToGroup(dlid, packet.sl, packetWords(), out, delaysNs);
    delaysNs.fill(0);
    return wire.resolveMulticast(dlid, out);
  }

  passFaults(): number {
    const wire = this.#network.portAt(this.#network.findLid(packet.slid))?.wire;
    return wire?.hasFaultyFabric === true ? wire.passFaults(packet.dlid, packet.sl, packetWords()) : 0;
  }

  /** The sender has done so. */
  countPath(): void {}
  countLost(): void {}

  handle(): void {}
}
