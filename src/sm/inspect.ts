// The subnet manager as plain objects, for printing and for the dashboard.

import { guidText, hex, nameOf } from "../base/names.ts";
import { PortState } from "../spec/ib/numbers.ts";
import { NodeType, SmState } from "../spec/mad/numbers.ts";
import type { SubnetManager } from "./subnet-manager.ts";

export interface ManagerView {
  readonly lid: number;
  /** MASTER, or STANDBY where another manager has the subnet. */
  readonly state: string;
  readonly nodes: { type: string; guid: string; description: string; lids: number[]; states: string[] }[];
  readonly groups: { mgid: string; mlid: string; members: string[] }[];
  readonly services: number;
  readonly subscriptions: number;
  /** SMPs and their fate, sweeps, SA requests: everything that is counted. */
  readonly counts: Record<string, number>;
}

export function inspectManager(manager: SubnetManager): ManagerView {
  return {
    lid: manager.lid,
    state: nameOf(SmState, manager.negotiation.state),
    nodes: [...manager.subnet.nodes.values()].map((node) => ({
      type: nameOf(NodeType, node.type),
      guid: guidText(node.guid),
      description: Buffer.from(node.description).toString().replaceAll("\0", ""),
      lids: node.presentPorts().map((port) => port.lid),
      states: node.ports.flatMap((port) =>
        port?.peer === undefined ? [] : [`${port.number}: ${nameOf(PortState, port.state)}`],
      ),
    })),
    groups: [...manager.groups.all()].map((group) => ({
      mgid: Buffer.from(group.mgid).toString("hex"),
      mlid: hex(group.mlid),
      members: [...group.members.keys()].map(guidText),
    })),
    services: manager.administrator.services.size,
    subscriptions: manager.administrator.subscriptions.size,
    counts: {
      ...manager.counts,
      ...manager.negotiation.counts,
      ...manager.transactions.counts,
      ...manager.discovery.counts,
      ...manager.configurator.counts,
      ...manager.administrator.counts,
      ...manager.administrator.reporter.counts,
      refusedSmps: manager.smps.refused,
      transfers: manager.administrator.transfers,
      refusedTransfers: manager.administrator.segmented.refused,
      abandonedTransfers: manager.administrator.segmented.abandoned,
      malformedSegments: manager.administrator.segmented.malformed,
    },
  };
}
