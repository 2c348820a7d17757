// Subnet management interface: what a node does with a directed-route SMP. IBA vol 1, 14.2.2 (C14-9 outbound, C14-13 on the
// way back). The path arrays count from 1; the hop pointer says how far along the SMP is, and on the way back down again.
//
//   requester      switch           switch            target
//   HP 0→1    ──►  HP 1→2     ──►   HP 2→3      ──►   HP 3 (= count) → count+1, executed
//   HP 0  ◄──      HP 2→1 ... each hop leaves by ReturnPath[HP], which the way out has filled in

import { Lid } from "../spec/ib/numbers.ts";
import { SMP_INITIAL_PATH_AT, SMP_MAX_HOPS, SMP_RETURN_PATH_AT, Smp } from "../spec/mad/headers.ts";

/** Where a directed-route SMP goes next; a number ≥ 0 is the port to leave by. */
export const SmiRoute = {
  DROP: -1,
  /** To this node's SMA. */
  AGENT: -2,
  /** The response has come home: to the subnet manager here. */
  MANAGER: -3,
  /** The directed part ends here; the rest is LID-routed (to DrDLID, or to DrSLID on the way back). */
  LID_ROUTED: -4,
} as const;

/** A node as the SMI needs it. */
export interface SmiNode {
  readonly isSwitch: boolean;
  /** Physical ports. */
  readonly portCount: number;
}

/**
 * Advances the SMP at byte `at` of `view` and says where it goes.
 * @param ingress port it arrived on; 0 when it starts at this node (or came LID-routed to a switch's port 0).
 */
export function routeSmp(node: SmiNode, view: DataView, at: number, ingress: number): number {
  if (Smp.hopCount.get(view, at) > SMP_MAX_HOPS) return SmiRoute.DROP;
  return Smp.direction.get(view, at) === 0 ? routeOutbound(node, view, at, ingress) : routeReturning(node, view, at);
}

function routeOutbound(node: SmiNode, view: DataView, at: number, ingress: number): number {
  const count = Smp.hopCount.get(view, at);
  const pointer = Smp.hopPointer.get(view, at);
  // C14-9:1, the directed part starts here
  if (count !== 0 && pointer === 0)
    return ingress === 0 ? leaveBy(node, view, at, pointer + 1, SMP_INITIAL_PATH_AT) : SmiRoute.DROP;
  // C14-9:2, on the way
  if (pointer !== 0 && pointer < count) {
    if (!node.isSwitch) return SmiRoute.DROP;
    view.setUint8(at + SMP_RETURN_PATH_AT + pointer, ingress);
    return leaveBy(node, view, at, pointer + 1, SMP_INITIAL_PATH_AT);
  }
  // C14-9:3, the directed part ends here
  if (pointer === count) {
    if (count !== 0) view.setUint8(at + SMP_RETURN_PATH_AT + pointer, ingress);
    Smp.hopPointer.set(view, at, pointer + 1);
    if (Smp.drDlid.get(view, at) === Lid.PERMISSIVE) return SmiRoute.AGENT;
    return node.isSwitch ? SmiRoute.LID_ROUTED : SmiRoute.DROP;
  }
  // C14-9:4 after a LID-routed tail; C14-9:5 anything else
  return pointer === count + 1 ? SmiRoute.AGENT : SmiRoute.DROP;
}

function routeReturning(node: SmiNode, view: DataView, at: number): number {
  const count = Smp.hopCount.get(view, at);
  const pointer = Smp.hopPointer.get(view, at);
  // C14-13:1, the way back starts here
  if (count !== 0 && pointer === count + 1) return leaveBy(node, view, at, pointer - 1, SMP_RETURN_PATH_AT);
  // C14-13:2, on the way
  if (pointer >= 2 && pointer <= count) {
    return node.isSwitch ? leaveBy(node, view, at, pointer - 1, SMP_RETURN_PATH_AT) : SmiRoute.DROP;
  }
  // C14-13:3, the directed part ends here
  if (pointer === 1) {
    Smp.hopPointer.set(view, at, 0);
    if (Smp.drSlid.get(view, at) === Lid.PERMISSIVE) return SmiRoute.MANAGER;
    return node.isSwitch ? SmiRoute.LID_ROUTED : SmiRoute.DROP;
  }
  // C14-13:4 and 5
  return pointer === 0 ? SmiRoute.MANAGER : SmiRoute.DROP;
}

function leaveBy(node: SmiNode, view: DataView, at: number, pointer: number, pathAt: number): number {
  const port = view.getUint8(at + pathAt + pointer);
  if (port < 1 || port > node.portCount) return SmiRoute.DROP;
  Smp.hopPointer.set(view, at, pointer);
  return port;
}
