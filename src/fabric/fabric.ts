// The fabric: nodes, links between their ports, and the queue that everything in it goes through. Management packets travel
// hop by hop; data does not travel at all for now, it asks `resolve` for the far port (trace.ts) and moves memory.
//
// Work happens in `step`, nowhere else: sending only appends to the queue, so a call into the fabric returns at once.

import { SMP_VL } from "../mad/packet.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { isMulticastLid, PhysState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { CaNode, type CaOptions } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import { DEFAULT_BUDGET, MAX_QUEUED_DATA, MAX_QUEUED_VL15 } from "./limits.ts";
import { type Cable, Link } from "./link.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import { DeliveryQueue, type PacketDelivery } from "./queue.ts";
import { SwitchNode, type SwitchOptions } from "./switch-node.ts";
import { MulticastTracer } from "./trace.ts";
import { Trunk, type TrunkCarrier } from "./trunk.ts";

/** Packets that ended nowhere, by reason; each port's own counters say more. */
export interface FabricCounts {
  delivered: number;
  /** Refused at transmit: not a well-formed packet. */
  malformed: number;
  /** The queue was full. */
  overflowed: number;
  /** Nobody behind the port, or not its LID. */
  unclaimed: number;
  /** The port could not take it in its state. */
  refused: number;
  /** Directed-route SMPs dropped by the rules of 14.2.2. */
  badDirectedRoutes: number;
}

export class Fabric {
  readonly counts: FabricCounts = {
    delivered: 0,
    malformed: 0,
    overflowed: 0,
    unclaimed: 0,
    refused: 0,
    badDirectedRoutes: 0,
  };
  readonly multicastTracer: MulticastTracer = new MulticastTracer();
  readonly #nodes: Set<FabricNode> = new Set();
  readonly #byGuid: Map<bigint, FabricNode> = new Map();
  /** Switches with an agent or a trap to repeat. */
  readonly #watched: Set<SwitchNode> = new Set();
  readonly #links: Set<Link> = new Set();
  /** By `Port.index`; freed numbers are used again. */
  readonly #caPorts: (CaPort | undefined)[] = [];
  #freeIndexes: number[] = [];
  #indexCount = 0;
  readonly #queue: DeliveryQueue = new DeliveryQueue();
  #epoch = 0;
  /** Before then `step` has nothing to do. */
  #dueNs = 0;
  #nowNs = 0;

  /** Changes whenever a forwarding table, a LID, a state or a link changes. */
  get epoch(): number {
    return this.#epoch;
  }
  /** The time `step` was last told. */
  get nowNs(): number {
    return this.#nowNs;
  }
  get nodes(): ReadonlySet<FabricNode> {
    return this.#nodes;
  }
  get links(): ReadonlySet<Link> {
    return this.#links;
  }
  get queued(): number {
    return this.#queue.length;
  }

  bumpEpoch(): void {
    this.#epoch++;
  }

  addSwitch(options: SwitchOptions): SwitchNode {
    const node = new SwitchNode(this, options);
    this.#add(node);
    return node;
  }

  addCa(options: CaOptions): CaNode {
    const node = new CaNode(this, options, () => this.#freeIndexes.pop() ?? this.#indexCount++);
    this.#add(node);
    for (const port of node.ports) if (port !== undefined) this.#caPorts[port.index] = port;
    return node;
  }

  /** Adds the end of a cable that leads to another engine; `lane` is the number of that way. */
  addTrunk(guid: bigint, description: string, lane: number, carrier: TrunkCarrier): Trunk {
    const trunk = new Trunk(this, guid, description, lane, carrier);
    this.#add(trunk);
    return trunk;
  }

  #add(node: FabricNode): void {
    this.#nodes.add(node);
    this.#byGuid.set(node.guid, node);
  }

  /** The node with this GUID. */
  findNode(guid: bigint): FabricNode | undefined {
    return this.#byGuid.get(guid);
  }

