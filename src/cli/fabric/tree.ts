// vhca fabric show --tree. A fabric is no tree: it is hung up at a spine, or else at the widest switch; whatever is reached from there without
// going up hangs below it, each node once and as high as it can. Cables that lead to a node that hangs elsewhere are written in one line
// (┄), so that every cable is seen once. What hangs nowhere begins a tree of its own.
//
// Siblings that look alike are folded into one line in a large fabric; whatever is different, such as an HCA or a cable that is down,
// stays to be seen.

import { dim, green, red, wrapList } from "../output.ts";
import { type Cable, endText, type Graph, type GraphNode, lidOf } from "./graph.ts";
import { linkText, rateText, troubleText } from "./states.ts";

/** Nodes up to which nothing is folded. */
const UNFOLDED_NODES = 64;
/** Siblings that are alike and are not worth folding. */
const UNFOLDED_SIBLINGS = 2;
/** Deeper than this no line could be read; what hangs there begins a tree of its own. */
const MAX_DEPTH = 16;
const WIDTH = 130;

/** A node and what hangs below it. */
interface Branch {
  readonly node: GraphNode;
  /** The cable it hangs on, as the node above sees it. */
  readonly cable: Cable | undefined;
  readonly depth: number;
  readonly children: Branch[];
  /** Cables to nodes that hang elsewhere. */
  readonly others: Cable[];
  /** Equal for branches that look alike. */
  looks: string;
}

/** @param all nothing is folded */
export function treeLines(graph: Graph, all: boolean): string[] {
  const roots = hang(graph);
  const folds = !all && graph.size > UNFOLDED_NODES;
  return groupsOf(roots, folds).flatMap((group) => groupLines(group, "", "", folds));
}

/** Every node in a branch, and every cable that is no part of a branch at one of its ends. */
function hang(graph: Graph): Branch[] {
  const branches = new Map<GraphNode, Branch>();
  const order: Branch[] = [];
  const roots: Branch[] = [];
  for (const root of byHeight(graph)) {
    if (branches.has(root)) continue;
    const first = order.length;
    roots.push(add(branches, order, { node: root, cable: undefined, depth: 0 }));
    // `order` grows: breadth first.
    for (let i = first; i < order.length; i++) hangBelow(order[i] as Branch, branches, order);
  }
  noteOthers(order, branches);
  for (const branch of order.toReversed()) branch.looks = looksOf(branch);
  return roots;
}

/** Spines first, that is switches far from any host; then those with more cables. */
function byHeight(graph: Graph): GraphNode[] {
  const height = ({ level }: GraphNode): number => (level === Number.POSITIVE_INFINITY ? -1 : level);
  return [...graph.values()].sort((a, b) => height(b) - height(a) || b.cables.length - a.cables.length);
}

function hangBelow(branch: Branch, branches: Map<GraphNode, Branch>, order: Branch[]): void {
  if (branch.depth >= MAX_DEPTH) return;
  for (const cable of branch.node.cables) {
    const { peer } = cable;
    if (branches.has(peer) || peer.level > branch.node.level) continue;
    branch.children.push(add(branches, order, { node: peer, cable, depth: branch.depth + 1 }));
  }
}

function add(
  branches: Map<GraphNode, Branch>,
  order: Branch[],
  { node, cable, depth }: Pick<Branch, "node" | "cable" | "depth">,
): Branch {
  const branch: Branch = { node, cable, depth, children: [], others: [], looks: "" };
  branches.set(node, branch);
  order.push(branch);
  return branch;
}

/** Each cable that nothing hangs on, at the node that was reached last. */
function noteOthers(order: readonly Branch[], branches: ReadonlyMap<GraphNode, Branch>): void {
  const hung = new Set(order.map(({ cable }) => cable?.link));
  const seen = new Set<GraphNode>();
  for (const branch of order) {
    seen.add(branch.node);
    for (const cable of branch.node.cables) {
      if (hung.has(cable.link) || !branches.has(cable.peer) || !seen.has(cable.peer)) continue;
      // A cable from a node to itself is seen at both ends.
      if (cable.peer === branch.node && cable.near !== cable.link.a) continue;
      branch.others.push(cable);
    }
  }
}

function looksOf({ node, cable, children, others }: Branch): string {
  const own = node.isSwitch ? "switch" : node.view.isPhantom ? "phantom" : `HCA ${node.name}`;
  const links = others.map(({ link }) => linkText(link)).sort();
  const below = children.map(({ looks }) => looks).sort();
  return JSON.stringify([own, cable === undefined ? "" : linkText(cable.link), links, below]);
}

/** Siblings that look alike together, where that is wanted and worth it. */
function groupsOf(branches: readonly Branch[], folds: boolean): Branch[][] {
  if (!folds) return branches.map((branch) => [branch]);
  const groups = new Map<string, Branch[]>();
  for (const branch of branches) groups.set(branch.looks, [...(groups.get(branch.looks) ?? []), branch]);
  return [...groups.values()].flatMap((group) => (group.length > UNFOLDED_SIBLINGS ? [group] : group.map((branch) => [branch])));
}

