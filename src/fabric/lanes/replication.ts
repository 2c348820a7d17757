// Multicast packets in lanes: a copy for every port that the forwarding table names but the one it came by. IBA vol 1, 18.2.4.3.
//
// Each copy waits in the queue of its own lane for credits of its own. What it was copied from stays in the receive buffer that it came into until
// the last copy has left or is lost, so the slowest branch of a tree holds up the others once that buffer is full.
//
// Trees are the subnet manager's to make. A switch hands a packet on only once, as it does with multicast that goes beside the lanes, so tables
// that lead round in a circle cost one copy for each cable of it.

import type { SwitchAttributes } from "../../mad/attributes.ts";
import { PortCounter } from "../../spec/ib/port-counters.ts";
import { MFT_POSITION_PORTS } from "../../spec/mad/numbers.ts";
import { MAX_HOPS, MAX_NODE_PORTS } from "../limits.ts";
import type { FabricNode } from "../node.ts";
import type { Port } from "../port.ts";
import { count, countRelayError } from "../port-counts.ts";
import type { Departures } from "./departures.ts";
import type { LaneState } from "./lane-state.ts";
import { MULTICAST_REMEMBERED } from "./limits.ts";
import { NO_PACKET } from "./packet-pool.ts";

const REMEMBERED_MASK = MULTICAST_REMEMBERED - 1;

export class Replication {
  readonly #state: LaneState;
  readonly #departures: Departures;
  /** Numbers of the packets that switches have handed on, each at its number's place. */
  readonly #seen = new WeakMap<FabricNode, Int32Array>();
  /** Number of the last multicast packet that a host has sent; 0 is none. */
  #last = 0;
  readonly #egress = new Uint8Array(MAX_NODE_PORTS + 1);
  /** Copies made since somebody has asked. */
  #made = 0;

  constructor(state: LaneState, departures: Departures) {
    this.#state = state;
    this.#departures = departures;
  }

  /** Copies made since the last call: each is as much work as an event. */
  takeMade(): number {
    const made = this.#made;
    this.#made = 0;
    return made;
  }

  /** A host sends a multicast packet: its number, which all copies have. */
  number(slot: number): void {
    this.#last = (this.#last + 1) | 0 || 1;
    this.#state.pool.multicastNumber[slot] = this.#last;
  }

  /** The packet in `slot` has come to a switch by `ingress`. */
  replicate(ingress: Port, tables: SwitchAttributes, slot: number, dlid: number): void {
    const { pool } = this.#state;
    const hops = pool.hops[slot]! + 1;
    if (hops > MAX_HOPS || this.#isSeen(ingress.node, pool.multicastNumber[slot]!)) {
      countRelayError(ingress, true);
      this.#state.drop(slot);
      return;
    }
    const { node } = ingress;
    const egressCount = this.#findEgress(tables, ingress.number, node.ports.length, dlid);
    pool.hops[slot] = hops;
    if (egressCount === 1) {
      this.#departures.enqueue(node.ports[this.#egress[0]!]!, ingress.number, slot);
      return;
    }
    // One more than there are: the packet is not to go before all have been made.
    pool.copies[slot] = 1;
    for (let i = 0; i < egressCount; i++) this.#copyTo(node.ports[this.#egress[i]!]!, ingress.number, slot);
    this.#state.endCopy(slot);
  }

  #isSeen(node: FabricNode, number: number): boolean {
    let numbers = this.#seen.get(node);
    if (numbers === undefined) {
      numbers = new Int32Array(MULTICAST_REMEMBERED);
      this.#seen.set(node, numbers);
    }
    const at = number & REMEMBERED_MASK;
    if (numbers[at] === number) return true;
    numbers[at] = number;
    return false;
  }

  /** Ports that the table names, but for `ingress` and port 0, where no data go; returns how many. */
  #findEgress({ multicast }: SwitchAttributes, ingress: number, portCount: number, dlid: number): number {
    let found = 0;
    for (let position = 0; position < multicast.positions; position++) {
      let mask = multicast.maskOf(dlid, position);
      while (mask !== 0) {
        const number = position * MFT_POSITION_PORTS + (31 - Math.clz32(mask & -mask));
        mask &= mask - 1;
        if (number !== 0 && number !== ingress && number < portCount) this.#egress[found++] = number;
      }
    }
    return found;
  }

  #copyTo(egress: Port, input: number, slot: number): void {
    const { pool, counts } = this.#state;
    const copy = pool.take();
    if (copy === NO_PACKET) {
      counts.copiesLost++;
      count(egress, PortCounter.xmitDiscards);
      return;
    }
    this.#made++;
    pool.copy(slot, copy);
    this.#departures.enqueue(egress, input, copy);
  }
}
