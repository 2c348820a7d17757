// The fabric as a graph, made of what the control API says: nodes by name, each with its cables in the order of its ports.

import type { NodeView } from "../../fabric/inspect.ts";
import type { LinkEndView, LinkView } from "../../fabric/inspect-links.ts";

/** A cable as one of its nodes sees it. */
export interface Cable {
  readonly link: LinkView;
  readonly near: LinkEndView;
  readonly far: LinkEndView;
  readonly peer: GraphNode;
}

export interface GraphNode {
  readonly view: NodeView;
  readonly name: string;
  readonly isSwitch: boolean;
  readonly cables: Cable[];
  /** Cables to the nearest host; 0 for a host, Infinity where none is reached. */
  level: number;
}

/** Nodes by GUID, in the fabric's order. */
export type Graph = ReadonlyMap<string, GraphNode>;

export function makeGraph(nodes: readonly NodeView[], links: readonly LinkView[]): Graph {
  const graph = new Map<string, GraphNode>();
  for (const view of nodes) {
    const isSwitch = view.type === "SWITCH";
    graph.set(view.guid, { view, name: view.name, isSwitch, cables: [], level: isSwitch ? Number.POSITIVE_INFINITY : 0 });
  }
  for (const link of links) {
    const [a, b] = [graph.get(link.a.guid), graph.get(link.b.guid)];
    // One of them may have gone while the other was listed.
    if (a === undefined || b === undefined) continue;
    a.cables.push({ link, near: link.a, far: link.b, peer: b });
    b.cables.push({ link, near: link.b, far: link.a, peer: a });
  }
  for (const { cables } of graph.values()) cables.sort((x, y) => x.near.port - y.near.port);
  measureLevels(graph);
  return graph;
}

function measureLevels(graph: Graph): void {
  const reached = [...graph.values()].filter(({ isSwitch }) => !isSwitch);
  for (const node of reached) {
    for (const { peer } of node.cables) {
      if (peer.level !== Number.POSITIVE_INFINITY) continue;
      peer.level = node.level + 1;
      reached.push(peer);
    }
  }
}

/** LID of a node's first port, or of a switch; 0 for none. */
export const lidOf = ({ view }: GraphNode): number => view.ports.find(({ lid }) => lid !== 0)?.lid ?? 0;

/** `n1:1`, as `vhca fabric link` takes it. */
export const endText = ({ node, port }: LinkEndView): string => `${node}:${port}`;
