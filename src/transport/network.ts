// All HCA ports that this engine carries messages between: the end ports of a fabric by their number.

import type { LaneNet } from "./packets/lane-net.ts";
import { LatePackets } from "./packets/late-packets.ts";
import { Loopback } from "./packets/loopback.ts";
import type { PacketInlet } from "./packets/receive.ts";
import { receiveFromLanes, receiveLate, receivePackets } from "./packets/receive.ts";
import type { PacketLane } from "./packets/ring.ts";
import { type PacketSink, PortTap } from "./packets/tap.ts";
import type { CompiledRequests } from "./plain/compiled-requests.ts";
import type { AdapterPort } from "./port.ts";

/**
 * How messages between ports of one engine go: "auto", as packets where a port is tapped or a cable has faults, and from memory to memory
 * elsewhere; "packets", always so; "short", never, whatever it is that taps and faults then miss; "lanes", as packets that go hop by hop through
 * the virtual lanes of a fabric that has some (`joinLanes`).
 */
export type DataPath = "auto" | "short" | "packets" | "lanes";
export const DATA_PATHS: readonly DataPath[] = ["auto", "short", "packets", "lanes"];

/** Is told of each copy of a multicast packet that has no room in a lane. */
export type LaneDiscard = (sl: number, words: number) => void;

/** `Wire.resolve` answers with this minus n for a port that is reached through lane n; -1 is nowhere. */
const FIRST_LANE = -2;

export class Network {
  readonly #ports: (AdapterPort | undefined)[] = [];
  /** Changes when a QP, a port or a connection's state may have changed: cached peers are looked up again. */
  epoch = 0;
  /** Carries out the commonest requests, where there is a program for it. */
  compiled: CompiledRequests | undefined = undefined;
  /** Packets that ended nowhere. */
  readonly counts = { malformed: 0, unroutable: 0 };
  #path: DataPath = "auto";
  #tapCount = 0;
  #loop: Loopback | undefined = undefined;
  #loopback: PacketLane | undefined = undefined;
  #late: LatePackets | undefined = undefined;
  #laneNet: LaneNet | undefined = undefined;
  readonly #lanes: PacketLane[] = [];
  readonly #discards: LaneDiscard[] = [];
  readonly #inlets: PacketInlet[] = [];

  /** Connects a port under the number its wire has in the fabric. */
  attach(port: AdapterPort): void {
    const index = port.wire.index;
    while (this.#ports.length <= index) this.#ports.push(undefined);
    this.#ports[index] = port;
    this.epoch++;
  }

  detach(port: AdapterPort): void {
    this.untap(port);
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
  addLane(lane: PacketLane, discard: LaneDiscard): number {
    this.#lanes.push(lane);
    this.#discards.push(discard);
    this.epoch++;
    return FIRST_LANE - (this.#lanes.length - 1);
  }

  /** The lane with the number that `Wire.resolve` has answered. */
  laneAt(answer: number): PacketLane | undefined {
    return answer <= FIRST_LANE ? this.#lanes[FIRST_LANE - answer] : undefined;
  }

  /** A copy of a multicast packet, of service level `sl` and `words` of 4 bytes, that switches count for that lane finds no room there. */
  discardCopy(answer: number, sl: number, words: number): void {
    this.#discards[FIRST_LANE - answer]?.(sl, words);
  }

  /** Where packets between ports of this engine go; made when some are wanted for the first time, and kept: answers may be owed long after. */
  get loopback(): PacketLane {
    this.#loopback ??= this.#openLoopback();
    return this.#loopback;
  }

  /** Another net in its place, which delivers what comes out of it by itself. */
  set loopback(lane: PacketLane) {
    this.#loopback = lane;
  }

  /** Packets in cables that take a while. */
  get late(): LatePackets {
    this.#late ??= new LatePackets();
    return this.#late;
  }

  /** Some are under way: time has to pass until they arrive. */
  get hasLate(): boolean {
    return (this.#late?.length ?? 0) > 0;
  }

  /** No more of them can be taken now. */
  get isLateFull(): boolean {
    return this.#late?.isFull === true;
  }

  /** When the next of them arrives; Infinity if none is under way. */
  nextDeadlineNs(): number {
    const lateNs = this.#late?.dueNs ?? Number.POSITIVE_INFINITY;
    return this.#laneNet === undefined ? lateNs : Math.min(lateNs, this.#laneNet.nextDeadlineNs());
  }

  /** From now on data between ports of this engine go hop by hop through `net`. */
  joinLanes(net: LaneNet): void {
    this.#laneNet = net;
    this.setPath("lanes");
  }

  /** Where packets of end port `index` to others enter the fabric's lanes. */
  outlet(index: number): PacketLane | undefined {
    return this.#laneNet?.outlet(index);
  }

  /** Changes when senders that found no room there may find some. */
  get roomEpoch(): number {
    return (this.#laneNet?.roomEpoch ?? 0) + (this.#late?.roomEpoch ?? 0);
  }

  /** How messages between ports of this engine go. */
  get path(): DataPath {
    return this.#path;
  }

  /** Those that begin from now on go so. */
  setPath(path: DataPath): void {
    this.#path = path;
    this.epoch++;
  }

  /** From now on `sink` is given what the port sends and receives, and that goes as packets (packets/tap.ts). */
  tap(port: AdapterPort, sink: PacketSink): void {
    this.untap(port);
    port.tap = new PortTap(sink);
    this.#tapCount++;
    this.epoch++;
  }

  /** Ends that: messages that begin from now on take the short path, those that have begun end as they are. */
  untap(port: AdapterPort): void {
    if (port.tap === undefined) return;
    port.tap = undefined;
    this.#tapCount--;
    this.epoch++;
  }

  /** True if some messages between ports of this engine have to go as packets whatever the cables between them are like. */
  get usesLoopback(): boolean {
    return this.#path === "packets" || this.#path === "lanes" || (this.#path === "auto" && this.#tapCount > 0);
  }

  /** True if packets are on their way from a port of this engine to another one. */
  get hasLoopbackPackets(): boolean {
    return this.#loop?.ring.hasPackets === true || this.hasLate || (this.#laneNet?.length ?? 0) > 0;
  }

  #openLoopback(): PacketLane {
    this.#loop = new Loopback(this);
    this.addInlet(this.#loop);
    return this.#loop.ring;
  }

  /** Packets that come in there are delivered by `receive`. */
  addInlet(inlet: PacketInlet): void {
    this.#inlets.push(inlet);
  }

  /** Takes packets that have arrived. Returns work done. */
  receive(nowNs: number): number {
    let work = this.#late === undefined ? 0 : receiveLate(this, this.#late, nowNs);
    if (this.#laneNet !== undefined) work += receiveFromLanes(this, this.#laneNet, nowNs);
    for (let i = 0; i < this.#inlets.length; i++) work += receivePackets(this, this.#inlets[i]!, nowNs);
    return work;
  }

  connectionsChanged(): void {
    this.epoch++;
  }
}
