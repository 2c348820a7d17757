// The end of a cable whose other end is in another engine's fabric: what a switch sends into it leaves, and comes out of the trunk at the
// far end as if the two switches were joined directly. No management sees the trunk itself. The link is up once both ends are there.

import { type PortInfoValues, PortKind } from "../mad/attributes.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { PortCounter } from "../spec/ib/port-counters.ts";
import { LinkSpeed, LinkWidth, NodeType } from "../spec/mad/numbers.ts";
import type { Fabric } from "./fabric.ts";
import { MAX_HOPS } from "./limits.ts";
import { FabricNode } from "./node.ts";
import { countLost, PathTraffic } from "./path-traffic.ts";
import { Port } from "./port.ts";
import { count, countData } from "./port-counts.ts";
import type { PacketDelivery } from "./queue.ts";
import { ResolveCache } from "./resolve-cache.ts";
import { passFaults } from "./trace.ts";

/** What the trunk hands to the other engine. */
export interface TrunkCarrier {
  /** A management packet that has crossed `hops` switches; false if there is no room for it. */
  send(packet: Uint8Array, hops: number): boolean;
  /** The link came up or went down at this end. */
  linkChanged(isUp: boolean): void;
}

const POWER_UP: PortInfoValues = {
  portState: PortState.DOWN,
  physState: PhysState.POLLING,
  linkDownDefault: PhysState.POLLING,
  linkWidthEnabled: LinkWidth.W1X | LinkWidth.W4X,
  linkWidthSupported: LinkWidth.W1X | LinkWidth.W4X,
  linkSpeedSupported: LinkSpeed.SDR | LinkSpeed.DDR,
  linkSpeedEnabled: LinkSpeed.SDR | LinkSpeed.DDR,
};

export class Trunk extends FabricNode {
  // It forwards without a table of its own: for tracing, a switch that has none.
  readonly type = NodeType.SWITCH;
  readonly ports: readonly Port[];
  readonly port: Port;
  readonly #carrier: TrunkCarrier;
  readonly #cache: ResolveCache;
  readonly #traffic: PathTraffic;
  #isFollowing = false;
  /** Management packets that found no room. */
  dropped = 0;

  /** @param lane what `resolve` answers for ports at the other end */
  constructor(fabric: Fabric, guid: bigint, description: string, lane: number, carrier: TrunkCarrier) {
    super(fabric, { guid, systemImageGuid: guid, deviceId: 0, vendorId: 0, revision: 0, partitionCap: 0, description });
    this.#carrier = carrier;
    const options = { number: 0, kind: PortKind.SWITCH_EXTERNAL, guid: 0n, pkeyCount: 0, guidCount: 0, powerUp: POWER_UP };
    this.port = new Port(this, options, false, lane);
    this.ports = [this.port];
    this.#cache = new ResolveCache(this.port);
    this.#traffic = new PathTraffic(this.port);
  }

  /**
   * The other end is there, or its link went up or down, and this one follows. It says that it came up, and if it cannot; that it went
   * down is no news, and would keep the other end from coming up by itself.
   */
  farEndChanged(isUp: boolean): void {
    const { port } = this;
    if (isUp === port.isEnabled && isUp === port.isLinkUp) return;
    port.isEnabled = isUp;
    this.#isFollowing = true;
    if (isUp) port.link?.train();
    else port.link?.goDown();
    this.#isFollowing = false;
    if (isUp) this.#carrier.linkChanged(port.isLinkUp);
  }

  /** A management packet has come from the other end. */
  arrive(packet: Uint8Array, hops: number): void {
    if (hops < MAX_HOPS) this.fabric.transmitFrom(this.port, packet, hops, undefined);
  }

  /** What a packet from the other end to unicast `dlid` reaches here, as `Port.index`. */
  resolve(dlid: number): number {
    return this.#cache.resolve(dlid);
  }

  /** Switches here are to count a packet of data that has come from the other end and goes on to where `resolve` says. */
  countPath(dlid: number, sl: number, words: number): void {
    this.#traffic.add(dlid, sl, words, 1);
  }

  /** They count one that ends here. @param isLoop it has gone round too often */
  countLost(dlid: number, sl: number, words: number, isLoop: boolean): void {
    countLost(this.port, dlid, sl, words, isLoop);
  }

  /** A copy of a multicast packet, which both ends of the cable count, had no room in it. */
  countDiscarded(sl: number, words: number): void {
    const egress = this.port.peer;
    if (egress === undefined) return;
    countData(egress, "xmit", sl, -words, -1, true);
    countData(this.port, "rcv", sl, -words, -1, true);
    count(egress, PortCounter.xmitDiscards);
  }

  /** Sends a packet of data that has come from the other end through the cables here: the nanoseconds that it takes, or LOST. */
  passFaults(dlid: number, sl: number, words: number): number {
    return this.fabric.hasFaults ? passFaults(this.port, dlid, this.fabric.random, sl, words) : 0;
  }

  /** The same for multicast: who gets it into `out`, and after what time; returns how many. Switches here count it. */
  passFaultsToGroup(dlid: number, sl: number, words: number, out: Int32Array, delaysNs: Float64Array): number {
    const { multicastTracer, random } = this.fabric;
    return multicastTracer.pass(this.port, dlid, random, sl, words, out, delaysNs);
  }

  receive(delivery: PacketDelivery): void {
    if (!this.#carrier.send(delivery.packet, delivery.hops + 1)) this.dropped++;
  }

  linkChanged(port: Port, isUp: boolean): void {
    this.fabric.bumpEpoch();
    // Whether data may pass is for the switch ports at both ends to say.
    if (isUp) port.state = PortState.ACTIVE;
    if (!this.#isFollowing) this.#carrier.linkChanged(isUp);
  }

  protected stateSet(_port: Port): void {}
}
