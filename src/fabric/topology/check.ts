// Whether a topology can be built. The first mistake is thrown, with the line it is in.

import { guidText } from "../../base/names.ts";
import { suggestion } from "../../base/near-names.ts";
import { Lid } from "../../spec/ib/numbers.ts";
import { NODE_DESCRIPTION_BYTES } from "../../spec/mad/sm-attributes.ts";
import { MAX_NODE_PORTS } from "../limits.ts";
import { faultsProblem } from "../link-faults.ts";
import { type LinkEnd, type Topology, TopologyError, type TopologyNode } from "./topology.ts";

/** Hosts' ports and switches: each takes a unicast LID (IBA vol 1, 4.1.3). */
export const MAX_LIDS = Lid.UNICAST_LAST;
/** Ports of all nodes together: memory. */
export const MAX_PORTS = 1 << 18;

/** @throws TopologyError with what is wrong, where, what was expected and how to mend it */
export function checkTopology(topology: Topology): void {
  const nodes = checkNames(topology);
  for (const node of topology.nodes) checkNode(topology.source, node);
  checkSize(topology);
  checkGuids(topology);
  checkLinks(topology, nodes);
}

/** @throws TopologyError if there is no switch, behind whose port 0 the built-in subnet manager could live */
export function checkHasSwitch({ source, nodes }: Topology): void {
  if (nodes.some(({ kind }) => kind === "switch")) return;
  const mend = "add a switch, or let a guest manage the subnet (--sm none)";
  throw new TopologyError(source, undefined, `there is no switch, and the subnet manager lives in one; ${mend}`);
}

/**
 * Whether there are LIDs for all with 2^lmc for each port of a host. Those of a port lie together, the lowest a multiple of their number;
 * switches have one each, wherever there is room between.
 * @throws TopologyError if not
 */
export function checkLids({ source, nodes }: Topology, lmc: number): void {
  const each = 2 ** lmc;
  let switches = 0;
  let hostPorts = 0;
  for (const { kind, portCount } of nodes) {
    if (kind === "switch") switches++;
    else hostPorts += portCount;
  }
  // LID 0 is nobody's, so the first block has room for switches only
  const blocks = Math.floor((MAX_LIDS + 1) / each) - 1;
  const needed = hostPorts + Math.max(0, Math.ceil((switches - (each - 1)) / each));
  if (needed <= blocks) return;
  const what = `${hostPorts} host ports with 2^${lmc} LIDs each and ${switches} switches`;
  throw new TopologyError(source, undefined, `there are ${MAX_LIDS} LIDs, too few for ${what}; use a smaller --lmc`);
}

function checkNames({ source, nodes }: Topology): Map<string, TopologyNode> {
  const byName = new Map<string, TopologyNode>();
  for (const node of nodes) {
    const first = byName.get(node.name);
    if (first !== undefined) {
      const where = first.line === undefined ? "" : ` (the first one is in line ${first.line})`;
      throw new TopologyError(
        node.source ?? source,
        node.line,
        `there are two nodes named ${node.name}${where}; give one another name`,
      );
    }
    byName.set(node.name, node);
  }
  return byName;
}

type CheckedNode = Pick<TopologyNode, "kind" | "name" | "portCount" | "guid" | "description" | "line" | "source">;

/** @throws TopologyError if such a node cannot be */
export function checkNode(file: string, node: CheckedNode): void {
  const { kind, name, portCount, guid, description, line, source = file } = node;
  if (!Number.isInteger(portCount) || portCount < 1 || portCount > MAX_NODE_PORTS) {
    throw new TopologyError(source, line, `${kind} ${name}: expected 1 to ${MAX_NODE_PORTS} ports, got ${portCount}`);
  }
  if (guid !== undefined && (guid <= 0n || guid >= 2n ** 64n)) {
    throw new TopologyError(
      source,
      line,
      `${kind} ${name}: expected a GUID of 64 bits that is not 0, got 0x${guid.toString(16)}`,
    );
  }
  if (new TextEncoder().encode(description ?? name).length > NODE_DESCRIPTION_BYTES) {
    throw new TopologyError(source, line, `${kind} ${name}: expected a description of at most ${NODE_DESCRIPTION_BYTES} bytes`);
  }
}

function checkSize({ source, nodes }: Topology): void {
  if (nodes.length === 0)
    throw new TopologyError(source, undefined, "there is no node in it; expected a switch or a host at least");
  let lids = 0;
  let ports = 0;
  for (const { kind, portCount } of nodes) {
    lids += kind === "switch" ? 1 : portCount;
    ports += portCount;
  }
  if (lids > MAX_LIDS) {
    throw new TopologyError(source, undefined, `expected at most ${MAX_LIDS} switches and host ports, one LID each; got ${lids}`);
  }
  if (ports > MAX_PORTS) throw new TopologyError(source, undefined, `expected at most ${MAX_PORTS} ports in all, got ${ports}`);
}

/** GUIDs by which management tells nodes and end ports apart. */
function checkGuids({ source, nodes }: Topology): void {
  const owners = { node: new Map<bigint, string>(), port: new Map<bigint, string>() };
  const claim = (kind: "node" | "port", guid: bigint, node: TopologyNode): void => {
    const other = owners[kind].get(guid);
    if (other !== undefined) {
      const what = `${kind} GUID ${guidText(guid)} of ${node.name} is that of ${other} too`;
      throw new TopologyError(node.source ?? source, node.line, `${what}; every ${kind} needs one of its own`);
    }
    owners[kind].set(guid, node.name);
  };
  for (const node of nodes) {
    if (node.guid === undefined) continue;
    claim("node", node.guid, node);
    if (node.kind === "switch") claim("port", node.guid, node);
    else for (let port = 1; port <= node.portCount; port++) claim("port", portGuidOf(node, node.guid, port), node);
  }
}

/** GUID of a host's port. */
export const portGuidOf = (node: TopologyNode, nodeGuid: bigint, port: number): bigint =>
  node.portGuids?.get(port) ?? nodeGuid + BigInt(port);

function checkLinks({ source: file, links }: Topology, nodes: ReadonlyMap<string, TopologyNode>): void {
  const used = new Map<string, number | undefined>();
  for (const { ends, loss = 0, corruption = 0, delayNs = 0, line, source = file } of links) {
    for (const end of ends) {
      checkEnd(source, end, nodes, line);
      const key = `${end.node}:${end.port}`;
      if (used.has(key)) {
        const first = used.get(key);
        const where = first === undefined ? "" : ` (the first one is in line ${first})`;
        throw new TopologyError(source, line, `port ${end.port} of ${end.node} has two cables${where}; move one to a free port`);
      }
      used.set(key, line);
    }
    const problem = faultsProblem({ loss, corruption, delayNs });
    if (problem !== undefined) {
      throw new TopologyError(source, line, problem);
    }
  }
}

function checkEnd(source: string, { node, port }: LinkEnd, nodes: ReadonlyMap<string, TopologyNode>, line?: number): void {
  const found = nodes.get(node);
  if (found === undefined) {
    const mend = suggestion(node, nodes.keys()) || "; add it, or correct the name";
    throw new TopologyError(source, line, `a cable leads to ${node}, but there is no such node${mend}`);
  }
  if (!Number.isInteger(port) || port < 1 || port > found.portCount) {
    throw new TopologyError(source, line, `${found.kind} ${node} has ports 1 to ${found.portCount}, got ${port}`);
  }
}
