// One end of the link between two engines: two rings of packets, one each way, between a switch here and a switch there. Data go from the
// transport straight into the ring; management packets come through the fabric (fabric/trunk.ts).

import type { LabFabric } from "../fabric/lab-fabric.ts";
import type { Trunk } from "../fabric/trunk.ts";
import type { Network } from "../transport/network.ts";
import { LANE_HOPS_SHIFT, LaneTag, packet, packetWords } from "../transport/packets/packet.ts";
import type { PacketInlet } from "../transport/packets/receive.ts";
import type { PacketRing } from "../transport/packets/ring.ts";

/** Words of the link itself. */
const Word = { DOWN: 0, UP: 1 } as const;
const WORD_BYTES = 4;

export interface TrunkEndOptions {
  network: Network;
  fabric: LabFabric;
  /** What is written here, and what is read. */
  outgoing: PacketRing;
  incoming: PacketRing;
  /** Port of the switch here. */
  switchPort: number;
  description: string;
}

export class TrunkEnd implements PacketInlet {
  readonly ring: PacketRing;
  readonly #outgoing: PacketRing;
  readonly #trunk: Trunk;
  /** Word that did not fit. */
  #unsaid = -1;
  #seen: number;

  constructor({ network, fabric, outgoing, incoming, switchPort, description }: TrunkEndOptions) {
    this.ring = incoming;
    this.#outgoing = outgoing;
    this.#seen = outgoing.written;
    const lane = network.addLane(outgoing, (sl, words) => this.#trunk.countDiscarded(sl, words));
    this.#trunk = fabric.addTrunk(switchPort, description, lane, {
      send: (packet, hops) => this.#write(LaneTag.MANAGEMENT | (hops << LANE_HOPS_SHIFT), packet),
      linkChanged: (isUp) => this.#say(isUp ? Word.UP : Word.DOWN),
    });
    network.addInlet(this);
    // The other end learns that there is one here, and brings the link up.
    this.#say(Word.UP);
  }

  resolve(dlid: number): number {
    return this.#trunk.resolve(dlid);
  }

  resolveMulticast(dlid: number, out: Int32Array, delaysNs: Float64Array): number {
    return this.#trunk.passFaultsToGroup(dlid, packet.sl, packetWords(), out, delaysNs);
  }

  passFaults(): number {
    return this.#trunk.passFaults(packet.dlid, packet.sl, packetWords());
  }

  countPath(): void {
    this.#trunk.countPath(packet.dlid, packet.sl, packetWords());
  }

  countLost(isLoop: boolean): void {
    this.#trunk.countLost(packet.dlid, packet.sl, packetWords(), isLoop);
  }

  handle(tag: number, hops: number, bytes: Uint8Array): void {
    if (tag === LaneTag.MANAGEMENT) this.#trunk.arrive(bytes, hops);
    else if (tag === LaneTag.CONTROL) this.#trunk.farEndChanged(bytes[0] === Word.UP);
  }

  /** True if something has been sent since the last call: the engine at the other end may have to be woken. */
  takeNews(): boolean {
    if (this.#unsaid >= 0) this.#say(this.#unsaid);
    const { written } = this.#outgoing;
    const hasNews = written !== this.#seen;
    this.#seen = written;
    return hasNews;
  }

  /** Management packets that found no room. */
  get dropped(): number {
    return this.#trunk.dropped;
  }

  /** True if packets wait here. */
  get hasPackets(): boolean {
    return this.ring.hasPackets;
  }

  #say(word: number): void {
    const bytes = new Uint8Array(WORD_BYTES);
    bytes[0] = word;
    this.#unsaid = this.#write(LaneTag.CONTROL, bytes) ? -1 : word;
  }

  #write(tag: number, packet: Uint8Array): boolean {
    const ring = this.#outgoing;
    if (!ring.reserve(packet.length)) return false;
    ring.memory.bytes.set(packet, ring.at);
    ring.commit(tag);
    return true;
  }
}
