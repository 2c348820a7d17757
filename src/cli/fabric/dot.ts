// vhca fabric show --dot: the fabric for Graphviz, which lays it out: vhca fabric show --dot | dot -Tsvg >fabric.svg

import { type Graph, type GraphNode, lidOf } from "./graph.ts";
import { rateText, troubleText } from "./states.ts";

export function dotText(graph: Graph, title: string): string {
  const lines = [`graph ${quoted(title)} {`, "  node [fontname=sans]; edge [fontname=sans, fontsize=9];"];
  for (const node of graph.values()) lines.push(`  ${quoted(node.name)} [${attributes(nodeAttributes(node))}];`);
  for (const node of graph.values()) {
    for (const { link, near, far, peer } of node.cables) {
      // Each cable once: at its first end.
      if (link.a !== near) continue;
      const trouble = troubleText(link);
      const edge = {
        taillabel: String(near.port),
        headlabel: String(far.port),
        label: trouble === "" ? rateText(link) : trouble,
      };
      const colour = trouble === "" ? {} : { color: "red", fontcolor: "red", style: link.state === "UP" ? "solid" : "dashed" };
      lines.push(`  ${quoted(node.name)} -- ${quoted(peer.name)} [${attributes({ ...edge, ...colour })}];`);
    }
  }
  lines.push("}");
  return lines.join("\n");
}

function nodeAttributes(node: GraphNode): Record<string, string> {
  const lid = lidOf(node);
  const label = `${node.name}${lid === 0 ? "" : `\nLID ${lid}`}`;
  if (node.isSwitch) return { label, shape: "box", style: "filled", fillcolor: "lightgrey" };
  return node.view.isPhantom ? { label, shape: "ellipse", style: "dashed" } : { label, shape: "ellipse", style: "bold" };
}

const attributes = (values: Record<string, string>): string =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join(", ");

const quoted = (text: string): string => `"${text.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
