// Management datagrams to LIDs (GMPs: SA, PMA, CM, ping …) in lanes: they share the lane of their service level with data, and wait as these do. IBA
// vol 1, 13.5.1. Subnet management is VL 15's, which has a buffer of its own and no credits (7.6.3, 7.9), and stays beside the lanes.
//
// They come from hosts, whose queues keep room for them where data have none, and from port 0 of a switch, which has a buffer as if it were one of
// the other ports. What has no room there is discarded and counted. At their end they go into the fabric's queue, where all management is handled.

import { PortKind } from "../../mad/attributes.ts";
import { Lrh } from "../../spec/ib/headers.ts";
import { PortCounter } from "../../spec/ib/port-counters.ts";
import { mayEnter, mayLeave } from "../partition-enforcement.ts";
import type { Port } from "../port.ts";
import { count, countPacket } from "../port-counts.ts";
import type { Departures } from "./departures.ts";
import type { LaneState } from "./lane-state.ts";
import { BLOCK_BYTES, blocksOf, HOST_QUEUE_BYTES } from "./limits.ts";
import { AT_SENDER, NO_PACKET } from "./packet-pool.ts";
import { laneOfLevel } from "./port-lanes.ts";

/** What a port's management may occupy besides data. */
const QUEUE_BLOCKS = HOST_QUEUE_BYTES / BLOCK_BYTES;

export class LaneManagement {
  readonly #state: LaneState;
  readonly #departures: Departures;
  /** Packets have been handed to the fabric since somebody has asked. */
  #hasHandedOn = false;

  constructor(state: LaneState, departures: Departures) {
    this.#state = state;
    this.#departures = departures;
  }

  /** Sends a packet to a unicast LID out of `egress`, an active port: of the host that it comes from, or of a switch from whose port 0 it comes. */
  send(egress: Port, packet: Uint8Array, view: DataView): void {
    const { pool } = this.#state;
    const isHost = egress.kind === PortKind.CA;
    const blocks = blocksOf(packet.length);
    const vl = laneOfLevel(egress.slToVlFrom(0), Lrh.sl.get(view, 0));
    const origin = isHost ? undefined : egress.node.ports[0];
    const base = origin === undefined ? undefined : this.#state.lanesOf(origin);
    const hasRoom =
      base === undefined
        ? this.#state.lanesOf(egress).blocks[vl]! + blocks <= 2 * QUEUE_BLOCKS
        : base.buffered[vl]! + blocks <= QUEUE_BLOCKS;
    const slot = hasRoom && pool.fits(packet.length) ? pool.take(0) : NO_PACKET;
    if (slot === NO_PACKET) {
      count(egress, PortCounter.xmitDiscards);
      return;
    }
    // Ports of switches count what leaves when it does.
    if (isHost) countPacket(egress, view, "xmit");
    pool.memory.bytes.set(packet, pool.at(slot));
    pool.length[slot] = packet.length;
    pool.blocks[slot] = blocks;
    pool.hops[slot] = 0;
    pool.isManagement[slot] = 1;
    pool.heldBy[slot] = base?.index ?? AT_SENDER;
    if (base !== undefined) {
      pool.heldVl[slot] = vl;
      base.buffered[vl]! += blocks;
    }
    this.#departures.enqueue(egress, 0, slot);
  }

  /** The packet has arrived at `port`, where its own node takes it. */
  handOn(port: Port, slot: number): void {
    const { pool, fabric } = this.#state;
    const at = pool.at(slot);
    const packet = new Uint8Array(pool.memory.bytes.subarray(at, at + pool.length[slot]!));
    packet[0] = (pool.vl[slot]! << 4) | (packet[0]! & 0xf);
    fabric.arriveFromLanes(port, packet);
    this.#state.drop(slot);
    this.#hasHandedOn = true;
  }

  /** Whether the fabric has been given something to do since the last call. */
  takeHandedOn(): boolean {
    const hasHandedOn = this.#hasHandedOn;
    this.#hasHandedOn = false;
    return hasHandedOn;
  }

  /** Partition enforcement of a switch, which for data is the hosts' own (10.9.4). False, and counted, if the packet ends here. */
  mayPass(ingress: Port, egress: Port, slot: number): boolean {
    const { memory, length } = this.#state.pool;
    const view = new DataView(memory.view.buffer, memory.view.byteOffset + this.#state.pool.at(slot), length[slot]!);
    if (!mayEnter(ingress, view)) count(ingress, PortCounter.rcvConstraintErrors);
    else if (mayLeave(egress, view)) return true;
    else count(egress, PortCounter.xmitConstraintErrors);
    return false;
  }
}
