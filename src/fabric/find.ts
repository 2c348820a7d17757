// Nodes, ports and cables by the names people give them: NODE, NODE:PORT.

import { NotFoundError } from "../base/inspect.ts";
import { suggestion } from "../base/near-names.ts";
import { CaNode } from "./ca-node.ts";
import type { Fabric } from "./fabric.ts";
import { labelOf } from "./inspect.ts";
import type { Link } from "./link.ts";
import type { FabricNode } from "./node.ts";
import type { Port } from "./port.ts";
import { Trunk } from "./trunk.ts";

/** Ports listed in an error. */
const LISTED = 6;

/** The node of that name; an HCA that is a host of another name has both. @throws NotFoundError with names that are near */
export function getNode(fabric: Fabric, name: string): FabricNode {
  const named = fabric.findLabel(name);
  if (named !== undefined) return named;
  const names: string[] = [];
  for (const node of fabric.nodes) {
    if (node instanceof CaNode && node.hca === name) return node;
    if (!(node instanceof Trunk)) names.push(labelOf(node));
  }
  throw new NotFoundError(noNodeText(name, names));
}

export const noNodeText = (name: string, names: Iterable<string>): string =>
  `there is no node ${name}${suggestion(name, names) || " (vhca fabric show names them)"}`;

/** A name and the port that is named with it; names may contain colons. */
export function parseEnd(text: string): { node: string; port: number | undefined } {
  const [, node, port] = /^(.+):(\d{1,3})$/.exec(text) ?? [];
  return node === undefined ? { node: text, port: undefined } : { node, port: Number(port) };
}

/** The port of `NODE:PORT`; `NODE` alone is enough for a host with one port. @throws NotFoundError */
export function getPort(fabric: Fabric, end: string): Port {
  const { node: name, port: number } = parseEnd(end);
  const node = getNode(fabric, name);
  const ports = node.ports.filter((port) => port !== undefined && port.number > 0) as Port[];
  if (number === undefined) {
    const [only, second] = ports;
    if (only !== undefined && second === undefined) return only;
    throw new NotFoundError(`${name} has ${ports.length} ports; say which one, such as ${name}:${ports[0]?.number ?? 1}`);
  }
  const port = ports.find((each) => each.number === number);
  if (port === undefined) throw new NotFoundError(`${name} has ports 1 to ${ports.length}, there is no port ${number}`);
  return port;
}

/** The cable at `NODE:PORT`; `NODE` alone is enough where it has one cable. @throws NotFoundError */
export function getLink(fabric: Fabric, end: string): Link {
  const { node: name, port: number } = parseEnd(end);
  if (number !== undefined) {
    const { link } = getPort(fabric, end);
    if (link === undefined)
      throw new NotFoundError(`there is no cable at port ${number} of ${name}${cabledText(getNode(fabric, name))}`);
    return link;
  }
  const [only, ...others] = cabledPorts(getNode(fabric, name));
  if (only?.link === undefined) throw new NotFoundError(`${name} has no cable`);
  if (others.length > 0)
    throw new NotFoundError(`${name} has ${others.length + 1} cables; say which one${cabledText(only.node)}`);
  return only.link;
}

const cabledPorts = (node: FabricNode): Port[] => node.ports.filter((port) => port?.link !== undefined) as Port[];

function cabledText(node: FabricNode): string {
  const ports = cabledPorts(node).map(({ number }) => number);
  if (ports.length === 0) return ", it has none at all";
  return `; it has cables at ports ${ports.slice(0, LISTED).join(", ")}${ports.length > LISTED ? ", …" : ""}`;
}

/** A port without a cable: of `NODE:PORT` that one, of `NODE` the first. @throws NotFoundError, or if there is none free */
export function getFreePort(fabric: Fabric, end: string): Port {
  const { node: name, port: number } = parseEnd(end);
  if (number !== undefined) {
    const port = getPort(fabric, end);
    if (port.link === undefined) return port;
    const peer = port.link.other(port);
    throw new Error(`port ${number} of ${name} has a cable already, to ${labelOf(peer.node)}:${peer.number}`);
  }
  const node = getNode(fabric, name);
  const free = node.ports.find((port) => port !== undefined && port.number > 0 && port.link === undefined);
  if (free === undefined) throw new Error(`${name} has no free port: all ${cabledPorts(node).length} have cables`);
  return free;
}
