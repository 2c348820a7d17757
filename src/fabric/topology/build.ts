// From paper to fabric: switches, hosts without VMs, cables.

import { LinkWidth } from "../../spec/mad/numbers.ts";
import type { CaNode } from "../ca-node.ts";
import type { Fabric } from "../fabric.ts";
import { type Cable, EVERY_SPEED, EVERY_WIDTH, GOOD_CABLE, type Link } from "../link.ts";
import type { FabricNode } from "../node.ts";
import { PhantomHost } from "../phantom-host.ts";
import type { Port } from "../port.ts";
import type { SwitchNode } from "../switch-node.ts";
import { checkTopology } from "./check.ts";
import { GuidPool } from "./guids.ts";
import {
  SPEEDS,
  type SpeedName,
  type Topology,
  type TopologyLink,
  type TopologyNode,
  WIDTHS,
  type WidthName,
} from "./topology.ts";

/** What a topology has become; by name, in its order. */
export interface BuiltTopology {
  readonly switches: Map<string, SwitchNode>;
  readonly hosts: Map<string, CaNode>;
  readonly guids: GuidPool;
}

/**
 * Builds `topology` into `fabric`, every host a phantom.
 * @throws TopologyError if it cannot be built
 */
export function buildTopology(fabric: Fabric, topology: Topology): BuiltTopology {
  checkTopology(topology);
  const guids = new GuidPool(topology.nodes);
  const built: BuiltTopology = { switches: new Map(), hosts: new Map(), guids };
  for (const node of topology.nodes) {
    const guid = node.guid ?? guids.take(node.kind);
    if (node.kind === "switch") built.switches.set(node.name, addSwitch(fabric, node, guid));
    else built.hosts.set(node.name, addPhantom(fabric, node, guid));
  }
  for (const link of topology.links) addLink(fabric, link, built);
  return built;
}

export function addSwitch(fabric: Fabric, { name, description, portCount, identity }: TopologyNode, guid: bigint): SwitchNode {
  const node = fabric.addSwitch({ ...identity, guid, description: description ?? name, portCount });
  fabric.nameNode(node, name);
  return node;
}

/** Tables of a phantom: nobody uses more of them, and there are thousands. */
const PHANTOM_PKEYS = 32;
const PHANTOM_GUIDS = 1;

/** A host whose ports are up at once. */
export function addPhantom(fabric: Fabric, node: TopologyNode, nodeGuid: bigint): CaNode {
  const { name, description = name, portCount, portGuids, identity } = node;
  const tables = { pkeyCount: PHANTOM_PKEYS, guidCount: PHANTOM_GUIDS };
  const ca = fabric.addCa({ ...identity, nodeGuid, description, portCount, portGuids, ...tables });
  ca.isPhantom = true;
  fabric.nameNode(ca, name);
  for (const port of ca.ports) {
    if (port === undefined) continue;
    new PhantomHost(port);
    port.adapts = true;
    port.enable();
  }
  return ca;
}

function addLink(fabric: Fabric, link: TopologyLink, { switches, hosts }: BuiltTopology): Link {
  const [a, b] = link.ends.map(({ node, port }) => portOf(switches.get(node) ?? hosts.get(node), port)) as [Port, Port];
  const added = fabric.connect(a, b, cableOf(link));
  const { loss = 0, corruption = 0, delayNs = 0 } = link;
  fabric.setFaults(added, { loss, corruption, delayNs });
  return added;
}

function portOf(node: FabricNode | undefined, number: number): Port {
  const port = node?.ports[number];
  if (port === undefined) throw new Error("invariant: a checked topology has the ports its links name");
  return port;
}

/** Lanes and speed at most; "auto" for what both ports can. */
interface CableBound {
  readonly width?: WidthName | "auto" | undefined;
  readonly speed?: SpeedName | "auto" | undefined;
}

/** The cable with a bound: masks of all widths and speeds up to it. */
export function cableOf({ width = "auto", speed = "auto" }: CableBound): Cable {
  if (width === "auto" && speed === "auto") return GOOD_CABLE;
  return {
    widths:
      width === "auto" ? EVERY_WIDTH : WIDTHS[width] === LinkWidth.W2X ? LinkWidth.W2X | LinkWidth.W1X : upTo(WIDTHS[width]),
    speeds: speed === "auto" ? EVERY_SPEED : upTo(SPEEDS[speed]),
  };
}

const upTo = (bit: number): number => (bit << 1) - 1;
