// An HCA of a domain: the function behind its vfio-user socket, its port of the fabric, and what can be said of them.

import type { Clock } from "../base/clock.ts";
import { countersObject, newCounters } from "../base/counters.ts";
import { type Log, limitWarnings } from "../base/log.ts";
import { guidText } from "../base/names.ts";
import type { CaPort } from "../fabric/ca-port.ts";
import type { LabFabric } from "../fabric/lab-fabric.ts";
import type { TopologyFabric } from "../fabric/topology-fabric.ts";
import type { Quota } from "../hca/limits.ts";
import type { SharedMemoryRegistry } from "../host/shared-memory.ts";
import { AdapterCounter } from "../transport/counters.ts";
import type { Network } from "../transport/network.ts";
import { ServerCounter } from "../vfio-user/counters.ts";
import { VfioUserServer } from "../vfio-user/server.ts";
import { HcaFunction } from "./hca-function.ts";
import type { InspectedHca } from "./inspect.ts";

export interface HcaOptions {
  name: string;
  /** Where the VMM connects. */
  socketPath: string;
  /** Map registers and doorbells into the guest, or trap every access. */
  doorbells: "mapped" | "trapped";
  nodeGuid?: bigint;
  /** What the HCA may have, where it differs from the default. */
  quota?: Partial<Quota> | undefined;
  /** Storage for the two sets of counters; may be shared with another thread. */
  counters?: { adapter: Float64Array; server: Float64Array };
}

/** What can be said of one HCA. */
export interface HcaView {
  name: string;
  socketPath: string;
  doorbells: "mapped" | "trapped";
  nodeGuid: string;
  portState: number;
  lid: number;
  isConnected: boolean;
  /** What the VM shares. */
  memoryBytes: number;
  /** Of these, what the compiled requests reach: less where their window had no room, 0 where there is no such program (decision 16). */
  compiledBytes: number;
  objects: { qps: number; cqs: number; srqs: number; regions: number; icmPages: number };
  counters: Record<string, number>;
  messages: Record<string, number>;
}

/** What of its domain an HCA needs. */
export interface HcaPlace {
  readonly network: Network;
  readonly fabric: LabFabric | TopologyFabric;
  readonly registry: SharedMemoryRegistry;
  readonly log: Log;
  readonly clock: Clock;
}

export class PluggedHca {
  readonly options: HcaOptions;
  readonly fn: HcaFunction;
  readonly server: VfioUserServer;
  readonly port: CaPort;
  /** Polls until it counts as quiet; 0 if it does. */
  busyPolls = 0;
  readonly #serverCounters: Float64Array;
  readonly #fabric: LabFabric | TopologyFabric;

  /**
   * Plugs an HCA into the fabric and listens for its VM.
   * @throws if there is no place for it or the socket cannot be made; then nothing is left of it
   */
  constructor(options: HcaOptions, { network, fabric, registry, log, clock }: HcaPlace) {
    this.options = options;
    this.#fabric = fabric;
    this.#serverCounters = options.counters?.server ?? newCounters(ServerCounter);
    this.fn = new HcaFunction({
      ...{ name: options.name, network, isMapped: options.doorbells === "mapped", quota: options.quota },
      log: limitWarnings(log, () => clock.nowNs()),
      counters: options.counters?.adapter ?? newCounters(AdapterCounter),
    });
    let server: VfioUserServer | undefined;
    try {
      server = new VfioUserServer(this.fn, { path: options.socketPath, log, counters: this.#serverCounters, registry });
      this.server = server;
      this.port = fabric.addCa({
        name: options.name,
        description: `${options.name} MT25204 vhca`,
        ...(options.nodeGuid === undefined ? {} : { nodeGuid: options.nodeGuid }),
      });
      this.port.attach(this.fn.hca.addPort(this.port));
    } catch (error) {
      server?.close();
      this.fn.destroy();
      throw error;
    }
  }

  get name(): string {
    return this.options.name;
  }

  /** Closes its socket: no message comes any more. What it has in memory and in the fabric stays until `unplug`. */
  close(): void {
    this.server.close();
  }

  /** Takes it out of the fabric, after whoever polls it or works for it has forgotten it. */
  unplug(): void {
    this.fn.destroy();
    this.port.attach(undefined);
    this.#fabric.removeCa(this.port);
  }

  /** Lets its doorbells and what arrives at its port wait, or go on. */
  setFrozen(isFrozen: boolean): void {
    this.fn.hca.isFrozen = isFrozen;
    this.port.setFrozen(isFrozen);
  }

  /** For the questions of `answerInspect`. */
  inspected(): InspectedHca {
    const { options, fn, server } = this;
    const { socketPath, doorbells } = options;
    const nodeGuid = guidText(this.port.node.guid);
    return { fn, nodeGuid, socketPath, doorbells, isConnected: server.isConnected, serverCounters: this.#serverCounters };
  }

  /** Itself in a line, its counters and those of its socket. */
  view(): HcaView {
    const { adapter } = this.fn.hca;
    return {
      name: this.options.name,
      socketPath: this.options.socketPath,
      doorbells: this.options.doorbells,
      nodeGuid: guidText(this.port.node.guid),
      portState: this.port.state,
      lid: this.port.lid,
      isConnected: this.server.isConnected,
      memoryBytes: this.fn.dma.mappedBytes,
      compiledBytes: adapter.hcaWords === undefined ? 0 : this.fn.dma.windowBytes,
      objects: {
        qps: adapter.qps.count,
        cqs: adapter.cqs.count,
        srqs: adapter.srqs.count,
        regions: adapter.regions.count,
        icmPages: adapter.icm.mappedPages,
      },
      counters: countersObject(AdapterCounter, adapter.counters, false),
      messages: countersObject(ServerCounter, this.#serverCounters, false),
    };
  }
}