/**
 * The first of a group, and one line for the others; hosts in one line for all.
 * @param lead what stands before the first line
 * @param indent what stands before what hangs below it
 */
function groupLines(group: readonly Branch[], lead: string, indent: string, folds: boolean, isLast = true): string[] {
  const [first, ...others] = group;
  if (first === undefined) return [];
  if (others.length === 0) return branchLines(first, lead, indent, folds);
  if (!first.node.isSwitch) return [lead + foldedHosts(group)];
  const moreLead = lead.replace("├", isLast ? "└" : "├");
  return [
    ...branchLines(first, lead, lead.endsWith("─") ? `${indent.slice(0, -3)}│  ` : indent, folds),
    `${moreLead} ${dim(`… ${others.length} more like ${first.node.name}: ${namesText(others)}`)}`.trimStart(),
  ];
}

function branchLines(branch: Branch, lead: string, indent: string, folds: boolean): string[] {
  const lines = [lead + (lead === "" ? "" : " ") + headText(branch)];
  const groups = groupsOf(branch.children, folds);
  const hasOthers = branch.others.length > 0;
  for (const [i, group] of groups.entries()) {
    const isLast = i === groups.length - 1 && !hasOthers;
    const isFolded = group.length > 1 && group[0]?.node.isSwitch === true;
    const lineLead = `${indent}${isLast && !isFolded ? "└─" : "├─"}`;
    lines.push(...groupLines(group, lineLead, `${indent}${isLast ? "   " : "│  "}`, folds, isLast));
  }
  if (hasOthers) lines.push(...othersLines(branch.others, indent, folds));
  return lines;
}

/** `3 ── leaf1:36  switch, LID 5  4X DDR`. */
function headText({ node, cable }: Branch): string {
  const end = cable === undefined ? node.name : `${cable.near.port} ── ${endText(cable.far)}`;
  const facts = [kindText(node), lidText(node)].filter((text) => text !== "").join(", ");
  const link = cable === undefined ? "" : `  ${coloured(cable)}`;
  const loose = cable === undefined && node.cables.length === 0 ? ", no cable" : "";
  return `${end}  ${facts}${loose}${link}`;
}

function kindText({ isSwitch, view, name }: GraphNode): string {
  if (isSwitch) return "switch";
  if (view.isPhantom) return dim("phantom");
  return green(view.hca === undefined || view.hca === name ? "HCA" : `HCA ${view.hca}`);
}

function lidText(node: GraphNode): string {
  const lid = lidOf(node);
  return lid === 0 ? "" : `LID ${lid}`;
}

function coloured({ link }: Cable): string {
  const trouble = troubleText(link);
  return [rateText(link), trouble === "" ? "" : red(trouble)].filter((text) => text !== "").join(" ");
}

/** Cables to what hangs elsewhere: `┄ 1 ┄ agg1-1:3, 2 ┄ agg1-2:3`. */
function othersLines(cables: readonly Cable[], indent: string, folds: boolean): string[] {
  const text = (cable: Cable): string =>
    `${cable.near.port} ┄ ${endText(cable.far)}${troubleText(cable.link) === "" ? "" : ` ${red(troubleText(cable.link))}`}`;
  const isFolded = folds && cables.length > 4 && cables.every(({ link }) => troubleText(link) === "");
  if (isFolded) {
    const [first, last] = [cables[0], cables.at(-1)];
    if (first !== undefined && last !== undefined)
      return [`${indent}└┄ ${text(first)} … ${text(last)} ${dim(`(${cables.length} cables)`)}`];
  }
  const lines = wrapList(cables.map(text), WIDTH - indent.length);
  return lines.map((line, i) => `${indent}${i === 0 ? "└┄" : "  "} ${line}`);
}

/** `1…16 ── n1 … n16  16 phantoms, LIDs 5…20  4X DDR`. */
function foldedHosts(group: readonly Branch[]): string {
  const [first, last] = [group[0] as Branch, group.at(-1) as Branch];
  const ports = first.cable === undefined ? "" : `${first.cable.near.port}…${last.cable?.near.port} ── `;
  const lids = group.map(({ node }) => lidOf(node)).filter((lid) => lid !== 0);
  const lidsText = lids.length === 0 ? "" : `, LIDs ${Math.min(...lids)}…${Math.max(...lids)}`;
  const link = first.cable === undefined ? "" : `  ${coloured(first.cable)}`;
  return ` ${ports}${first.node.name} … ${last.node.name}  ${dim(`${group.length} phantoms`)}${lidsText}${link}`;
}

function namesText(branches: readonly Branch[]): string {
  const names = branches.map(({ node }) => node.name);
  return names.length <= 4 ? names.join(", ") : `${names.slice(0, 2).join(", ")} … ${names.at(-1)}`;
}
