// Writes the wanted state into the subnet: switch tables first, then both ends of every link. IBA vol 1, 14.4.4 and the port
// states of 7.2.7. Only differences are sent, and every link goes its own way, so a slow node holds up only itself:
//
//   INIT ──Set(LID, MTU, …, ARMED)──► ARMED at both ends, tables written ──Set(ACTIVE) near end──► ──Set(ACTIVE) far end──►
//
// The near end goes first: when the far end's host learns that its port is active, the way to the SA is open.

import { bytesOf } from "../mad/mad.ts";
import { PortState } from "../spec/ib/numbers.ts";
import { NodeType, SmAttribute } from "../spec/mad/numbers.ts";
import { PortInfo } from "../spec/mad/sm-attributes.ts";
import type { Discovery } from "./discovery.ts";
import { type PortSettings, unchanged } from "./port-settings.ts";
import { PortTables } from "./port-tables.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import type { Subnet, SubnetPort } from "./subnet.ts";
import { SwitchProgrammer } from "./switch-programmer.ts";

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
  readonly #ports: PortSettings;
  readonly #discovery: Discovery;
  /** Table writes not yet answered. */
  readonly #tablesPending: () => number;
  readonly #onActive: (port: SubnetPort, nowNs: number) => void;
  /** Near ends of links to look at, from `#queueHead`: there may be thousands, and what they need is asked for a few at a time. */
  #queue: SubnetPort[] = [];
  #queueHead = 0;
  /** Near ends of links that wait for the tables. */
  readonly #waiting: Set<SubnetPort> = new Set();
  readonly switches: SwitchProgrammer;
  readonly tables: PortTables;

  constructor(
    subnet: Subnet,
    smps: SmpClient,
    ports: PortSettings,
    discovery: Discovery,
    tablesPending: () => number,
    onActive: (port: SubnetPort, nowNs: number) => void,
  ) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#ports = ports;
    this.#discovery = discovery;
    this.#tablesPending = tablesPending;
    this.#onActive = onActive;
    this.switches = new SwitchProgrammer(subnet, smps, ports, (node) => {
      this.counts.failedSets++;
      if (node.switch !== undefined) node.switch.hasFailed = true;
    });
    this.tables = new PortTables(
      smps,
      (port, nowNs) => this.#advanceLink(port, nowNs),
      () => {
        this.counts.failedSets++;
      },
    );
  }

  /** Sends what differs from the wanted state. */
  apply(nowNs: number): void {
    for (const node of this.#subnet.switches()) this.switches.start(node, nowNs);
    const own = this.#subnet.root?.presentPorts()[0];
    if (own?.number === 0) this.tables.start(own, nowNs);
    this.#queue = [];
    this.#queueHead = 0;
    for (const node of this.#subnet.nodes.values()) {
      for (const port of node.ports) if (port?.peer !== undefined && isNearEnd(port)) this.#queue.push(port);
    }
    this.step(nowNs);
  }

  /** What was written is not known any more: `apply` writes all of it, but for multicast tables. */
  forget(): void {
    for (const node of this.#subnet.nodes.values()) {
      this.switches.forget(node);
      for (const port of node.ports) if (port !== undefined) port.tables = undefined;
    }
  }

  /** Goes on with links that waited for the tables or for their turn. */
  step(nowNs: number): void {
    this.switches.step(nowNs);
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
    return this.#hasTurn || this.switches.isReady || (this.#waiting.size > 0 && !this.#isTableDue);
  }

  /** Some switch has not been told its tables yet; those that are slow are not waited for. */
  get #isTableDue(): boolean {
    return this.switches.isWaiting || this.#tablesPending() > 0;
  }

  get #hasTurn(): boolean {
    return this.#queueHead < this.#queue.length && this.#smps.hasRoom(SmpGroup.PORTS);
  }

  /** Takes the link at `near` one step further, if it can go. */
  #advance(near: SubnetPort, nowNs: number): void {
    const far = near.peer;
    if (far === undefined || !isReady(near) || !isReady(far)) return;
    for (const port of [near, far]) if (!this.#ports.isConfigured(port)) this.#configure(port, nowNs);
    if (!this.#hasTables(near, far, nowNs)) return;
    if (near.isBusy || far.isBusy || near.state < PortState.ARMED || far.state < PortState.ARMED) return;
    const next = near.state === PortState.ARMED ? near : far;
    if (next.state !== PortState.ARMED) return;
    if (this.#isTableDue) {
      this.#waiting.add(near);
      return;
    }
    this.#set(next, PortState.ACTIVE, unchanged(next.info), nowNs);
  }

  /** Whether the tables of both ends are written. A switch's are first: what it enforces, the host behind it may then be told. */
  #hasTables(near: SubnetPort, far: SubnetPort, nowNs: number): boolean {
    for (const port of near.node.isSwitch ? [near, far] : [far, near]) {
      if (!this.tables.start(port, nowNs)) return false;
    }
    return true;
  }

  #configure(port: SubnetPort, nowNs: number): void {
    if (port.isBusy || port.failures >= MAX_FAILURES) return;
    this.#set(port, port.state === PortState.INIT ? PortState.ARMED : PortState.NO_CHANGE, this.#ports.wanted(port), nowNs);
  }

  #set(port: SubnetPort, state: number, info: DataView, nowNs: number): void {
    PortInfo.portState.set(info, 0, state);
    const wanted = state === PortState.NO_CHANGE ? port.state : state;
    const modifier = port.node.isSwitch ? port.number : 0;
    port.isBusy = true;
    this.#smps.set(port, SmpGroup.PORTS, SmAttribute.PORT_INFO, modifier, bytesOf(info), nowNs, (data, now) => {
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
    port.failures = this.#ports.isConfigured(port) ? 0 : port.failures + 1;
    if (state === PortState.ACTIVE) {
      this.counts.activated++;
      this.#onActive(port, nowNs);
    }
    this.#advanceLink(port, nowNs);
  }

  #advanceLink(port: SubnetPort, nowNs: number): void {
    const near = isNearEnd(port) ? port : port.peer;
    if (near !== undefined) this.#advance(near, nowNs);
  }
}

/** A port that can be configured: its link is up, and it has a LID if it is to have one. */
const isReady = (port: SubnetPort): boolean => port.hasInfo && port.isLinkUp && (!port.isEndPort || port.lid !== 0);

/** The end of a link from which the manager's SMPs come. */
function isNearEnd(port: SubnetPort): boolean {
  const { peer } = port;
  if (peer === undefined) return false;
  if (peer.node.type !== NodeType.SWITCH && port.node.isSwitch) return true;
  if (!port.node.isSwitch && peer.node.isSwitch) return false;
  const [a, b] = [port.node.path.length, peer.node.path.length];
  return a === b ? port.node.guid < peer.node.guid || (port.node === peer.node && port.number < peer.number) : a < b;
}
