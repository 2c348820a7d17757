// A topology as a netlist that says everything, so that ibsim makes the same of it.

import { type LinkEnd, nodesOf, type Topology, type TopologyNode } from "../../src/fabric/topology/topology.ts";

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** GUIDs from these on, in steps, where the topology has none. */
const FIRST_SWITCH_GUID = 0x0200_0000n;
const FIRST_HOST_GUID = 0x0100_0000n;
const GUID_STEP = 0x10n;

/** The netlist of `topology`, its cables with these rates in turn. */
export function netlistText(topology: Topology, rates: readonly string[] = ["4xDDR"]): string {
  const cables = new Map<string, [number, LinkEnd, string | undefined][]>();
  for (const [i, { ends }] of topology.links.entries()) {
    const rate = rates[i % rates.length];
    for (const [near, far] of [ends, [ends[1], ends[0]] as const]) {
      const list = cables.get(near.node) ?? [];
      list.push([near.port, far, rate]);
      cables.set(near.node, list);
    }
  }
  const text = (node: TopologyNode, head: string): string => {
    const ports = (cables.get(node.name) ?? []).sort(([a], [b]) => a - b);
    return `${head}\n${ports.map(([port, far, rate]) => `[${port}] "${far.node}"[${far.port}] # lid 0 ${rate}`).join("\n")}\n`;
  };
  const switches = nodesOf(topology, "switch").map((node, i) => {
    const guid = node.guid ?? FIRST_SWITCH_GUID + BigInt(i) * GUID_STEP;
    const identity = `vendid=0x1405\ndevid=0x7668\nsysimgguid=${hex(guid)}\nswitchguid=${hex(guid)}`;
    return text(node, `${identity}\nSwitch ${node.portCount} "${node.name}" # "${node.name}" enhanced port 0 lid 0 lmc 0`);
  });
  const hosts = nodesOf(topology, "host").map((node, i) => {
    const guid = node.guid ?? FIRST_HOST_GUID + BigInt(i) * GUID_STEP;
    const identity = `vendid=0x2c9\ndevid=0x6274\nsysimgguid=${hex(guid + 3n)}\ncaguid=${hex(guid)}`;
    return text(node, `${identity}\nCa ${node.portCount} "${node.name}" # "${node.name}"`);
  });
  return [...switches, ...hosts].join("\n");
}
