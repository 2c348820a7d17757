// Writes the wanted state into the subnet: switch tables first, then both ends of every link. IBA vol 1, 14.4.4 and the port
// states of 7.2.7. Only differences are sent, and every link goes its own way, so a slow node holds up only itself:
//
//   INIT ──Set(LID, MTU, …, ARMED)──► ARMED at both ends, tables written ──Set(ACTIVE) near end──► ──Set(ACTIVE) far end──►
//
// The near end goes first: when the far end's host learns that its port is active, the way to the SA is open.

import type { Field } from "../base/layout.ts";
import { bytesOf } from "../mad/mad.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { NodeType, PortCapability, SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { Discovery } from "./discovery.ts";
import { LinearProgrammer } from "./linear-programmer.ts";
import type { Settings } from "./options.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetNode, SubnetPort } from "./subnet.ts";

/** Sets of one port in a row that fail before it is left alone until something changes. */
const MAX_FAILURES = 8;

export interface ConfiguratorCounts {
  activated: number;
  failedSets: number;
}

export class Configurator {
  readonly counts: ConfiguratorCounts = { activated: 0, failedSets: 0 };
  readonly #subnet: Subnet;
  readonly #smps: SmpClient;
  readonly #settings: Settings;
  readonly #discovery: Discovery;
  /** Table writes not yet answered. */
  readonly #tablesPending: () => number;
  readonly #onActive: (port: SubnetPort, nowNs: number) => void;
  /** Near ends of links to look at, from `#queueHead`: there may be thousands, and what they need is asked for a few at a time. */
  #queue: SubnetPort[] = [];
  #queueHead = 0;
  /** Near ends of links that wait for the tables. */
  readonly #waiting: Set<SubnetPort> = new Set();
  readonly #linear: LinearProgrammer;

