// The fabric: nodes, links between their ports, and the queue that everything in it goes through. Management packets travel
// hop by hop; data does not travel at all for now, it asks `resolve` for the far port (trace.ts) and moves memory.
//
// Work happens in `step`, nowhere else: sending only appends to the queue, so a call into the fabric returns at once.

import { LateQueue } from "../base/late-queue.ts";
import { Random } from "../base/random.ts";
import { SMP_VL, viewOf } from "../mad/packet.ts";
import { Lrh } from "../spec/ib/headers.ts";
import { isUnicastLid, PhysState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { CaNode, type CaOptions } from "./ca-node.ts";
import type { CaPort } from "./ca-port.ts";
import type { VirtualLanes } from "./lanes/virtual-lanes.ts";
import { DEFAULT_BUDGET, MAX_QUEUED, MAX_QUEUED_DATA, MAX_QUEUED_VL15 } from "./limits.ts";
import { type Cable, Link } from "./link.ts";
import { crossCable, faultsProblem, isFaulty, type LinkCounts, type LinkFaults, LOST } from "./link-faults.ts";
import type { FabricNode } from "./node.ts";
import type { PathTraffic } from "./path-traffic.ts";
import type { Port } from "./port.ts";
import { count, countInactiveDiscard, countPacket } from "./port-counts.ts";
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

/** Faults of cables, by kind. */
export interface InjectedCounts {
  cablesPulled: number;
  /** Cables that were given loss, corruption or delay. */
  cablesSpoiled: number;
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
  /** What was done to cables on purpose. */
  readonly injected: InjectedCounts = { cablesPulled: 0, cablesSpoiled: 0 };
  /** What cables that are gone have done to packets. */
  readonly goneCounts: LinkCounts = { lost: 0, corrupted: 0, delayed: 0 };
  readonly multicastTracer: MulticastTracer = new MulticastTracer();
  /** Where data go hop by hop, if they do; elsewhere they ask `resolve` for the far port and move memory. */
  lanes: VirtualLanes | undefined = undefined;
  /** What hosts have sent and no switch has counted. */
  readonly #traffic: PathTraffic[] = [];
  readonly #nodes: Set<FabricNode> = new Set();
  readonly #byGuid: Map<bigint, FabricNode> = new Map();
  #random: Random;
  /** Links with faults. */
  #faultyCount = 0;
  /** Packets in long cables. */
  readonly #late: LateQueue<PacketDelivery> = new LateQueue();
  readonly #byLabel: Map<string, FabricNode> = new Map();
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

  /** @param random decides which packets faulty cables lose and corrupt */
  constructor(random: Random = new Random(1)) {
    this.#random = random;
  }

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

  /** From now on cables lose packets by this seed. */
  reseed(seed: number): void {
    this.#random = new Random(seed);
  }

  get random(): Random {
    return this.#random;
  }
  /** True if a link has faults: data has to ask its way for them. */
  get hasFaults(): boolean {
    return this.#faultyCount > 0;
  }

  /** Somebody has sent what switches have not counted yet. */
  noteTraffic(traffic: PathTraffic): void {
    this.#traffic.push(traffic);
  }

  /** Switches count what has gone from memory to memory: before anybody reads their counters, or before a way changes. */
  settleTraffic(): void {
    while (this.#traffic.length > 0) this.#traffic.pop()?.settle();
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

  /** Gives a node the name by which people find it. @throws if another node has it */
  nameNode(node: FabricNode, label: string): void {
    if (this.#byLabel.has(label)) throw new Error(`there is a node named ${label} already`);
    this.#byLabel.delete(node.label);
    node.label = label;
    this.#byLabel.set(label, node);
  }

  /** The node with this name. */
  findLabel(label: string): FabricNode | undefined {
    return this.#byLabel.get(label);
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
    if (this.#byLabel.get(node.label) === node) this.#byLabel.delete(node.label);
    if (this.#byGuid.get(node.guid) === node) this.#byGuid.delete(node.guid);
    this.bumpEpoch();
  }

  /** Joins two free ports by a cable that is plugged in, or lies there. */
  connect(a: Port, b: Port, cable?: Cable, isPlugged = true): Link {
    if (a === b || a.link !== undefined || b.link !== undefined) throw new Error("invariant: connect needs two free ports");
    const link = new Link(a, b, cable, isPlugged);
    this.#links.add(link);
    this.bumpEpoch();
    link.train();
    return link;
  }

  /**
   * Says what is wrong with a cable from now on, for management packets and data alike; undefined mends it.
   * @throws if a value is out of bounds
   */
  setFaults(link: Link, faults: LinkFaults | undefined): void {
    const problem = faults === undefined ? undefined : faultsProblem(faults);
    if (problem !== undefined) throw new Error(problem);
    if (!this.#links.has(link)) throw new Error("invariant: faults of a link of this fabric");
    if (link.faults !== undefined) this.#faultyCount--;
    link.faults = faults !== undefined && isFaulty(faults) ? faults : undefined;
    if (link.faults !== undefined) this.#faultyCount++;
    this.bumpEpoch();
  }

  disconnect(link: Link): void {
    this.setFaults(link, undefined);
    for (const name of ["lost", "corrupted", "delayed"] as const) this.goneCounts[name] += link.counts[name];
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
    this.#enqueueLate(nowNs);
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
    this.#dueNs = this.#earliestNs();
    return done;
  }

  /** When `step` has something to do: now if packets are queued, Infinity if nothing is pending. Asks nobody: it is asked before every sleep. */
  nextDeadlineNs(): number {
    return Math.max(this.#dueNs, this.#nowNs);
  }

  #earliestNs(): number {
    if (this.#queue.length > 0) return this.#nowNs;
    let earliestNs = this.#late.dueNs;
    for (const node of this.#watched) earliestNs = Math.min(earliestNs, node.nextDeadlineNs());
    return earliestNs;
  }

  // --- packets

  /**
   * `port` sends `packet` over its link. The packet is the fabric's from now on.
   * @param visited switches a multicast packet has been through.
   * @param view of the packet, if there is one already
   */
  transmitFrom(
    port: Port,
    packet: Uint8Array,
    hops: number,
    visited: Set<FabricNode> | undefined,
    view: DataView = viewOf(packet),
  ): void {
    const isVl15 = Lrh.vl.get(view, 0) === SMP_VL;
    const { link } = port;
    if (link === undefined || !port.isLinkUp || !(isVl15 || port.isActive)) {
      countInactiveDiscard(port);
      return;
    }
    if (this.lanes !== undefined && !isVl15 && isUnicastLid(Lrh.dlid.get(view, 0))) {
      port.observer?.(packet, true);
      this.lanes.sendManagement(port, packet, view);
      return;
    }
    countPacket(port, view, "xmit");
    port.observer?.(packet, true);
    const peer = link.other(port);
    const delayNs = crossCable(link, peer, this.#random);
    if (delayNs === LOST) return;
    if (link.impairment?.(packet, port) === true) {
      link.note("lost");
      return;
    }
    if (isVl15 ? peer.queuedVl15 >= MAX_QUEUED_VL15 : peer.queuedData >= MAX_QUEUED_DATA) {
      // VL 15 has no flow control and is lost at the receiver; other lanes wait for credits and are lost at the sender
      if (isVl15) count(peer, PortCounter.vl15Dropped);
      else count(port, PortCounter.xmitDiscards);
      this.counts.overflowed++;
      return;
    }
    const delivery: PacketDelivery = { kind: "packet", port: peer, packet, view, isVl15, isLocal: false, hops, visited };
    if (delayNs > 0) this.#delay(delivery, delayNs);
    else this.#enqueue(delivery);
  }

  /** A management packet has come to `port` through its lanes. */
  arriveFromLanes(port: Port, packet: Uint8Array): void {
    if (port.queuedData >= MAX_QUEUED_DATA) {
      this.counts.overflowed++;
      return;
    }
    const view = viewOf(packet);
    this.#enqueue({ kind: "packet", port, packet, view, isVl15: false, isLocal: false, hops: 0, visited: undefined });
  }

  /** Packets come out of their long cables. */
  #enqueueLate(nowNs: number): void {
    while (this.#late.dueNs <= nowNs) {
      const delivery = this.#late.shift();
      if (delivery !== undefined) this.#enqueue(delivery);
    }
  }

  /** A long cable has room for as many packets as the queue behind it. */
  #delay(delivery: PacketDelivery, delayNs: number): void {
    if (this.#late.length >= MAX_QUEUED) {
      this.counts.overflowed++;
      return;
    }
    this.#late.push(this.#nowNs + delayNs, delivery);
    this.#dueNs = Math.min(this.#dueNs, this.#late.dueNs);
  }

  /**
   * `port` sends `packet` to itself: a CA to its own LID, a switch's port 0 to wherever its tables say.
   * @param view of the packet, if there is one already
   */
  enqueueLocal(port: Port, packet: Uint8Array, isVl15: boolean, view: DataView = viewOf(packet)): void {
    if (isVl15 ? port.queuedVl15 >= MAX_QUEUED_VL15 : port.queuedData >= MAX_QUEUED_DATA) {
      this.counts.overflowed++;
      return;
    }
    port.observer?.(packet, true);
    this.#enqueue({ kind: "packet", port, packet, view, isVl15, isLocal: true, hops: 0, visited: undefined });
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
      countPacket(port, delivery.view, "rcv");
    }
    this.counts.delivered++;
    port.observer?.(packet, false);
    port.node.receive(delivery);
  }
}
