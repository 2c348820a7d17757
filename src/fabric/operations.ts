// What can be asked of a running fabric by a message: each is one call into changes.ts or path.ts.

import type { AddedNode } from "./added-node.ts";
import { addCable, addNode, type CableRate, changeLink, type LinkChange, removeCable, removeNode } from "./changes.ts";
import type { DomainFabric } from "./domain-fabric.ts";
import type { NodeView } from "./inspect.ts";
import type { LinkView } from "./inspect-links.ts";
import { inspectNodeNamed, type NodeDetails } from "./inspect-node.ts";
import { findPath, getLid, type PathStart, type PathView } from "./path.ts";

/** Ends are written NODE:PORT. */
export type FabricOperation =
  | { readonly op: "changeLink"; readonly end: string; readonly change: LinkChange }
  | { readonly op: "addCable"; readonly ends: readonly [string, string]; readonly rate: CableRate }
  | { readonly op: "removeCable"; readonly end: string }
  | { readonly op: "addNode"; readonly node: AddedNode }
  | { readonly op: "removeNode"; readonly name: string }
  | { readonly op: "node"; readonly name: string }
  | { readonly op: "lid"; readonly end: string; readonly offset: number }
  | { readonly op: "path"; readonly start: PathStart; readonly dlid: number };

/** What each answers. */
export interface FabricAnswers {
  changeLink: LinkView;
  addCable: LinkView;
  removeCable: LinkView;
  addNode: NodeView;
  removeNode: NodeView;
  node: NodeDetails;
  lid: number;
  path: PathView;
}

/** @throws NotFoundError, or what is wrong with it; nothing has changed then */
export function operateFabric(domain: DomainFabric, operation: FabricOperation): FabricAnswers[FabricOperation["op"]] {
  switch (operation.op) {
    case "changeLink":
      return changeLink(domain, operation.end, operation.change);
    case "addCable":
      return addCable(domain, operation.ends, operation.rate);
    case "removeCable":
      return removeCable(domain, operation.end);
    case "addNode":
      return addNode(domain, operation.node);
    case "removeNode":
      return removeNode(domain, operation.name);
    case "node":
      return inspectNodeNamed(domain.fabric, operation.name);
    case "lid":
      return getLid(domain.fabric, operation.end, operation.offset);
    case "path":
      return findPath(domain.fabric, operation.start, operation.dlid);
  }
}
