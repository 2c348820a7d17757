// Finds the subnet's nodes and links by directed-route SMPs. IBA vol 1, 14.4.3. Every request is independent: a node that
// does not answer holds up nobody, and is asked again later.
//
//   probe(port) ── NodeInfo ──► known or new node ── CA:     NodeDescription, PortInfo
//                                                 └─ switch: NodeDescription, scan
//   scan(switch) ── SwitchInfo, clear PortStateChange, PortInfo of every port ──► probe what has come up, unlink what went

import { NS_PER_MS, NS_PER_S } from "../base/clock.ts";
import { bytesOf } from "../mad/mad.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { NodeType, SmAttribute } from "../spec/mad/numbers.ts";
import { NODE_DESCRIPTION_BYTES, NodeInfo, PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import type { Settings } from "./options.ts";
import { type SmpClient, SmpGroup } from "./smp-client.ts";
import { type Subnet, SubnetNode, type SubnetPort } from "./subnet.ts";
import { SwitchScanner } from "./switch-scanner.ts";

/** A silent port is asked again after this time, doubled each time up to the limit. */
const SILENT_RETRY_NS = 500 * NS_PER_MS;
const SILENT_RETRY_LIMIT_NS = 8 * NS_PER_S;
/** Ports the manager keeps, about 100 MB of them: more than any fabric here has, and a bound on what forged answers can add. */
const MAX_PORTS = 1 << 18;

export interface DiscoveryCounts {
  probes: number;
  scans: number;
  delayedScans: number;
  /** Ports with a link where nobody answered. */
  silent: number;
  /** A node GUID seen at two places at once. */
  duplicateGuids: number;
  malformed: number;
}

export class Discovery {
  readonly counts: DiscoveryCounts = { probes: 0, scans: 0, delayedScans: 0, silent: 0, duplicateGuids: 0, malformed: 0 };
  readonly #subnet: Subnet;
  readonly #smps: SmpClient;
  readonly #maySwitchBeBehind: Settings["maySwitchBeBehind"];
  /** Called when the picture has changed. */
  readonly #onChange: () => void;
  readonly #silent: Set<SubnetPort> = new Set();
  readonly #scanner: SwitchScanner;
  #sweep = 0;
  /** No silent port is due earlier; it may be stale. */
  #earliestNs = Number.POSITIVE_INFINITY;

  constructor(subnet: Subnet, smps: SmpClient, maySwitchBeBehind: Settings["maySwitchBeBehind"], onChange: () => void) {
    this.#subnet = subnet;
    this.#smps = smps;
    this.#maySwitchBeBehind = maySwitchBeBehind;
    this.#onChange = onChange;
    const onPort = (port: SubnetPort, data: DataView, nowNs: number): void => this.#portScanned(port, data, nowNs);
    this.#scanner = new SwitchScanner(subnet, smps, this.counts, onPort, onChange);
  }

  /** Looks at everything again. */
  sweepAll(nowNs: number): void {
    this.#sweep++;
    this.#probe([], undefined, nowNs);
  }

  /** Reads PortStateChange of every switch and scans those that have it set: finds what a lost trap did not tell. */
  sweepLight(nowNs: number): void {
    if (this.#subnet.root === undefined) this.sweepAll(nowNs);
    for (const node of this.#subnet.nodes.values()) this.#forgive(node);
    for (const node of this.#subnet.switches()) {
      this.#smps.get(node, SmpGroup.DISCOVERY, SmAttribute.SWITCH_INFO, 0, nowNs, (data, now) => {
        if (data === undefined) return;
        if (SwitchInfo.portStateChange.get(data, 0) === 1) this.scan(node, now);
        else if (node.switch !== undefined) this.#scanner.checkSettings(node.switch, data);
      });
    }
  }

  /** What failed may be tried again. */
  #forgive(node: SubnetNode): void {
    if (node.switch?.hasFailed === true) {
      node.switch.hasFailed = false;
      this.#onChange();
    }
    for (const port of node.ports) {
      const tables = port?.tables;
      if (port === undefined || (port.failures === 0 && (tables === undefined || tables.failures === 0))) continue;
      port.failures = 0;
      if (tables !== undefined) tables.failures = 0;
      this.#onChange();
    }
  }

  /** What is known of the link at `port` has turned out wrong: forget it and look at its switch again. */
  lookAgain(port: SubnetPort, nowNs: number): void {
    const node = port.node.isSwitch ? port.node : port.peer?.node;
    this.#subnet.unlink(port);
    this.#onChange();
    if (node !== undefined) this.scan(node, nowNs);
  }

  /** Nobody answers at `port` although the link is up: forget the peer, ask again later. What the port itself has told stays true. */
  #markSilent(port: SubnetPort, nowNs: number): void {
    this.counts.silent++;
    const { hasInfo } = port;
    this.#subnet.unlink(port);
    port.hasInfo = hasInfo;
    port.nextProbeNs = nowNs + Math.min(SILENT_RETRY_NS * 2 ** port.silentProbes, SILENT_RETRY_LIMIT_NS);
    port.silentProbes++;
    this.#silent.add(port);
    this.#earliestNs = Math.min(this.#earliestNs, port.nextProbeNs);
    this.#onChange();
  }

  /** Asks behind every port that is up and has no known peer. */
  probeLooseEnds(nowNs: number): void {
    for (const node of this.#subnet.nodes.values()) {
      if (!node.isSwitch && node !== this.#subnet.root) continue;
      for (const port of node.ports) {
        if (port === undefined || port.number === 0 || port.peer !== undefined || !port.hasInfo || !port.isLinkUp) continue;
        if (!this.#silent.has(port)) this.#probeBehind(port, nowNs);
      }
    }
  }

  /** Reads an end port's PortInfo again: its capabilities have changed. */
  refresh(port: SubnetPort, nowNs: number): void {
    if (port.peer !== undefined && !port.node.isSwitch) this.#readPort([...port.peer.node.path, port.peer.number], port, nowNs);
  }

  step(nowNs: number): void {
    this.#scanner.step(nowNs);
    if (nowNs < this.#earliestNs) return;
    this.#earliestNs = Number.POSITIVE_INFINITY;
    for (const port of [...this.#silent]) {
      if (port.nextProbeNs > nowNs) {
        this.#earliestNs = Math.min(this.#earliestNs, port.nextProbeNs);
        continue;
      }
      this.#silent.delete(port);
      if (port.isLinkUp && port.peer === undefined && this.#subnet.has(port.node)) this.#probeBehind(port, nowNs);
    }
  }

  nextDeadlineNs(): number {
    return Math.min(this.#earliestNs, this.#scanner.nextDeadlineNs());
  }

  /** Reads every port of a switch, now or as soon as its rate limit allows. */
  scan(node: SubnetNode, nowNs: number): void {
    this.#scanner.scan(node, nowNs);
  }

  /** Goes on reading the ports of switches; to be called after every answer. */
  readOn(nowNs: number): void {
    this.#scanner.readOn(nowNs);
  }

  #probeBehind(port: SubnetPort, nowNs: number): void {
    if (!port.isProbing) this.#probe([...port.node.path, port.number], port, nowNs);
  }

  /** Asks who is at the end of `path`. `from` is the port the path leaves by; undefined for the manager's own node. */
  #probe(path: readonly number[], from: SubnetPort | undefined, nowNs: number): void {
    if (from !== undefined) from.isProbing = true;
    this.counts.probes++;
    this.#smps.get({ path, nodeGuid: undefined }, SmpGroup.DISCOVERY, SmAttribute.NODE_INFO, 0, nowNs, (data, now) => {
      if (from !== undefined) from.isProbing = false;
      if (data !== undefined) this.#nodeAnswered(data, path, from, now);
      else if (from?.isLinkUp === true) this.#markSilent(from, now);
    });
  }

  #nodeAnswered(data: DataView, path: readonly number[], from: SubnetPort | undefined, nowNs: number): void {
    if (from !== undefined && (!this.#subnet.has(from.node) || !from.isLinkUp)) return;
    const node = this.#isBelievable(data, from) ? this.#findOrAdd(data, path, nowNs) : undefined;
    const port = node?.ports[NodeInfo.localPort.get(data, 0)];
    if (from === undefined) this.#subnet.root = node;
    const isNewLink = from !== undefined && from.peer !== port;
    if (node === undefined || (from !== undefined && (port === undefined || !this.#join(from, port, data)))) {
      this.counts.malformed++;
      if (from !== undefined) this.#markSilent(from, nowNs);
      return;
    }
    if (node.switch !== undefined) {
      // the other end of a new link must be read too; its trap may have been lost with the link
      if (node.switch.sweep === this.#sweep && !isNewLink) return;
      node.switch.sweep = this.#sweep;
      this.scan(node, nowNs);
    } else if (port !== undefined) this.#readPort(path, port, nowNs);
  }

  /** Links the two ports; false if the answer cannot be true. */
  #join(from: SubnetPort, port: SubnetPort, data: DataView): boolean {
    if (port === from || port.number === 0 || (port.peer !== undefined && port.peer !== from && port.peer.isLinkUp)) {
      this.counts.duplicateGuids++;
      return false;
    }
    from.silentProbes = 0;
    if (!port.node.isSwitch) port.guid = NodeInfo.portGuid.getBig(data, 0);
    const { hasInfo } = from;
    this.#subnet.link(from, port);
    from.hasInfo = hasInfo;
    this.#onChange();
    return true;
  }

  #isBelievable(data: DataView, from: SubnetPort | undefined): boolean {
    return (
      from === undefined || NodeInfo.nodeType.get(data, 0) === NodeType.CA || this.#maySwitchBeBehind(from.node.guid, from.number)
    );
  }

  #findOrAdd(data: DataView, path: readonly number[], nowNs: number): SubnetNode | undefined {
    const guid = NodeInfo.nodeGuid.getBig(data, 0);
    const known = this.#subnet.nodes.get(guid);
    if (known !== undefined) {
      const isSame = known.type === NodeInfo.nodeType.get(data, 0) && known.ports.length === NodeInfo.portCount.get(data, 0) + 1;
      return isSame ? known : undefined;
    }
    const type = NodeInfo.nodeType.get(data, 0);
    if (type !== NodeType.CA && type !== NodeType.SWITCH && type !== NodeType.ROUTER) return undefined;
    if (this.#subnet.portCount + NodeInfo.portCount.get(data, 0) > MAX_PORTS) return undefined;
    const node = new SubnetNode(bytesOf(data).subarray(0, NodeInfo.byteLength));
    node.path = path;
    this.#subnet.add(node);
    this.#smps.get(node, SmpGroup.DISCOVERY, SmAttribute.NODE_DESCRIPTION, 0, nowNs, (text) => {
      if (text !== undefined) node.description = bytesOf(text).slice(0, NODE_DESCRIPTION_BYTES);
    });
    return node;
  }

  #readPort(path: readonly number[], port: SubnetPort, nowNs: number): void {
    this.#smps.get(
      { path, nodeGuid: port.nodeGuid },
      SmpGroup.DISCOVERY,
      SmAttribute.PORT_INFO,
      port.number,
      nowNs,
      (data, now) => {
        if (data === undefined) {
          // nothing else would ask again
          if (!port.hasInfo && port.peer !== undefined) this.#markSilent(port.peer, now);
          return;
        }
        storeInfo(port, data);
        this.#onChange();
        // a manager on a CA's port has the whole subnet behind that port
        if (port.node === this.#subnet.root && port.isLinkUp && port.peer === undefined) this.#probeBehind(port, nowNs);
      },
    );
  }

  #portScanned(port: SubnetPort, data: DataView, nowNs: number): void {
    if (!this.#subnet.has(port.node)) return;
    const wasUp = port.hasInfo && port.isLinkUp;
    const stateBefore = port.state;
    const isUp = PortInfo.physState.get(data, 0) === PhysState.LINK_UP && PortInfo.portState.get(data, 0) >= PortState.INIT;
    const isInit = isUp && PortInfo.portState.get(data, 0) === PortState.INIT;
    const hasBounced = isInit && wasUp && stateBefore > PortState.INIT && !port.isBusy;
    if (port.number !== 0 && (hasBounced || !isUp)) {
      if (hasBounced || wasUp || port.peer !== undefined) this.#onChange();
      port.silentProbes = 0;
      port.failures = 0;
      this.#silent.delete(port);
      this.#subnet.unlink(port);
    }
    // what comes late, after others have been waited for, must not go unnoticed
    if (!port.hasInfo) this.#onChange();
    storeInfo(port, data);
    if (port.number === 0 || !isUp) return;
    const isSwitchToVisit = port.peer?.node.switch !== undefined && port.peer.node.switch.sweep !== this.#sweep;
    if ((port.peer === undefined && !this.#silent.has(port)) || isSwitchToVisit) this.#probeBehind(port, nowNs);
  }
}

function storeInfo(port: SubnetPort, data: DataView): void {
  bytesOf(port.info).set(bytesOf(data).subarray(0, PortInfo.byteLength));
  port.hasInfo = true;
}
