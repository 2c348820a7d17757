// How messages between the HCAs of an engine go: what was asked for, or what the topology says.

import type { DomainFabric } from "../fabric/domain-fabric.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { DataPath, Network } from "../transport/network.ts";
import type { EnginePlace } from "./engine-fabric.ts";

export interface DataPathOptions {
  /** "auto" if left out: then a topology may ask for lanes. */
  readonly dataPath?: DataPath | undefined;
  readonly topology?: Topology | undefined;
  /** The clock goes on by itself: what nobody has had a turn in does not count in lanes. */
  readonly isMachineClock?: boolean | undefined;
}

/** Twice as long as a short sleep that ends late. */
const MAX_LAG_NS = 200_000;

/** @throws if an engine of several is to have virtual lanes */
export function setDataPath(network: Network, fabric: DomainFabric, place: EnginePlace, options: DataPathOptions): void {
  const { dataPath = "auto", topology } = options;
  network.setPath(dataPath);
  if (dataPath !== "lanes" && !(dataPath === "auto" && topology?.lanes !== undefined)) return;
  if (place.count > 1) throw new Error("the data path lanes: expected one engine; leave --engines out");
  network.joinLanes(fabric.openLanes({ ...topology?.lanes, maxLagNs: options.isMachineClock === true ? MAX_LAG_NS : undefined }));
}