  constructor(
    subnet: Subnet,
    smps: SmpClient,
    settings: Settings,
    discovery: Discovery,
    tablesPending: () => number,
    onActive: (port: SubnetPort, nowNs: number) => void,
  ) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#settings = settings;
    this.#discovery = discovery;
    this.#tablesPending = tablesPending;
    this.#onActive = onActive;
    this.#linear = new LinearProgrammer(subnet, smps, (node) => this.#tableFailed(node));
  }

  /** The manager's own LID. */
  get smLid(): number {
    const { root } = this.#subnet;
    return root?.presentPorts()[0]?.lid ?? 0;
  }

  /** Sends what differs from the wanted state. */
  apply(nowNs: number): void {
    for (const node of this.#subnet.switches()) {
      this.#writeBasePort(node, nowNs);
      this.#writeSwitchInfo(node, nowNs);
      this.#linear.start(node);
    }
    this.#queue = [];
    this.#queueHead = 0;
    for (const node of this.#subnet.nodes.values()) {
      for (const port of node.ports) if (port?.peer !== undefined && isNearEnd(port)) this.#queue.push(port);
    }
    this.step(nowNs);
  }

  /** Goes on with links that waited for the tables or for their turn. */
  step(nowNs: number): void {
    this.#linear.step(nowNs);
    if (this.#waiting.size > 0 && !this.#isTableDue) {
      this.#queue = [...this.#queue.slice(this.#queueHead), ...this.#waiting];
      this.#queueHead = 0;
      this.#waiting.clear();
    }
    while (this.#hasTurn) {
      const near = this.#queue[this.#queueHead++];
      if (near?.peer !== undefined) this.#advance(near, nowNs);
    }
  }

  /** Whether `step` has something to do. */
  get isReady(): boolean {
    return this.#hasTurn || this.#linear.isReady || (this.#waiting.size > 0 && !this.#isTableDue);
  }

  /** Some switch has not been told its tables yet; those that are slow are not waited for. */
  get #isTableDue(): boolean {
    return this.#linear.isWaiting || this.#tablesPending() > 0;
  }

  get #hasTurn(): boolean {
    return this.#queueHead < this.#queue.length && this.#smps.hasRoom(SmpGroup.PORTS);
  }

  // --- switches

  #writeBasePort(node: SubnetNode, nowNs: number): void {
    const port = node.ports[0];
    if (port === undefined || !port.hasInfo || port.lid === 0 || port.isBusy || this.#hasEndPortSettings(port)) return;
    const info = copyOf(port.info);
    this.#putEndPortSettings(port, info);
    PortInfo.portState.set(info, 0, PortState.NO_CHANGE);
    PortInfo.physState.set(info, 0, PhysState.NO_CHANGE);
    port.isBusy = true;
    this.#smps.set(node.path, SmpGroup.TABLES, SmAttribute.PORT_INFO, 0, bytesOf(info), nowNs, (data) => {
      port.isBusy = false;
      if (data !== undefined) bytesOf(port.info).set(bytesOf(data).subarray(0, PortInfo.byteLength));
      else this.#tableFailed(node);
    });
  }

  #writeSwitchInfo(node: SubnetNode, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    const before = bytesOf(state.info).slice();
    SwitchInfo.portStateChange.set(state.info, 0, 0);
    if (!state.putSettings(state.info)) return;
    // put in again: an answer to an earlier question may have brought old settings back meanwhile
    const wanted = (): Uint8Array => {
      state.putSettings(state.info);
      return bytesOf(state.info);
    };
    this.#smps.set(node.path, SmpGroup.TABLES, SmAttribute.SWITCH_INFO, 0, wanted, nowNs, (data, now) => {
      if (!this.#subnet.has(node)) this.#writeSwitchInfoAgain(node.guid, now);
      if (data !== undefined) return;
      bytesOf(state.info).set(before);
      this.#tableFailed(node);
    });
  }

  /** The switch was lost and found again while a write was under way: which of two came last is not known. */
  #writeSwitchInfoAgain(guid: bigint, nowNs: number): void {
    const node = this.#subnet.nodes.get(guid);
    if (node?.switch === undefined || node.switch.linear.length === 0) return;
    SwitchInfo.lifeTime.set(node.switch.info, 0, 0);
    this.#writeSwitchInfo(node, nowNs);
  }

  /** Writes multicast block `block` of `position`, 32 big-endian masks, if the switch does not have it already. */
  writeMulticast(node: SubnetNode, block: number, position: number, wanted: Uint8Array, nowNs: number): void {
    const state = node.switch;
    if (state === undefined) return;
    const key = (block << 4) | position;
    const sent = state.multicastSent.get(key) ?? (wanted.every((byte) => byte === 0) ? wanted : undefined);
    if (isEqual(sent, wanted)) return;
    state.multicastSent.set(key, wanted);
    const modifier = ((position << 28) | block) >>> 0;
    // a repeated write must not bring back what has been replaced meanwhile
    const latest = (): Uint8Array => {
      const now = state.multicastSent.get(key);
      return now === undefined || now === UNKNOWN_BLOCK ? wanted : now;
    };
    this.#smps.set(node.path, SmpGroup.TABLES, SmAttribute.MULTICAST_FORWARDING, modifier, latest, nowNs, (data, now) => {
      if (!this.#subnet.has(node)) this.#writeMulticastAgain(node.guid, block, position, now);
      if (data !== undefined) return;
      if (state.multicastSent.get(key) === wanted) state.multicastSent.set(key, UNKNOWN_BLOCK);
      this.#tableFailed(node);
    });
  }

  #writeMulticastAgain(guid: bigint, block: number, position: number, nowNs: number): void {
    const node = this.#subnet.nodes.get(guid);
    const key = (block << 4) | position;
    const wanted = node?.switch?.multicastSent.get(key);
    if (node?.switch === undefined || wanted === UNKNOWN_BLOCK) return;
    node.switch.multicastSent.set(key, UNKNOWN_BLOCK);
    this.writeMulticast(node, block, position, wanted ?? new Uint8Array(MULTICAST_BLOCK_BYTES), nowNs);
  }

  #tableFailed(node: SubnetNode): void {
    this.counts.failedSets++;
    if (node.switch !== undefined) node.switch.hasFailed = true;
  }

  // --- links

  /** Takes the link at `near` one step further, if it can go. */
  #advance(near: SubnetPort, nowNs: number): void {
    const far = near.peer;
    if (far === undefined || !isReady(near) || !isReady(far)) return;
    for (const port of [near, far]) if (!this.#isConfigured(port)) this.#configure(port, nowNs);
    if (near.isBusy || far.isBusy || near.state < PortState.ARMED || far.state < PortState.ARMED) return;
    const next = near.state === PortState.ARMED ? near : far;
    if (next.state !== PortState.ARMED) return;
    if (this.#isTableDue) {
      this.#waiting.add(near);
      return;
    }
    this.#set(next, PortState.ACTIVE, copyOf(next.info), nowNs);
  }

  #isConfigured(port: SubnetPort): boolean {
    if (port.state === PortState.INIT) return false;
    return this.#hasLinkSettings(port) && (!port.isEndPort || this.#hasEndPortSettings(port));
  }

  #configure(port: SubnetPort, nowNs: number): void {
    if (port.isBusy || port.failures >= MAX_FAILURES) return;
    const info = copyOf(port.info);
    if (port.isEndPort) this.#putEndPortSettings(port, info);
    PortInfo.neighborMtu.set(info, 0, this.#linkMtu(port));
    PortInfo.operationalVls.set(info, 0, linkVls(port));
    PortInfo.linkDownDefault.set(info, 0, PhysState.POLLING);
    this.#set(port, port.state === PortState.INIT ? PortState.ARMED : PortState.NO_CHANGE, info, nowNs);
  }

  #set(port: SubnetPort, state: number, info: DataView, nowNs: number): void {
    PortInfo.portState.set(info, 0, state);
    PortInfo.physState.set(info, 0, PhysState.NO_CHANGE);
    const wanted = state === PortState.NO_CHANGE ? port.state : state;
    const modifier = port.node.isSwitch ? port.number : 0;
    port.isBusy = true;
    this.#smps.set(pathOf(port), SmpGroup.PORTS, SmAttribute.PORT_INFO, modifier, bytesOf(info), nowNs, (data, now) => {
      port.isBusy = false;
      if (port.peer === undefined) return;
      if (data === undefined || PortInfo.portState.get(data, 0) < wanted) {
        this.counts.failedSets++;
        port.failures++;
        this.#discovery.lookAgain(port, now);
        return;
      }
      this.#setDone(port, data, state, now);
    });
  }

  #setDone(port: SubnetPort, data: DataView, state: number, nowNs: number): void {
    bytesOf(port.info).set(bytesOf(data).subarray(0, PortInfo.byteLength));
    if (port.isEndPort) {
      PortInfo.clientReregister.set(port.info, 0, 0);
      port.needsReregister = false;
    }
    // a setting the port does not take is not asked for again and again
    port.failures = this.#isConfigured(port) ? 0 : port.failures + 1;
    if (state === PortState.ACTIVE) {
      this.counts.activated++;
      this.#onActive(port, nowNs);
    }
    const near = isNearEnd(port) ? port : port.peer;
    if (near !== undefined) this.#advance(near, nowNs);
  }

  #linkMtu(port: SubnetPort): number {
    const peerCap = port.peer === undefined ? this.#settings.mtuCode : PortInfo.mtuCap.get(port.peer.info, 0);
    return Math.min(this.#settings.mtuCode, PortInfo.mtuCap.get(port.info, 0), peerCap);
  }

  #hasLinkSettings(port: SubnetPort): boolean {
    return (
      PortInfo.neighborMtu.get(port.info, 0) === this.#linkMtu(port) &&
      PortInfo.operationalVls.get(port.info, 0) === linkVls(port)
    );
  }

  #endPortSettings(port: SubnetPort): readonly (readonly [Field, number])[] {
    return [
      [PortInfo.lid, port.lid],
      [PortInfo.smLid, this.smLid],
      [PortInfo.lmc, Math.log2(port.lidCount)],
      [PortInfo.masterSmSl, 0],
      [PortInfo.subnetTimeout, this.#settings.subnetTimeout],
      [PortInfo.mkeyProtect, 0],
      [PortInfo.mkeyLeasePeriod, 0],
    ];
  }

  #hasEndPortSettings(port: SubnetPort): boolean {
    if (port.needsReregister && port.number !== 0) return false;
    if (PortInfo.gidPrefix.getBig(port.info, 0) !== this.#settings.gidPrefix) return false;
    return this.#endPortSettings(port).every(([field, value]) => field.get(port.info, 0) === value);
  }

  #putEndPortSettings(port: SubnetPort, info: DataView): void {
    for (const [field, value] of this.#endPortSettings(port)) field.set(info, 0, value);
    PortInfo.gidPrefix.setBig(info, 0, this.#settings.gidPrefix);
    PortInfo.mkey.setBig(info, 0, 0n);
    const canReregister = (PortInfo.capabilityMask.get(port.info, 0) & PortCapability.CLIENT_REREGISTRATION) !== 0;
    if (port.needsReregister && canReregister) PortInfo.clientReregister.set(info, 0, 1);
  }
}

