// Packets of data hop by hop: through the lanes of every port on their way, at the rate of its links, held back where the next buffer is full.
// IBA vol 1, 7.6 (virtual lanes), 7.9 (flow control), 18.2.5 (switches); why it is as it is: decision 15.
//
// It is a simulation of events in time, told what time it is, and does nothing between two calls of `take`. A packet is received as a whole
// before it is sent on. It occupies the receive buffer that it came into until it has left the next port; only then does the sender before it
// get its credits back. So a full buffer holds its sender back, that one's buffers fill, and so on up to the hosts: nothing is lost, unless a
// packet waits longer than the lifetimes that the subnet manager has set.

import { PortKind } from "../../mad/attributes.ts";
import { isMulticastLid, isUnicastLid } from "../../spec/ib/numbers.ts";
import type { CaPort } from "../ca-port.ts";
import type { Fabric } from "../fabric.ts";
import { MAX_HOPS } from "../limits.ts";
import { crossCable, LOST } from "../link-faults.ts";
import type { Port } from "../port.ts";
import { countRelayError } from "../port-counts.ts";
import { outputPort } from "../trace.ts";
import { Departures } from "./departures.ts";
import { eventKind, eventPlace, type LaneCounts, LaneEvent, LaneState } from "./lane-state.ts";
import { BLOCK_BYTES, DEFAULT_BUFFER_BYTES, EVENTS_PER_TURN, MAX_BUFFER_BYTES, MIN_BUFFER_BYTES } from "./limits.ts";
import { LaneManagement } from "./management.ts";
import { LaneOutlet } from "./outlet.ts";
import { AT_SENDER, NO_PACKET, type PacketPool } from "./packet-pool.ts";
import type { PortLanes } from "./port-lanes.ts";
import { Replication } from "./replication.ts";
import { StaticRates } from "./static-rates.ts";

export interface LanesOptions {
  /** Receive buffer of a port for each lane, in bytes. */
  readonly bufferBytes?: number | undefined;
  /**
   * How far events may lie behind the clock before the lanes' time stands still instead: for a clock that goes on while nobody has a turn, neither the
   * engine nor the guests, who would find that their share of the time has passed without them. Never if left out.
   */
  readonly maxLagNs?: number | undefined;
}

/** What `take` answers instead of an end port: nothing is due; or there is more to do, let others have their turn first. */
const NOTHING_DUE = -1;
const MORE_TO_DO = -2;

export class VirtualLanes {
  readonly #state: LaneState;
  readonly #departures: Departures;
  readonly #replication: Replication;
  readonly #management: LaneManagement;
  readonly staticRates: StaticRates;
  readonly #outlets: (LaneOutlet | undefined)[] = [];
  /** End ports whose HCA takes again what it had left lying. */
  readonly #thawed: PortLanes[] = [];
  /** The packet that `take` has found. */
  #current = NO_PACKET;
  #roomEpoch = 0;
  readonly #maxLagNs: number;
  /** What the time in the lanes is behind the clock. */
  #skewNs = 0;

  /** @throws if the buffers are too small for a packet, or larger than credits can say */
  constructor(fabric: Fabric, { bufferBytes = DEFAULT_BUFFER_BYTES, maxLagNs = Number.POSITIVE_INFINITY }: LanesOptions = {}) {
    if (!(bufferBytes >= MIN_BUFFER_BYTES && bufferBytes <= MAX_BUFFER_BYTES))
      throw new Error(
        `expected receive buffers of ${MIN_BUFFER_BYTES} to ${MAX_BUFFER_BYTES} bytes for each lane, got ${bufferBytes}`,
      );
    this.#maxLagNs = maxLagNs;
    this.#state = new LaneState(fabric, Math.floor(bufferBytes / BLOCK_BYTES));
    this.#departures = new Departures(this.#state, (lanes, vl) => this.#outlets[lanes.port.index]?.noteRoom(lanes, vl));
    this.#replication = new Replication(this.#state, this.#departures);
    this.#management = new LaneManagement(this.#state, this.#departures);
    this.staticRates = new StaticRates(
      this.#state,
      (port, slot) => this.sendFromHost(port, slot),
      () => this.noteRoom(),
    );
  }

  get counts(): LaneCounts {
    return this.#state.counts;
  }

  get bufferBlocks(): number {
    return this.#state.bufferBlocks;
  }

  get pool(): PacketPool {
    return this.#state.pool;
  }

  /** Packets under way. */
  get length(): number {
    return this.pool.used;
  }

  /** Changes when a host's queue that was full has room again. */
  get roomEpoch(): number {
    return this.#roomEpoch + this.pool.roomEpoch;
  }

