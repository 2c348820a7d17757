// What several engines say of their parts of the fabric, as one fabric.

import type { FabricView, NodeView } from "../fabric/inspect.ts";
import { gbpsOf, type LinkEndView, type LinkView } from "../fabric/inspect-links.ts";
import { trunkPort } from "./engine-fabric.ts";

/** One view of all; each engine's switch is the first node of its part. */
export function joinFabricViews(views: readonly FabricView[]): FabricView {
  const [first] = views;
  if (first === undefined) throw new Error("invariant: an engine at least");
  if (views.length === 1) return first;
  const nodes = joinNodes(views.map((view) => view.nodes));
  const trunks = trunkLinks(nodes);
  const sum = (of: (view: FabricView) => number): number => views.reduce((total, view) => total + of(view), 0);
  const counts = { ...first.counts };
  for (const view of views.slice(1)) {
    for (const key of Object.keys(counts) as (keyof typeof counts)[]) counts[key] += view.counts[key];
  }
  return {
    nodes: nodes.flat(),
    nodeCount: sum(({ nodeCount }) => nodeCount),
    linkCount: sum(({ linkCount }) => linkCount) + trunks.length,
    linksUp: sum(({ linksUp }) => linksUp) + trunks.filter(({ isUp }) => isUp).length,
    isCut: views.some(({ isCut }) => isCut),
    links: [...views.flatMap(({ links }) => links), ...trunks],
    counts,
    lanes: undefined,
    queued: sum(({ queued }) => queued),
    epoch: sum(({ epoch }) => epoch),
  };
}

/** The nodes of each engine with the cables between their switches leading from one to the other. */
export function joinNodes(parts: readonly (readonly NodeView[])[]): NodeView[][] {
  const count = parts.length;
  return parts.map((nodes, index) =>
    nodes.map((node) => ({
      ...node,
      ports: node.ports.map((port) => {
        const peer = peerOf(index, port.number, count);
        if (peer === undefined || node !== nodes[0]) return port;
        const { guid = "?", name = "?" } = parts[peer]?.[0] ?? {};
        return { ...port, peer: { node: guid, name, port: trunkPort({ index: peer, count }, index) } };
      }),
    })),
  );
}

/** The cables between the switches of engines, made of what both ends say. */
export function trunkViews(parts: readonly (readonly NodeView[])[]): LinkView[] {
  const guidOf = new Map(parts.flatMap(([node]) => (node === undefined ? [] : [[node.guid, node] as const])));
  return trunkLinks(parts).flatMap(({ a, aPort, b, bPort, isUp }) => {
    const ends = [endOf(guidOf.get(a), aPort), endOf(guidOf.get(b), bPort)];
    const [near, far] = ends;
    if (near === undefined || far === undefined) return [];
    const text = guidOf.get(a)?.ports.find(({ number }) => number === aPort)?.link ?? "";
    const [width = "", speed = ""] = text.split(" ");
    const counts = { lost: 0, corrupted: 0, delayed: 0 };
    const state = isUp ? "UP" : "DOWN";
    return [{ a: near, b: far, state, width, speed, gbps: gbpsOf(width, speed), faults: undefined, counts }];
  });
}

function endOf(node: NodeView | undefined, number: number): LinkEndView | undefined {
  const port = node?.ports.find((each) => each.number === number);
  if (node === undefined || port === undefined) return undefined;
  const { state, physState, counters } = port;
  const lid = node.ports.find((each) => each.number === 0)?.lid ?? 0;
  return { node: node.name, guid: node.guid, port: number, lid, state, physState, counters, lanes: [] };
}

/** The engine that a port of engine `index`'s switch leads to. */
function peerOf(index: number, port: number, count: number): number | undefined {
  for (let peer = 0; peer < count; peer++) if (peer !== index && trunkPort({ index, count }, peer) === port) return peer;
  return undefined;
}

function trunkLinks(parts: readonly (readonly NodeView[])[]): FabricView["links"] {
  const count = parts.length;
  const links: FabricView["links"] = [];
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) {
      const [near, far] = [parts[a]?.[0], parts[b]?.[0]];
      if (near === undefined || far === undefined) continue;
      const [aPort, bPort] = [trunkPort({ index: a, count }, b), trunkPort({ index: b, count }, a)];
      const isUp = near.ports.find(({ number }) => number === aPort)?.physState === "LINK_UP";
      links.push({ a: near.guid, aPort, b: far.guid, bPort, isUp });
    }
  }
  return links;
}
