// What the records of ports have in common: which ports there are, by which LID they are known, and who may see them.

import type { Partitions } from "../partitions.ts";
import type { Subnet, SubnetPort } from "../subnet.ts";
import type { Asker } from "./request.ts";

/** LID by which a port is known: its own, or that of its switch's port 0. */
export const lidOf = (port: SubnetPort): number => (port.node.isSwitch ? (port.node.ports[0]?.lid ?? 0) : port.lid);

/** Whether `asker` may see a port: they share a partition (15.4.1.1), or the asker knows the SM_Key. A switch is seen by all. */
export const isVisible = (partitions: Partitions, asker: Asker, port: SubnetPort): boolean =>
  asker.isTrusted || !partitions.isOn || port.node.isSwitch || partitions.sharedKey(asker.port, port) !== 0;

/** Ports that have a LID and PortInfo, and that `asker` may see; those of one node where a LID is given. */
export function* portsOf(subnet: Subnet, partitions: Partitions, asker: Asker, lid?: number): Generator<SubnetPort> {
  const one = lid === undefined ? undefined : subnet.byLid.get(lid);
  if (lid !== undefined && one === undefined) return;
  for (const node of one === undefined ? subnet.nodes.values() : [one.node]) {
    for (const port of node.ports) {
      if (port?.hasInfo === true && lidOf(port) !== 0 && isVisible(partitions, asker, port)) yield port;
    }
  }
}
