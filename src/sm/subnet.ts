// The subnet as the manager knows it: nodes, ports, links, and what it has programmed into them. Filled by discovery,
// read by routing and by the subnet administration.

import { Slabs } from "../base/slab.ts";
import { bytesOf } from "../mad/mad.ts";
import { PhysState, PortState } from "../spec/ib/numbers.ts";
import { NodeType } from "../spec/mad/numbers.ts";
import { NodeInfo, PortInfo, SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { LinearTable } from "./linear-table.ts";
import type { WrittenTables } from "./port-tables.ts";

/** SwitchInfo.LifeTimeValue: packets live 4.096 µs × 2^18 in a switch. */
const SWITCH_LIFE_TIME = 18;

/** A port and the PortInfo it last told. */
export class SubnetPort {
  readonly node: SubnetNode;
  readonly number: number;
  /** Port GUID; 0n on a switch's external ports. */
  guid = 0n;
  /** PortInfo as last read or as the last Set returned it; all zero until then. */
  readonly info: DataView;
  hasInfo = false;
  peer: SubnetPort | undefined = undefined;
  /** LID the manager has given an end port; 0 if none. */
  lid = 0;
  /** LIDs it has, `lid` the lowest: 2^LMC. */
  lidCount = 1;
  /** A NodeInfo request through this port is under way. */
  isProbing = false;
  /** A Set is under way. */
  isBusy = false;
  /** Its clients must register again: what the subnet knew of it is gone. */
  needsReregister = true;
  /** Sets in a row that did not lead to the wanted state. */
  failures = 0;
  /** Link is up but nobody answers: when to ask again, and how often that was in vain. */
  nextProbeNs = 0;
  /** Tables written since the link came up; undefined while there are none. */
  tables: WrittenTables | undefined = undefined;
  /** Its P_Keys, once they have been asked for since the link came up. */
  pkeys: readonly number[] | undefined = undefined;
  silentProbes = 0;

  constructor(node: SubnetNode, number: number, info: DataView) {
    this.node = node;
    this.number = number;
    this.info = info;
  }

  get state(): number {
    return PortInfo.portState.get(this.info, 0);
  }
  get nodeGuid(): bigint {
    return this.node.guid;
  }
  /** Directed route to it: a CA is asked through the port itself. */
  get path(): readonly number[] {
    const { node, peer } = this;
    return node.isSwitch || peer === undefined || node.path.length === 0 ? node.path : [...peer.node.path, peer.number];
  }
  get isLinkUp(): boolean {
    return PortInfo.physState.get(this.info, 0) === PhysState.LINK_UP && this.state >= PortState.INIT;
  }
  /** True for ports with a LID: CA ports and switch port 0. */
  get isEndPort(): boolean {
    return this.node.type !== NodeType.SWITCH || this.number === 0;
  }
  /** Whether packets can reach it: a linked CA port, or a switch's port 0. */
  get isPresent(): boolean {
    return this.isEndPort && (this.number === 0 || this.peer !== undefined);
  }
}

/** What the manager has programmed into a switch, to send only what changes. */
export class SwitchState {
  readonly info: DataView = new DataView(new ArrayBuffer(SwitchInfo.byteLength));
  /** The linear forwarding table. */
  readonly linear: LinearTable = new LinearTable();
  /** Multicast blocks as the switch has them, by `block << 4 | position`. */
  readonly multicastSent: Map<number, Uint8Array> = new Map();
  isScanning = false;
  /** Something changed during the scan. */
  isScanStale = false;
  /** Number of the last full sweep that came by. */
  sweep = 0;
  /** Rate limit of scans: when the ones so far are paid for (`Discovery.scan`). */
  scansPaidAtNs = 0;

  /** Tables or SwitchInfo that could not be written; written again with the next change or sweep. */
  hasFailed = false;

  /** Puts the wanted settings into a SwitchInfo; returns whether that changed anything. */
  putSettings(info: DataView): boolean {
    const top = Math.max(SwitchInfo.linearFdbTop.get(this.info, 0), this.linear.length - 1);
    if (top >= SwitchInfo.linearFdbCap.get(this.info, 0)) return false;
    const isSame = SwitchInfo.linearFdbTop.get(info, 0) === top && SwitchInfo.lifeTime.get(info, 0) === SWITCH_LIFE_TIME;
    SwitchInfo.linearFdbTop.set(info, 0, top);
    SwitchInfo.lifeTime.set(info, 0, SWITCH_LIFE_TIME);
    return !isSame;
  }

  /** Output port for `lid`. */
  portOf(lid: number): number {
    return this.linear.portOf(lid);
  }
}

const NODE_INFO_PORTS_AT = NodeInfo.portCount.offset;
const slabs = new Slabs();

export class SubnetNode {
  readonly guid: bigint;
  readonly type: number;
  /** NodeInfo as read; PortGUID and LocalPortNum are those of one of its ports. */
  readonly info: DataView;
  description: Uint8Array = new Uint8Array(64);
  readonly ports: readonly (SubnetPort | undefined)[];
  readonly switch: SwitchState | undefined;
  /** Directed route from the manager: output ports, hop by hop. */
  path: readonly number[] = [];
  /** Port it is reached by; 0 at the manager's own node. */
  ingress = 0;

  /** @param info 40 bytes of NodeInfo; copied. */
  constructor(info: Uint8Array) {
    const count = (info[NODE_INFO_PORTS_AT] ?? 0) + 1;
    // NodeInfo and PortInfo of all ports in one piece: there may be hundreds of thousands
    const { buffer, offset } = slabs.take(NodeInfo.byteLength + count * PortInfo.byteLength);
    this.info = new DataView(buffer, offset, NodeInfo.byteLength);
    bytesOf(this.info).set(info.subarray(0, NodeInfo.byteLength));
    this.guid = NodeInfo.nodeGuid.getBig(this.info, 0);
    this.type = NodeInfo.nodeType.get(this.info, 0);
    const isSwitch = this.type === NodeType.SWITCH;
    this.switch = isSwitch ? new SwitchState() : undefined;
    const ports = new Array<SubnetPort | undefined>(count).fill(undefined);
    for (let number = 0; number < count; number++) {
      if (number === 0 && !isSwitch) continue;
      const at = offset + NodeInfo.byteLength + number * PortInfo.byteLength;
      ports[number] = new SubnetPort(this, number, new DataView(buffer, at, PortInfo.byteLength));
    }
    this.ports = ports;
    if (isSwitch && ports[0] !== undefined) ports[0].guid = NodeInfo.portGuid.getBig(this.info, 0);
  }

  get isSwitch(): boolean {
    return this.switch !== undefined;
  }

  get nodeGuid(): bigint {
    return this.guid;
  }

  /** End ports that packets can reach. */
  presentPorts(): SubnetPort[] {
    return this.ports.filter((port) => port?.isPresent === true) as SubnetPort[];
  }
}

/** A bound on what moving cables can make the manager remember. */
const FORMER_PEERS_MAX = 1 << 16;

const keyOf = ({ node, number }: SubnetPort): string => `${node.guid}:${number}`;

export class Subnet {
  readonly nodes: Map<bigint, SubnetNode> = new Map();
  /** The manager's own node. */
  root: SubnetNode | undefined = undefined;
  /** Present end ports; rebuilt by `reindex`. */
  readonly byGuid: Map<bigint, SubnetPort> = new Map();
  /** The same by every LID they have. */
  readonly byLid: Map<number, SubnetPort> = new Map();
  /** Further GUIDs of ports, set through the administration, and the port GUID of whose they are. */
  readonly aliases: Map<bigint, bigint> = new Map();
  /** Highest LID. */
  topLid = 0;

  /** Ports of all nodes. */
  portCount = 0;
  /** Ports of switches that have been found to lead to another switch than before, so far. */
  movedTrunks = 0;
  /** By node GUID and port number: the node that a switch's port led to before its cable was lost. */
  readonly #formerPeers: Map<string, bigint> = new Map();

  add(node: SubnetNode): void {
    this.nodes.set(node.guid, node);
    this.portCount += node.ports.length;
  }

  #remove(node: SubnetNode): void {
    for (const port of node.ports) if (port !== undefined) this.unlink(port);
    this.nodes.delete(node.guid);
    this.portCount -= node.ports.length;
  }

  switches(): SubnetNode[] {
    return [...this.nodes.values()].filter((node) => node.isSwitch);
  }

  /** Whether `node` is what is known now: not one that was lost, and may have been found again as another. */
  has(node: SubnetNode): boolean {
    return this.nodes.get(node.guid) === node;
  }

  /** Somebody else may have changed everything: it is to be found anew. Who was there is known until the next `prune`. */
  forget(): void {
    this.nodes.clear();
    this.portCount = 0;
    this.root = undefined;
  }

  /** The end port with this GUID, its own or a further one. */
  findPort(guid: bigint): SubnetPort | undefined {
    return this.byGuid.get(guid) ?? this.byGuid.get(this.aliases.get(guid) ?? 0n);
  }

  /** Notes that `a` and `b` are joined; whatever they were joined to before is not any more. */
  link(a: SubnetPort, b: SubnetPort): void {
    if (a.peer === b) return;
    this.unlink(a);
    this.unlink(b);
    a.peer = b;
    b.peer = a;
    for (const [port, { node }] of [[a, b] as const, [b, a] as const]) {
      const former = port.node.isSwitch && node.isSwitch ? this.#formerPeers.get(keyOf(port)) : undefined;
      if (former !== undefined && former !== node.guid) this.movedTrunks++;
    }
  }

  #remember(port: SubnetPort, { guid, isSwitch }: SubnetNode): void {
    if (!isSwitch || !port.node.isSwitch) return;
    // what has been forgotten only once may have been anything
    if (this.#formerPeers.size >= FORMER_PEERS_MAX) {
      this.#formerPeers.clear();
      this.movedTrunks++;
    }
    this.#formerPeers.set(keyOf(port), guid);
  }

  /** The ports are not joined any more; what they told is out of date. */
  unlink(port: SubnetPort): void {
    const { peer } = port;
    if (peer === undefined) return;
    this.#remember(port, peer.node);
    this.#remember(peer, port.node);
    for (const end of [port, peer]) {
      end.peer = undefined;
      end.hasInfo = false;
      end.tables = undefined;
      end.pkeys = undefined;
      end.needsReregister = true;
    }
  }

  /**
   * Finds every node's shortest path from the root (breadth first, ports in order) and forgets nodes without one.
   * @returns the end ports that went.
   */
  prune(): SubnetPort[] {
    const { root } = this;
    if (root === undefined) return [];
    const before = [...this.byGuid.values()];
    const reached = new Set<SubnetNode>([root]);
    root.path = [];
    root.ingress = 0;
    for (const node of reached) {
      // a CA does not forward; only the manager's own CA has anything behind it
      if (!node.isSwitch && node !== root) continue;
      for (const port of node.ports) {
        const next = port?.peer?.node;
        if (port === undefined || next === undefined || reached.has(next)) continue;
        next.path = [...node.path, port.number];
        next.ingress = port.peer?.number ?? 0;
        reached.add(next);
      }
    }
    for (const node of [...this.nodes.values()]) if (!reached.has(node)) this.#remove(node);
    this.reindex();
    return before.filter((port) => this.byGuid.get(port.guid) !== port);
  }

  /** Rebuilds the look-up tables after LIDs or links have changed. */
  reindex(): void {
    this.byGuid.clear();
    this.byLid.clear();
    this.topLid = 0;
    for (const node of this.nodes.values()) {
      for (const port of node.presentPorts()) {
        this.byGuid.set(port.guid, port);
        if (port.lid === 0) continue;
        for (let i = 0; i < port.lidCount; i++) this.byLid.set(port.lid + i, port);
        this.topLid = Math.max(this.topLid, port.lid + port.lidCount - 1);
      }
    }
  }
}
