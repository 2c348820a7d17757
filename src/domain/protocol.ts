// What the control thread and the engine thread say to each other. Requests go one at a time; the engine answers between two
// sweeps and never waits.

import type { FabricView } from "../fabric/inspect.ts";
import type { FabricOperation } from "../fabric/operations.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { ChosenOptions } from "../sm/options.ts";
import type { DataPath } from "../transport/network.ts";
import type { CaptureOptions } from "./capture-buffer.ts";
import type { EnginePlace } from "./engine-fabric.ts";
import type { FaultOperation } from "./faults/operations.ts";
import type { InspectQuestion } from "./inspect.ts";
import type { HcaOptions, HcaView } from "./plugged-hca.ts";

/** What wakes an engine. */
export interface EngineBell {
  /** Word 0 becomes 1 when a request or another engine's packet waits. */
  doorbell: SharedArrayBuffer;
  /** An eventfd. */
  wakeDescriptor: number;
}

/** The way to another engine and back. */
export interface TrunkOptions {
  peer: number;
  /** Memfds of the two rings. */
  outgoing: number;
  incoming: number;
  /** The other engine's. */
  bell: EngineBell;
}

export interface EngineOptions {
  sm: "builtin" | "none";
  manager?: ChosenOptions | undefined;
  /** Of the one engine; without it, one switch. */
  topology?: Topology | undefined;
  dataPath?: DataPath | undefined;
  cores: number;
  bell: EngineBell;
  place: EnginePlace;
  trunks: TrunkOptions[];
  /** A word for each engine: 1 while it sleeps. */
  sleepers: SharedArrayBuffer;
}

/** An HCA to plug into the switch. */
export type NewHca = Pick<HcaOptions, "name" | "socketPath" | "nodeGuid" | "quota"> & Partial<Pick<HcaOptions, "doorbells">>;

export type EngineRequest =
  | { id: number; method: "addHca"; hca: NewHca }
  | { id: number; method: "removeHca"; name: string }
  | { id: number; method: "describe" }
  | { id: number; method: "nodes"; from: number; limit: number }
  | { id: number; method: "links"; from: number; limit: number }
  | { id: number; method: "fabric"; operation: FabricOperation }
  | { id: number; method: "faults"; operation: FaultOperation }
  | { id: number; method: "inspect"; name: string; question: InspectQuestion }
  | { id: number; method: "startCapture"; capture: CaptureOptions }
  | { id: number; method: "stopCapture" }
  | { id: number; method: "serveIbsim"; baseName: string; uid: number }
  | { id: number; method: "stop" };

export interface DomainView {
  hcas: HcaView[];
  fabric: FabricView;
  engine: Record<string, number>;
}

export type EngineReply =
  | { id: number; value: unknown }
  | { id: number; error: string; isNotFound: boolean }
  | { log: "debug" | "info" | "warn"; message: string };
