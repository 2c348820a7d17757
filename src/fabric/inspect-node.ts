// One node of the fabric with what is only shown when somebody asks for it: the virtual lanes of its ports. At most 254 ports with 16 lanes each.

import type { Fabric } from "./fabric.ts";
import { getNode } from "./find.ts";
import { inspectNode, type NodeView, type PortView } from "./inspect.ts";
import { inspectPortLanes, type PortLanesView } from "./lanes/inspect.ts";

export interface PortDetails extends PortView {
  /** Undefined where data do not go through lanes, or none have come this way. */
  readonly lanes: PortLanesView | undefined;
}

export interface NodeDetails extends NodeView {
  /** Whether data go hop by hop through virtual lanes. */
  readonly hasLanes: boolean;
  readonly ports: PortDetails[];
}

/** @throws NotFoundError */
export function inspectNodeNamed(fabric: Fabric, name: string): NodeDetails {
  const node = getNode(fabric, name);
  const view = inspectNode(node);
  const bufferBlocks = fabric.lanes?.bufferBlocks ?? 0;
  const ports = view.ports.map((port) => {
    // Port 0 of a switch has no cable.
    const lanes = node.switch !== undefined && port.number === 0 ? undefined : node.ports[port.number]?.lanes;
    return { ...port, lanes: lanes === undefined ? undefined : inspectPortLanes(lanes, bufferBlocks) };
  });
  return { ...view, hasLanes: fabric.lanes !== undefined, ports };
}

/** A node that has no lanes. */
export const withoutLanes = (view: NodeView): NodeDetails => ({
  ...view,
  hasLanes: false,
  ports: view.ports.map((port) => ({ ...port, lanes: undefined })),
});
