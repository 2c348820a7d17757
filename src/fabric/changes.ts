// Changes to a running fabric: cables pulled, plugged in, made slower or bad; cables and nodes that come and go. The switches at their ends
// notice, as they would with real ones, and tell the subnet manager by traps.

import { type AddedNode, checkAddedNode } from "./added-node.ts";
import { CaNode } from "./ca-node.ts";
import type { DomainFabric } from "./domain-fabric.ts";
import type { Fabric } from "./fabric.ts";
import { getFreePort, getLink, getNode } from "./find.ts";
import { inspectNode, labelOf, type NodeView } from "./inspect.ts";
import { inspectLink, type LinkView } from "./inspect-links.ts";
import type { Link } from "./link.ts";
import { type LinkFaults, NO_FAULTS } from "./link-faults.ts";
import type { Port } from "./port.ts";
import { cableOf } from "./topology/build.ts";
import type { SpeedName, WidthName } from "./topology/topology.ts";
import { Trunk } from "./trunk.ts";

/** What a cable carries at most; "auto" for what its ports can. */
export interface CableRate {
  readonly width?: WidthName | "auto" | undefined;
  readonly speed?: SpeedName | "auto" | undefined;
}

export interface LinkChange extends CableRate {
  /** Plug the cable in, or pull it. */
  readonly isPlugged?: boolean | undefined;
  /** What is wrong with the cable from now on, where it differs; undefined leaves it, null mends it. */
  readonly faults?: Partial<LinkFaults> | null | undefined;
}

/** Changes the cable at `NODE:PORT`. @throws NotFoundError, or what is wrong with the values */
export function changeLink({ fabric }: DomainFabric, end: string, change: LinkChange): LinkView {
  const link = getLink(fabric, end);
  const { isPlugged, faults, ...rate } = change;
  if (faults !== undefined) {
    fabric.setFaults(link, faults === null ? undefined : { ...NO_FAULTS, ...link.faults, ...faults });
    if (link.faults !== undefined) fabric.injected.cablesSpoiled++;
  }
  setRate(link, rate);
  if (isPlugged !== undefined && isPlugged !== link.isPlugged) plug(fabric, link, isPlugged);
  return inspectLink(link);
}

function plug(fabric: Fabric, link: Link, isPlugged: boolean): void {
  link.setPlugged(isPlugged);
  if (!isPlugged) fabric.injected.cablesPulled++;
}

function setRate(link: Link, { width, speed }: CableRate): void {
  if (width === undefined && speed === undefined) return;
  if (leadsAway(link))
    throw new Error("the cable leads to another engine; its width and speed cannot be set, only link up and link down");
  const { cable } = link;
  const { widths, speeds } = cableOf({ width, speed });
  link.setCable({ widths: width === undefined ? cable.widths : widths, speeds: speed === undefined ? cable.speeds : speeds });
}

const leadsAway = ({ a, b }: Link): boolean => a.node instanceof Trunk || b.node instanceof Trunk;

/** Joins two ports; an end without a port gets the first that is free. @throws NotFoundError, or if a port is taken */
export function addCable({ fabric }: DomainFabric, ends: readonly [string, string], rate: CableRate): LinkView {
  const near = getFreePort(fabric, ends[0]);
  const far = getFreePort(fabric, ends[1]);
  const other = far === near ? nextFree(near, ends[1]) : far;
  return inspectLink(fabric.connect(near, other, cableOf(rate)));
}

/** A cable from a node to itself takes two ports. */
function nextFree(port: Port, end: string): Port {
  const next = port.node.ports.find((each) => each !== undefined && each.number > port.number && each.link === undefined);
  if (next === undefined || end.endsWith(`:${port.number}`)) throw new Error(`a cable needs two ports, got ${end} twice`);
  return next;
}

/** Takes a cable away; returns what it was. @throws NotFoundError */
export function removeCable({ fabric }: DomainFabric, end: string): LinkView {
  const link = getLink(fabric, end);
  if (leadsAway(link)) throw new Error(`the cable at ${end} leads to another engine and stays; pull it with link down`);
  const view = inspectLink(link);
  fabric.disconnect(link);
  return view;
}

/** Adds a switch, or a host that is a phantom, and its cables. @throws if it cannot be, with nothing changed */
export function addNode(domain: DomainFabric, node: AddedNode): NodeView {
  const { fabric } = domain;
  checkAddedNode(fabric, node);
  const peers = takePorts(domain, node.at ?? []);
  const added = domain.addNode(node);
  const own = added.ports.filter((port) => port !== undefined && port.number > 0) as Port[];
  for (const [i, peer] of peers.entries()) {
    const port = own[i];
    if (port !== undefined) fabric.connect(port, peer, cableOf(node));
  }
  return inspectNode(added);
}

/** A free port for each end; where several name the same node, different ones. */
function takePorts({ fabric }: DomainFabric, ends: readonly string[]): Port[] {
  const taken: Port[] = [];
  for (const end of ends) {
    let port: Port | undefined = getFreePort(fabric, end);
    while (port !== undefined && taken.includes(port)) port = nextFree(port, end);
    taken.push(port);
  }
  return taken;
}

/** Takes a node and its cables away; returns what it was. @throws NotFoundError, or if it cannot go */
export function removeNode(domain: DomainFabric, name: string): NodeView {
  const node = getNode(domain.fabric, name);
  if (node instanceof CaNode && node.hca !== undefined)
    throw new Error(`${name} is an HCA; unplug it first: vhca hca rm ${node.hca}`);
  const why = domain.whyNodeStays(node);
  if (why !== undefined) throw new Error(`${labelOf(node)} cannot be removed: ${why}`);
  const view = inspectNode(node);
  domain.dropNode(node);
  return view;
}