/** No switch has this; what is compared with it differs. */
const UNKNOWN_BLOCK = new Uint8Array(0);
const MULTICAST_BLOCK_BYTES = 64;

/** A port that can be configured: its link is up, and it has a LID if it is to have one. */
const isReady = (port: SubnetPort): boolean => port.hasInfo && port.isLinkUp && (!port.isEndPort || port.lid !== 0);

const copyOf = (info: DataView): DataView => new DataView(bytesOf(info).slice().buffer);

function isEqual(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The end of a link from which the manager's SMPs come. */
function isNearEnd(port: SubnetPort): boolean {
  const { peer } = port;
  if (peer === undefined) return false;
  if (peer.node.type !== NodeType.SWITCH && port.node.isSwitch) return true;
  if (!port.node.isSwitch && peer.node.isSwitch) return false;
  const [a, b] = [port.node.path.length, peer.node.path.length];
  return a === b ? port.node.guid < peer.node.guid || (port.node === peer.node && port.number < peer.number) : a < b;
}

/** Directed route to a port: a CA is asked through the port itself. */
function pathOf(port: SubnetPort): readonly number[] {
  const { node, peer } = port;
  if (node.isSwitch || peer === undefined || node.path.length === 0) return node.path;
  return [...peer.node.path, peer.number];
}

/** Highest VL code both ends have. */
function linkVls(port: SubnetPort): number {
  const own = PortInfo.vlCap.get(port.info, 0);
  return port.peer === undefined ? own : Math.min(own, PortInfo.vlCap.get(port.peer.info, 0));
}
