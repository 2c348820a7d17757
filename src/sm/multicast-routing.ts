// Multicast routes: one spanning tree of the switches for all groups; a group uses the branches that lie between two of its
// members. A tree has no loop, so no copy can come back.

import type { Subnet, SubnetNode } from "./subnet.ts";

interface Branch {
  readonly node: SubnetNode;
  readonly parent: SubnetNode;
  /** Port of `node` towards the parent, and the parent's port towards `node`. */
  readonly up: number;
  readonly down: number;
}

/** A member for routing: where it hangs, and whether it wants packets (senders only need a way in). */
export interface Member {
  /** Switch the member's port is linked to, and the port of that switch; port 0 for the switch itself. */
  readonly node: SubnetNode;
  readonly port: number;
  readonly isReceiver: boolean;
}

/** The spanning tree. */
export class MulticastTree {
  readonly #root: SubnetNode | undefined;
  /** Root excluded; parents before children. */
  readonly #branches: readonly Branch[];

  constructor(subnet: Subnet) {
    this.#root = rootOf(subnet);
    this.#branches = this.#root === undefined ? [] : grow(this.#root);
  }

  /** Output ports of one group, by switch. Switches that do not occur forward nothing. */
  portsFor(members: readonly Member[]): Map<SubnetNode, Set<number>> {
    const ports = new Map<SubnetNode, Set<number>>();
    const below = new Map<SubnetNode, number>();
    for (const { node, port, isReceiver } of members) {
      below.set(node, (below.get(node) ?? 0) + 1);
      if (isReceiver) portsOf(ports, node).add(port);
    }
    for (let i = this.#branches.length - 1; i >= 0; i--) {
      const branch = this.#branches[i];
      const count = branch === undefined ? 0 : (below.get(branch.node) ?? 0);
      if (branch === undefined || count === 0) continue;
      below.set(branch.parent, (below.get(branch.parent) ?? 0) + count);
      // members on both sides of the branch
      if (count < members.length) {
        portsOf(ports, branch.node).add(branch.up);
        portsOf(ports, branch.parent).add(branch.down);
      }
    }
    return ports;
  }
}

function portsOf(all: Map<SubnetNode, Set<number>>, node: SubnetNode): Set<number> {
  let ports = all.get(node);
  if (ports === undefined) {
    ports = new Set();
    all.set(node, ports);
  }
  return ports;
}

/** The manager's own switch, or the one its port is linked to: stable, and near the queries that make groups. */
function rootOf(subnet: Subnet): SubnetNode | undefined {
  const { root } = subnet;
  if (root === undefined || root.isSwitch) return root;
  return root.presentPorts()[0]?.peer?.node;
}

function grow(root: SubnetNode): Branch[] {
  const branches: Branch[] = [];
  const reached = new Set<SubnetNode>([root]);
  for (const parent of reached) {
    for (const port of parent.ports) {
      const peer = port?.peer;
      if (port === undefined || peer === undefined || !peer.node.isSwitch || reached.has(peer.node)) continue;
      reached.add(peer.node);
      branches.push({ node: peer.node, parent, up: peer.number, down: port.number });
    }
  }
  return branches;
}
