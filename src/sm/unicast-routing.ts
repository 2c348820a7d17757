// Unicast routes: every switch sends every LID along a shortest way (min-hop). Where several ports are as good, the one with
// the fewest LIDs so far is taken, LIDs in ascending order, so equal subnets get equal tables and a new host moves no old one.

import { LFT_BLOCK_LIDS, LFT_DISCARD } from "../spec/mad/numbers.ts";
import type { Subnet, SubnetNode, SubnetPort } from "./subnet.ts";

interface Edge {
  readonly port: number;
  readonly to: number;
}

const UNREACHED = -1;

/** Computes `SwitchState.linear` of every switch. */
export function routeUnicast(subnet: Subnet): void {
  const switches = subnet.switches();
  const index = new Map(switches.map((node, i) => [node, i]));
  const edges = switches.map((node) => edgesOf(node, index));
  const lids = [...subnet.byLid.keys()].sort((a, b) => a - b);
  const top = lids.at(-1) ?? 0;
  const tableBytes = (Math.floor(top / LFT_BLOCK_LIDS) + 1) * LFT_BLOCK_LIDS;
  const tables = switches.map(() => new Uint8Array(tableBytes).fill(LFT_DISCARD));
  const loads = switches.map((node) => new Uint32Array(node.ports.length));
  for (const [home, ports] of groupByHome(subnet, lids, index)) {
    const distance = distancesTo(home, edges);
    for (let at = 0; at < switches.length; at++) {
      if (distance[at] === UNREACHED) continue;
      const candidates = at === home ? [] : (edges[at] ?? []).filter(({ to }) => distance[to] === (distance[at] ?? 0) - 1);
      for (const port of ports) {
        const out = at === home ? (port.peer?.number ?? 0) : leastLoaded(candidates, loads[at]);
        const table = tables[at];
        if (table !== undefined) table[port.lid] = out;
      }
    }
  }
  switches.forEach((node, i) => {
    if (node.switch !== undefined) node.switch.linear = tables[i] ?? node.switch.linear;
  });
}

function edgesOf(node: SubnetNode, index: ReadonlyMap<SubnetNode, number>): Edge[] {
  const edges: Edge[] = [];
  for (const port of node.ports) {
    const to = port?.peer === undefined ? undefined : index.get(port.peer.node);
    if (port !== undefined && to !== undefined && port.peer?.node !== node) edges.push({ port: port.number, to });
  }
  return edges;
}

/** End ports by the switch they hang on (or are), each group's LIDs ascending, groups by their lowest LID. */
function groupByHome(subnet: Subnet, lids: readonly number[], index: ReadonlyMap<SubnetNode, number>): Map<number, SubnetPort[]> {
  const groups = new Map<number, SubnetPort[]>();
  for (const lid of lids) {
    const port = subnet.byLid.get(lid);
    if (port === undefined) continue;
    const home = index.get(port.node.isSwitch ? port.node : (port.peer?.node ?? port.node));
    if (home === undefined) continue;
    const group = groups.get(home);
    if (group === undefined) groups.set(home, [port]);
    else group.push(port);
  }
  return groups;
}

/** Hops from every switch to switch `home`. */
function distancesTo(home: number, edges: readonly Edge[][]): Int32Array {
  const distance = new Int32Array(edges.length).fill(UNREACHED);
  distance[home] = 0;
  const queue = [home];
  for (const at of queue) {
    for (const { to } of edges[at] ?? []) {
      if (distance[to] !== UNREACHED) continue;
      distance[to] = (distance[at] ?? 0) + 1;
      queue.push(to);
    }
  }
  return distance;
}

function leastLoaded(candidates: readonly Edge[], load: Uint32Array | undefined): number {
  let best = LFT_DISCARD;
  for (const { port } of candidates) {
    if (best === LFT_DISCARD || (load?.[port] ?? 0) < (load?.[best] ?? 0)) best = port;
  }
  if (load !== undefined && best !== LFT_DISCARD) load[best] = (load[best] ?? 0) + 1;
  return best;
}
