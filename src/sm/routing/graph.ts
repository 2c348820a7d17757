// The switches as numbers, for routing: which cables join them, and which LIDs are at home on each. Made anew for every computation, in
// flat arrays, because there are thousands of switches and every one of them is looked at for every other.

import type { Subnet, SubnetNode, SubnetPort } from "../subnet.ts";

/** End ports on one switch: its own port 0 and the hosts' ports, by ascending LID. */
export interface Home {
  /** Number of the switch. */
  readonly at: number;
  readonly ports: readonly SubnetPort[];
}

export class SwitchGraph {
  readonly switches: readonly SubnetNode[];
  /** Cables of switch s: edges `firstEdge[s]` up to `firstEdge[s + 1]`, by ascending port. Each cable is two edges, one from either end. */
  readonly firstEdge: Int32Array;
  /** Switch an edge leads to. */
  readonly edgeTo: Int32Array;
  /** Port an edge leaves by. */
  readonly edgePort: Uint8Array;
  /** By lowest LID. */
  readonly homes: readonly Home[];
  /** Highest LID. */
  readonly topLid: number;

  constructor(subnet: Subnet) {
    this.switches = subnet.switches();
    const index = new Map(this.switches.map((node, i) => [node, i]));
    const ends = this.switches.map((node) => trunksOf(node, index));
    const edgeCount = ends.reduce((sum, { length }) => sum + length, 0);
    this.firstEdge = new Int32Array(this.switches.length + 1);
    this.edgeTo = new Int32Array(edgeCount);
    this.edgePort = new Uint8Array(edgeCount);
    let edge = 0;
    ends.forEach((trunks, at) => {
      for (const port of trunks) {
        this.edgePort[edge] = port.number;
        this.edgeTo[edge++] = (port.peer === undefined ? undefined : index.get(port.peer.node)) ?? at;
      }
      this.firstEdge[at + 1] = edge;
    });
    this.homes = homesOf(subnet, index);
    this.topLid = subnet.topLid;
  }

  get edgeCount(): number {
    return this.edgeTo.length;
  }
}

/** Ports of a switch with another switch behind them. */
function trunksOf(node: SubnetNode, index: ReadonlyMap<SubnetNode, number>): SubnetPort[] {
  const trunks: SubnetPort[] = [];
  for (const port of node.ports) {
    const to = port?.peer?.node;
    if (port !== undefined && to !== undefined && to !== node && index.has(to)) trunks.push(port);
  }
  return trunks;
}

function homesOf(subnet: Subnet, index: ReadonlyMap<SubnetNode, number>): Home[] {
  const groups = new Map<number, SubnetPort[]>();
  for (const port of [...subnet.byGuid.values()].sort((a, b) => a.lid - b.lid)) {
    const at = index.get(port.node.isSwitch ? port.node : (port.peer?.node ?? port.node));
    if (at === undefined || port.lid === 0) continue;
    const group = groups.get(at);
    if (group === undefined) groups.set(at, [port]);
    else group.push(port);
  }
  return [...groups].map(([at, ports]) => ({ at, ports }));
}
