// Where an HCA's packets enter the lanes: has the shape of the transport's `PacketLane` (the two rooms do not import each other). The queue of each
// lane is bounded; who finds it full waits until it is half empty.

import type { Memory } from "../../base/bytes.ts";
import type { CaPort } from "../ca-port.ts";
import { LANE_COUNT } from "./arbiter.ts";
import { BLOCK_BYTES, blocksOf, HOST_QUEUE_BYTES } from "./limits.ts";
import { NO_PACKET } from "./packet-pool.ts";
import { laneOfLevel, type PortLanes } from "./port-lanes.ts";
import type { VirtualLanes } from "./virtual-lanes.ts";

const QUEUE_BLOCKS = HOST_QUEUE_BYTES / BLOCK_BYTES;

export class LaneOutlet {
  readonly port: CaPort;
  /** Whoever finds no room is to wait until there is some. */
  readonly makesSendersWait = true;
  readonly memory: Memory;
  readonly #net: VirtualLanes;
  /** Room for the packet in the making. */
  #slot = NO_PACKET;
  #bytes = 0;
  #dlid = 0;
  #delay = 0;
  /** Virtual lane of the packet in the making. */
  vl = 0;
  /** Lanes where somebody found no room. */
  readonly #isFull = new Uint8Array(LANE_COUNT);

  constructor(net: VirtualLanes, port: CaPort) {
    this.port = port;
    this.memory = net.memory;
    this.#net = net;
  }

  get at(): number {
    return this.#net.pool.at(this.#slot);
  }

  /** Makes room for a packet of `bytes` of service level `sl`, with an inter-packet delay (static-rates.ts); false if there is none now. */
  reserve(bytes: number, sl = 0, dlid = 0, delay = 0): boolean {
    const { pool, staticRates } = this.#net;
    if (delay > 0 && !staticRates.hasRoom(this.port, dlid)) return false;
    const lanes = this.#net.lanesOf(this.port);
    const vl = laneOfLevel(this.port.slToVlFrom(0), sl);
    const isFull = delay === 0 && lanes.blocks[vl]! + blocksOf(bytes) > QUEUE_BLOCKS;
    if (!isFull && this.#slot === NO_PACKET && pool.fits(bytes)) this.#slot = pool.take();
    if (isFull || this.#slot === NO_PACKET) {
      this.#isFull[vl] = 1;
      return false;
    }
    this.#bytes = bytes;
    this.#dlid = dlid;
    this.#delay = delay;
    this.vl = vl;
    return true;
  }

  /** Sends what was written there. */
  commit(_tag: number): void {
    const { pool } = this.#net;
    const slot = this.#slot;
    this.#slot = NO_PACKET;
    pool.length[slot] = this.#bytes;
    pool.blocks[slot] = blocksOf(this.#bytes);
    if (this.#delay > 0) this.#net.staticRates.send(this.port, this.#dlid, this.#delay, slot);
    else this.#net.sendFromHost(this.port, slot);
  }

  /** A packet of lane `vl` begins to leave. */
  noteRoom(lanes: PortLanes, vl: number): void {
    if (this.#isFull[vl] === 0 || lanes.blocks[vl]! > QUEUE_BLOCKS / 2) return;
    this.#isFull[vl] = 0;
    this.#net.noteRoom();
  }
}
