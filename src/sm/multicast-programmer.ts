// Keeps the switches' multicast tables in step with the groups: from a group's members to the masks of every switch, from
// masks to the blocks that differ.

import { Lid } from "../spec/ib/numbers.ts";
import { MFT_BLOCK_LIDS, MFT_POSITION_PORTS } from "../spec/mad/numbers.ts";
import { SwitchInfo } from "../spec/mad/sm-attributes.ts";
import { type Member, MulticastTree } from "./multicast-routing.ts";
import { type Group, type GroupTable, RECEIVER_STATES } from "./sa/groups.ts";
import type { Subnet, SubnetNode } from "./subnet.ts";
import type { SwitchProgrammer } from "./switch-programmer.ts";

export class MulticastProgrammer {
  readonly #subnet: Subnet;
  readonly #groups: GroupTable;
  readonly #switches: SwitchProgrammer;
  #tree: MulticastTree;
  /** Output ports by MLID and switch. */
  readonly #routes: Map<number, Map<SubnetNode, Set<number>>> = new Map();

  constructor(subnet: Subnet, groups: GroupTable, switches: SwitchProgrammer) {
    this.#subnet = subnet;
    this.#groups = groups;
    this.#switches = switches;
    this.#tree = new MulticastTree(subnet);
  }

  /** The topology has changed: routes every group anew. */
  topologyChanged(nowNs: number): void {
    this.#tree = new MulticastTree(this.#subnet);
    this.#groups.takeChanged();
    const mlids = new Set(this.#routes.keys());
    for (const group of this.#groups.all()) mlids.add(group.mlid);
    this.#route(mlids, nowNs);
  }

  /** Members have come or gone: routes their groups anew. */
  membersChanged(nowNs: number): void {
    const mlids = this.#groups.takeChanged();
    if (mlids.size > 0) this.#route(mlids, nowNs);
  }

  #route(mlids: ReadonlySet<number>, nowNs: number): void {
    const blocks = new Set<number>();
    for (const mlid of mlids) {
      const group = this.#groups.findByMlid(mlid);
      const ports = group === undefined ? undefined : this.#tree.portsFor(this.#membersOf(group));
      if (ports === undefined || ports.size === 0) this.#routes.delete(mlid);
      else this.#routes.set(mlid, ports);
      blocks.add(Math.floor((mlid - Lid.MULTICAST_FIRST) / MFT_BLOCK_LIDS));
    }
    for (const node of this.#subnet.switches()) for (const block of blocks) this.#writeBlock(node, block, nowNs);
  }

  #membersOf(group: Group): Member[] {
    const members: Member[] = [];
    for (const { portGuid, joinState } of group.members.values()) {
      const port = this.#subnet.byGuid.get(portGuid);
      const isReceiver = (joinState & RECEIVER_STATES) !== 0;
      if (port === undefined) continue;
      if (port.node.isSwitch) members.push({ node: port.node, port: 0, isReceiver });
      else if (port.peer?.node.isSwitch === true) members.push({ node: port.peer.node, port: port.peer.number, isReceiver });
    }
    return members;
  }

  #writeBlock(node: SubnetNode, block: number, nowNs: number): void {
    if (node.switch === undefined || block * MFT_BLOCK_LIDS >= SwitchInfo.multicastFdbCap.get(node.switch.info, 0)) return;
    const positions = Math.ceil(node.ports.length / MFT_POSITION_PORTS);
    const masks = Array.from({ length: positions }, () => new Uint16Array(MFT_BLOCK_LIDS));
    for (let i = 0; i < MFT_BLOCK_LIDS; i++) {
      const ports = this.#routes.get(Lid.MULTICAST_FIRST + block * MFT_BLOCK_LIDS + i)?.get(node);
      for (const port of ports ?? []) {
        const mask = masks[Math.floor(port / MFT_POSITION_PORTS)];
        if (mask !== undefined) mask[i] = (mask[i] ?? 0) | (1 << (port % MFT_POSITION_PORTS));
      }
    }
    masks.forEach((mask, position) => {
      this.#switches.writeMulticast(node, block, position, bigEndian(mask), nowNs);
    });
  }
}

function bigEndian(words: Uint16Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(words.length * 2));
  words.forEach((word, i) => {
    view.setUint16(i * 2, word);
  });
  return new Uint8Array(view.buffer);
}
