// The fabric of one engine among several: a switch with its HCAs, joined to the switch of every other engine. The first engine has the
// subnet manager, which sees one subnet.

import { createHmac, randomBytes } from "node:crypto";
import type { Random } from "../base/random.ts";
import type { DomainFabric } from "../fabric/domain-fabric.ts";
import { DEFAULT_SWITCH_GUID, FIRST_CA_GUID } from "../fabric/guids.ts";
import { DEFAULT_SWITCH_PORTS, LabFabric } from "../fabric/lab-fabric.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import { TopologyFabric } from "../fabric/topology-fabric.ts";
import type { EndpointFactory } from "../mad/endpoint.ts";
import type { ChosenOptions, SubnetManagerOptions } from "../sm/options.ts";
import { subnetManager } from "../sm/subnet-manager.ts";
import type { Network } from "../transport/network.ts";
import type { PacketRing } from "../transport/packets/ring.ts";
import { TrunkEnd } from "./trunk-end.ts";

/** Engines of a domain; each takes a port of every switch. */
export const ENGINES_MAX = 16;
/** log2 of the bytes of a ring from one engine to another. */
export const LOG_TRUNK_BYTES = 20;

/** GUIDs of engine n lie n times as far behind those of the first. */
const SWITCH_GUID_STEP = 0x100n;
const CA_GUID_STEP = 0x100000n;

/** Which of how many. */
export interface EnginePlace {
  readonly index: number;
  readonly count: number;
}

export const ONLY_ENGINE: EnginePlace = { index: 0, count: 1 };

/** What the subnet manager is told, beside what the fabric knows. */
export type ManagerOptions = ChosenOptions & Pick<SubnetManagerOptions, "log">;

export function newEngineFabric(
  { index, count }: EnginePlace,
  sm: "builtin" | "none",
  random: Random,
  options: ManagerOptions = {},
): LabFabric {
  const engineSwitches = new Set(Array.from({ length: count }, (_, i) => switchGuid(i)));
  // Only the first engine's cables can be looked up here, but all engines number their ports alike.
  const isTrunk = (guid: bigint, port: number): boolean => engineSwitches.has(guid) && port >= firstTrunkPort(count);
  const maySwitchBeBehind = (guid: bigint, port: number): boolean => isTrunk(guid, port) || fabric.leadsToSwitch(guid, port);
  const fabric: LabFabric = new LabFabric({
    random,
    switchGuid: switchGuid(index),
    switchName: switchName(index),
    switchDescription: index === 0 ? "vhca switch" : `vhca switch ${index + 1}`,
    firstCaGuid: FIRST_CA_GUID + BigInt(index) * CA_GUID_STEP,
    subnetManager: sm === "builtin" && index === 0 ? subnetManager({ ...options, random, maySwitchBeBehind }) : undefined,
  });
  return fabric;
}

const switchGuid = (index: number): bigint => DEFAULT_SWITCH_GUID + BigInt(index) * SWITCH_GUID_STEP;

/** Name of the switch of engine `index`. */
export const switchName = (index: number): string => `s${index + 1}`;

/** The fabric of a topology, in a domain of one engine; guests may not invent switches behind the ports of its hosts. */
export function newTopologyFabric(
  topology: Topology,
  sm: "builtin" | "none",
  random: Random,
  options: ManagerOptions = {},
): TopologyFabric {
  const manager = (fabric: DomainFabric): EndpointFactory =>
    subnetManager({
      ...options,
      random,
      maySwitchBeBehind: (guid, port) => fabric.leadsToSwitch(guid, port),
      partitions: topology.partitions ?? [],
      qos: topology.qos,
      headOfQueueLife: topology.lanes?.headOfQueueLife,
      // what partitions keep apart, a guest must not be able to join by writing to switches
      ...(topology.partitions === undefined ? {} : { mkeyOf: secretMkeys() }),
      hostBehind: (guid, port) => fabric.hostBehind(guid, port),
    });
  return new TopologyFabric({ topology, random, subnetManager: sm === "builtin" ? manager : undefined });
}

/** An M_Key for each node, which whoever knows one of them cannot guess. */
function secretMkeys(): (nodeGuid: bigint) => bigint {
  const secret = randomBytes(32);
  const known = new Map<bigint, bigint>();
  return (nodeGuid) => {
    const before = known.get(nodeGuid);
    if (before !== undefined) return before;
    const key = createHmac("sha256", secret).update(nodeGuid.toString(16)).digest().readBigUInt64BE() | 1n;
    known.set(nodeGuid, key);
    return key;
  };
}

/** The last ports of each switch lead to the other engines. */
const firstTrunkPort = (count: number): number => DEFAULT_SWITCH_PORTS - (count - 1) + 1;

/** The port of an engine's switch that leads to engine `peer`: the others have theirs in their order. */
export function trunkPort({ index, count }: EnginePlace, peer: number): number {
  return firstTrunkPort(count) + (peer < index ? peer : peer - 1);
}

/** Joins this engine to engine `peer`. */
export function joinEngine(
  place: EnginePlace,
  peer: number,
  fabric: LabFabric,
  network: Network,
  rings: { outgoing: PacketRing; incoming: PacketRing },
): TrunkEnd {
  return new TrunkEnd({
    network,
    fabric,
    ...rings,
    switchPort: trunkPort(place, peer),
    description: `cable to engine ${peer + 1}`,
  });
}
