// What several engines say of their parts of the fabric, as one fabric.

import type { FabricView } from "../fabric/inspect.ts";
import { trunkPort } from "./engine-fabric.ts";

/** One view of all; each engine's switch is the first node of its part. */
export function joinFabricViews(views: readonly FabricView[]): FabricView {
  const [first] = views;
  if (first === undefined) throw new Error("invariant: an engine at least");
  if (views.length === 1) return first;
  const count = views.length;
  const nodes = views.map((view, index) =>
    view.nodes.map((node) => ({
      ...node,
      ports: node.ports.map((port) => {
        const peer = peerOf(index, port.number, count);
        if (peer === undefined || node !== view.nodes[0]) return port;
        const guid = views[peer]?.nodes[0]?.guid ?? "?";
        return { ...port, peer: { node: guid, port: trunkPort({ index: peer, count }, index) } };
      }),
    })),
  );
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
    queued: sum(({ queued }) => queued),
    epoch: sum(({ epoch }) => epoch),
  };
}

/** The engine that a port of engine `index`'s switch leads to. */
function peerOf(index: number, port: number, count: number): number | undefined {
  for (let peer = 0; peer < count; peer++) if (peer !== index && trunkPort({ index, count }, peer) === port) return peer;
  return undefined;
}

function trunkLinks(parts: readonly FabricView["nodes"][]): FabricView["links"] {
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