  noteRoom(): void {
    this.#roomEpoch++;
  }

  /** When `take` has something to do; Infinity if never. */
  nextDeadlineNs(): number {
    const { ready, timeNs, events } = this.#state;
    return this.#skewNs + (ready.length > 0 || this.#thawed.length > 0 ? timeNs : events.dueNs);
  }

  /** Where packets of the end port with number `index` leave. */
  outlet(index: number): LaneOutlet | undefined {
    const port = this.#state.fabric.findCaPort(index);
    if (port === undefined) return undefined;
    const known = this.#outlets[index];
    if (known?.port === port) return known;
    const outlet = new LaneOutlet(this, port);
    this.#outlets[index] = outlet;
    return outlet;
  }

  lanesOf(port: Port): PortLanes {
    return this.#state.lanesOf(port);
  }

  /** A host sends the packet in `slot`, whose bytes are there. */
  sendFromHost(port: CaPort, slot: number): void {
    this.pool.heldBy[slot] = AT_SENDER;
    this.pool.hops[slot] = 0;
    if (isMulticastLid(this.#state.dlidOf(slot))) this.#replication.number(slot);
    this.#departures.enqueue(port, 0, slot);
  }

  // --- what the fabric says

  /** A management datagram to a unicast LID leaves `egress`, of a host or from a switch's port 0. */
  sendManagement(egress: Port, packet: Uint8Array, view: DataView): void {
    const state = this.#state;
    // While nothing was under way, nobody has said what time it is.
    if (state.ready.length === 0 && state.events.length === 0)
      state.timeNs = Math.max(state.timeNs, state.fabric.nowNs - this.#skewNs);
    this.#management.send(egress, packet, view);
  }

  /** The link at a port has gone down or come up. */
  relinked(lanes: PortLanes): void {
    this.#departures.relink(lanes);
    this.#roomEpoch++;
  }

  /** An HCA goes on. */
  thawed(port: Port): void {
    if (port.lanes === undefined) return;
    if (port.lanes.firstHeld !== NO_PACKET) this.#thawed.push(port.lanes);
    this.#state.getReady(port.lanes);
  }

  /** Counts what ports have waited for credits up to this moment, for somebody who is about to read it. */
  countWaits(ports: readonly (Port | undefined)[]): void {
    for (const port of ports) if (port?.lanes !== undefined) this.#departures.countWait(port.lanes);
  }

  // --- packets that have arrived

  /**
   * Lets time pass until a packet arrives at an end port: its number; `memory`, `at` and `byteLength` say which packet, until `release`. Else
   * NOTHING_DUE at `clockNs`, or MORE_TO_DO.
   */
  take(clockNs: number): number {
    const state = this.#state;
    const lateNs = clockNs - this.#skewNs - state.events.dueNs;
    if (lateNs > this.#maxLagNs) this.#skewNs += lateNs - this.#maxLagNs;
    const nowNs = clockNs - this.#skewNs;
    for (let work = 0; work < EVENTS_PER_TURN; work += 1 + this.#replication.takeMade()) {
      const ready = state.ready.pop();
      if (ready !== undefined) {
        ready.isReady = false;
        this.#departures.send(ready);
        continue;
      }
      const end = this.#takeThawed();
      if (end >= 0) return end;
      const { dueNs } = state.events;
      state.timeNs = Math.max(state.timeNs, Math.min(nowNs, dueNs));
      if (dueNs > nowNs) return this.#management.takeHandedOn() ? MORE_TO_DO : NOTHING_DUE;
      const arrived = this.#handle(state.events.shift()!);
      if (arrived >= 0) return arrived;
    }
    return MORE_TO_DO;
  }

  get memory(): PacketPool["memory"] {
    return this.pool.memory;
  }
  get at(): number {
    return this.pool.at(this.#current);
  }
  get byteLength(): number {
    return this.pool.length[this.#current]!;
  }

  /** The packet has been taken: its buffer is free. */
  release(): void {
    this.#state.drop(this.#current);
    this.#current = NO_PACKET;
  }

  /** Returns the end port where a packet has arrived, or -1. */
  #handle(event: number): number {
    const state = this.#state;
    const place = eventPlace(event);
    switch (eventKind(event)) {
      case LaneEvent.SENT:
        return this.#sent(state.portAt(place));
      case LaneEvent.ARRIVED:
        return this.#arrive(place);
      case LaneEvent.CREDIT:
        state.creditArrives(place);
        return NOTHING_DUE;
      case LaneEvent.SPACE:
        this.staticRates.spaceEnds(place);
        return NOTHING_DUE;
      default:
        this.#departures.timerEnds(state.portAt(place));
        return NOTHING_DUE;
    }
  }

  /** The last bit of a packet has left a port. */
  #sent(lanes: PortLanes): number {
    const state = this.#state;
    const { pool } = state;
    const slot = lanes.sending;
    lanes.sending = NO_PACKET;
    state.leaveBuffer(slot);
    state.getReady(lanes);
    const { link } = lanes.port;
    if (link === undefined || pool.generation[slot] !== lanes.generation) {
      this.#departures.discardInactive(lanes, slot);
      return NOTHING_DUE;
    }
    const peer = link.other(lanes.port);
    const delayNs = crossCable(link, peer, state.fabric.random);
    if (delayNs === LOST) {
      // It occupies no buffer there, which a receiver learns from the next flow control packet (7.9.4.2, FCTBS).
      state.giveCredit(lanes, pool.vl[slot]!, pool.blocks[slot]!);
      pool.release(slot);
      return NOTHING_DUE;
    }
    const target = state.lanesOf(peer);
    pool.heldBy[slot] = target.index;
    pool.generation[slot] = target.generation;
    if (delayNs === 0) return this.#arrive(slot);
    state.events.addedDueNs = state.timeNs + delayNs;
    state.plan(LaneEvent.ARRIVED, slot);
    return NOTHING_DUE;
  }

  /** A packet comes into the receive buffer of `heldBy`; an end port's number if that is one that takes it. */
  #arrive(slot: number): number {
    const { pool } = this;
    const lanes = this.#state.portAt(pool.heldBy[slot]!);
    const { port } = lanes;
    if (pool.generation[slot] !== lanes.generation) {
      pool.heldBy[slot] = AT_SENDER;
      this.#unroutable(slot);
      return NOTHING_DUE;
    }
    const vl = pool.vl[slot]!;
    pool.heldVl[slot] = vl;
    lanes.buffered[vl]! += pool.blocks[slot]!;
    if (!port.canReceiveData) this.#unroutable(slot);
    else if (port.kind !== PortKind.CA) this.#forward(port, slot);
    else {
      lanes.hold(pool, slot);
      if (!port.isFrozen) return this.#takeFrom(lanes);
    }
    return NOTHING_DUE;
  }

  #forward(port: Port, slot: number): void {
    const { node } = port;
    const { pool } = this;
    const dlid = this.#state.dlidOf(slot);
    const isManagement = pool.isManagement[slot] === 1;
    if (isManagement && node.ports[0]?.ownsLid(dlid) === true) {
      this.#management.handOn(port, slot);
      return;
    }
    this.#state.countPacket(port, "rcv", slot);
    if (node.switch !== undefined && isMulticastLid(dlid)) {
      this.#replication.replicate(port, node.switch, slot, dlid);
      return;
    }
    const out = node.switch !== undefined && isUnicastLid(dlid) ? outputPort(node.switch, dlid) : 0;
    const egress = node.ports[out];
    const hops = pool.hops[slot]! + 1;
    const isLoop = egress === port || hops > MAX_HOPS;
    if (out === 0 || egress === undefined || isLoop) {
      countRelayError(port, isLoop);
      this.#unroutable(slot);
      return;
    }
    if (isManagement && !this.#management.mayPass(port, egress, slot)) {
      this.#state.drop(slot);
      return;
    }
    pool.hops[slot] = hops;
    this.#departures.enqueue(egress, port.number, slot);
  }

  #takeThawed(): number {
    const lanes = this.#thawed.at(-1);
    if (lanes === undefined) return NOTHING_DUE;
    while (lanes.firstHeld !== NO_PACKET && !lanes.port.isFrozen) {
      const end = this.#takeFrom(lanes);
      if (end >= 0) return end;
    }
    this.#thawed.pop();
    return NOTHING_DUE;
  }

  /** Takes the first packet that a host has not taken yet: its number, or NOTHING_DUE if it is management. */
  #takeFrom(lanes: PortLanes): number {
    const slot = lanes.takeHeld(this.pool);
    if (this.pool.isManagement[slot] === 1) {
      this.#management.handOn(lanes.port, slot);
      return NOTHING_DUE;
    }
    this.#current = slot;
    // The lane that it came by, for whoever looks at the packet (7.7.1).
    const byte = this.memory.bytes[this.at]!;
    this.memory.bytes[this.at] = (this.pool.vl[this.#current]! << 4) | (byte & 0xf);
    return lanes.port.index;
  }

  #unroutable(slot: number): void {
    this.counts.unroutable++;
    this.#state.drop(slot);
  }
}
