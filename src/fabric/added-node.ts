// A node that is added to a running fabric: the same bounds as in a topology.

import type { Fabric } from "./fabric.ts";
import { checkNode, MAX_LIDS, MAX_PORTS } from "./topology/check.ts";
import type { SpeedName, TopologyNode, WidthName } from "./topology/topology.ts";
import { Trunk } from "./trunk.ts";

export interface AddedNode extends Pick<TopologyNode, "kind" | "name" | "portCount" | "guid" | "description"> {
  /** A cable to each of these: NODE, or NODE:PORT. */
  readonly at?: readonly string[] | undefined;
  /** What these cables carry at most. */
  readonly width?: WidthName | undefined;
  readonly speed?: SpeedName | undefined;
}

const NAME = /^[A-Za-z0-9][\w.-]*$/;

/** @throws what is wrong, what was expected and how to mend it */
export function checkAddedNode(fabric: Fabric, node: AddedNode): void {
  const { name, kind, portCount, guid, at = [] } = node;
  if (!NAME.test(name)) throw new Error(`${name}: expected a name of letters, digits, '.', '_' and '-'`);
  checkNode("the new node", node);
  if (at.length > portCount)
    throw new Error(`${kind} ${name} has ${portCount} ports, and ${at.length} cables need one each; give it more ports`);
  if (fabric.findLabel(name) !== undefined)
    throw new Error(`there is a node named ${name} already; give the new one another name`);
  if (guid !== undefined && fabric.findNode(guid) !== undefined)
    throw new Error(`node GUID 0x${guid.toString(16)} is in the fabric already`);
  let lids = kind === "switch" ? 1 : portCount;
  let ports = portCount;
  for (const each of fabric.nodes) {
    if (each instanceof Trunk) continue;
    lids += each.switch === undefined ? each.ports.length - 1 : 1;
    ports += each.ports.length - 1;
  }
  if (lids > MAX_LIDS)
    throw new Error(`there are ${MAX_LIDS} LIDs, and switches and host ports have them all; remove a node first`);
  if (ports > MAX_PORTS) throw new Error(`a fabric has at most ${MAX_PORTS} ports, and with ${name} there would be ${ports}`);
}