  /** Takes a node and its links away. */
  removeNode(node: FabricNode): void {
    for (const port of node.ports) if (port?.link !== undefined) this.disconnect(port.link);
    if (node instanceof CaNode) {
      for (const port of node.ports) {
        if (port === undefined) continue;
        port.attach(undefined);
        this.#caPorts[port.index] = undefined;
        this.#freeIndexes.push(port.index);
      }
    }
    if (node instanceof SwitchNode) this.#watched.delete(node);
    this.#nodes.delete(node);
    if (this.#byGuid.get(node.guid) === node) this.#byGuid.delete(node.guid);
    this.bumpEpoch();
  }

  /** Joins two free ports by a cable. */
  connect(a: Port, b: Port, cable?: Cable): Link {
    if (a === b || a.link !== undefined || b.link !== undefined) throw new Error("invariant: connect needs two free ports");
    const link = new Link(a, b, cable);
    this.#links.add(link);
    this.bumpEpoch();
    link.train();
    return link;
  }

  disconnect(link: Link): void {
    link.goDown();
    link.a.link = undefined;
    link.b.link = undefined;
    this.#links.delete(link);
    this.bumpEpoch();
  }

  /** The CA port with this index. */
  findCaPort(index: number): CaPort | undefined {
    return this.#caPorts[index];
  }

  /** The node has something to do in `step`. */
  watch(node: SwitchNode): void {
    this.#dueNs = 0;
    this.#watched.add(node);
  }

  // --- time and work

  /**
   * Handles queued packets and what is due, at most `budget` packets.
   * @returns packets handled.
   */
  step(nowNs: number, budget: number = DEFAULT_BUDGET): number {
    this.#nowNs = nowNs;
    if (nowNs < this.#dueNs) return 0;
    let done = 0;
    do {
      while (done < budget) {
        const delivery = this.#queue.shift();
        if (delivery === undefined) break;
        done++;
        if (delivery.kind === "event") delivery.port.deliverEvent(delivery.isActive);
        else this.#deliver(delivery);
      }
      for (const node of this.#watched) {
        node.step(nowNs);
        if (node.nextDeadlineNs() === Number.POSITIVE_INFINITY) this.#watched.delete(node);
      }
    } while (this.#queue.length > 0 && done < budget);
    this.#dueNs = this.nextDeadlineNs();
    return done;
  }

  /** When `step` has something to do: now if packets are queued, Infinity if nothing is pending. */
  nextDeadlineNs(): number {
    if (this.#queue.length > 0) return this.#nowNs;
    let earliestNs = Number.POSITIVE_INFINITY;
    for (const node of this.#watched) earliestNs = Math.min(earliestNs, node.nextDeadlineNs());
    return earliestNs;
  }

  // --- packets

  /**
   * `port` sends `packet` over its link. The packet is the fabric's from now on.
   * @param visited switches a multicast packet has been through.
   */
  transmitFrom(port: Port, packet: Uint8Array, hops: number, visited: Set<FabricNode> | undefined): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    const isVl15 = Lrh.vl.get(view, 0) === SMP_VL;
    const { link } = port;
    if (link === undefined || !port.isLinkUp || !(isVl15 || port.isActive)) {
      count(port, PortCounter.xmitDiscards);
      return;
    }
    countPacket(port, view, "xmit");
    port.observer?.(packet, true);
    if (link.impairment?.(packet, port) === true) {
      link.lost++;
      return;
    }
    const peer = link.other(port);
    if (isVl15 ? peer.queuedVl15 >= MAX_QUEUED_VL15 : peer.queuedData >= MAX_QUEUED_DATA) {
      // VL 15 has no flow control and is lost at the receiver; other lanes wait for credits and are lost at the sender
      if (isVl15) count(peer, PortCounter.vl15Dropped);
      else count(port, PortCounter.xmitDiscards);
      this.counts.overflowed++;
      return;
    }
    this.#enqueue({ kind: "packet", port: peer, packet, isVl15, isLocal: false, hops, visited });
  }

  /** `port` sends `packet` to itself: a CA to its own LID, a switch's port 0 to wherever its tables say. */
  enqueueLocal(port: Port, packet: Uint8Array, isVl15: boolean): void {
    if (isVl15 ? port.queuedVl15 >= MAX_QUEUED_VL15 : port.queuedData >= MAX_QUEUED_DATA) {
      this.counts.overflowed++;
      return;
    }
    port.observer?.(packet, true);
    this.#enqueue({ kind: "packet", port, packet, isVl15, isLocal: true, hops: 0, visited: undefined });
  }

  enqueueEvent(port: CaPort, isActive: boolean): void {
    this.#dueNs = 0;
    this.#queue.pushEvent({ kind: "event", port, isActive });
  }

  #enqueue(delivery: PacketDelivery): void {
    this.#dueNs = 0;
    if (!this.#queue.push(delivery)) {
      this.counts.overflowed++;
      return;
    }
    if (delivery.isVl15) delivery.port.queuedVl15++;
    else delivery.port.queuedData++;
  }

  #deliver(delivery: PacketDelivery): void {
    const { port, packet } = delivery;
    if (delivery.isVl15) port.queuedVl15--;
    else port.queuedData--;
    if (!delivery.isLocal) {
      if (port.physState !== PhysState.LINK_UP || !(delivery.isVl15 || port.canReceiveData)) {
        this.counts.refused++;
        return;
      }
      countPacket(port, new DataView(packet.buffer, packet.byteOffset, packet.byteLength), "rcv");
    }
    this.counts.delivered++;
    port.observer?.(packet, false);
    port.node.receive(delivery);
  }
}

function count(port: Port, slot: number, by = 1): void {
  port.counters[slot] = (port.counters[slot] ?? 0) + by;
}

const COUNTERS = {
  xmit: {
    data: PortCounter.xmitData,
    packets: PortCounter.xmitPackets,
    unicast: PortCounter.unicastXmitPackets,
    multicast: PortCounter.multicastXmitPackets,
  },
  rcv: {
    data: PortCounter.rcvData,
    packets: PortCounter.rcvPackets,
    unicast: PortCounter.unicastRcvPackets,
    multicast: PortCounter.multicastRcvPackets,
  },
} as const;

/** Counts a packet as 16.1.3.5 does: words from the LRH to the ICRC. */
function countPacket(port: Port, view: DataView, direction: "xmit" | "rcv"): void {
  const slots = COUNTERS[direction];
  count(port, slots.data, Lrh.packetLength.get(view, 0));
  count(port, slots.packets);
  count(port, isMulticastLid(Lrh.dlid.get(view, 0)) ? slots.multicast : slots.unicast);
}
