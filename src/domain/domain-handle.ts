// The control thread's side of a device domain: its engines, which HCA is on which, and what is asked of all of them.

import { availableParallelism } from "node:os";
import { type Listing, NotFoundError, type Page } from "../base/inspect.ts";
import type { Log } from "../base/log.ts";
import { guidText } from "../base/names.ts";
import { checkHasSwitch, checkTopology } from "../fabric/topology/check.ts";
import type { Topology } from "../fabric/topology/topology.ts";
import type { ListKind, ObjectDetails, ObjectKind, ObjectViews } from "../hca/inspect.ts";
import type { ChosenOptions } from "../sm/options.ts";
import type { DataPath } from "../transport/network.ts";
import { Capture } from "./capture.ts";
import { ENGINES_MAX } from "./engine-fabric.ts";
import { EngineHandle, newBell } from "./engine-handle.ts";
import { FabricHandle } from "./fabric-handle.ts";
import { FaultsHandle } from "./faults-handle.ts";
import { type HcaDeviceView, type HcaTree, type InspectQuestion, LISTED_MAX } from "./inspect.ts";
import { joinFabricViews } from "./join-views.ts";
import type { HcaView } from "./plugged-hca.ts";
import type { DomainView, NewHca } from "./protocol.ts";
import { TrunkMemory } from "./trunk-memory.ts";

export interface DomainOptions {
  sm?: "builtin" | "none";
  /** Of the built-in subnet manager. */
  manager?: ChosenOptions | undefined;
  log: Log;
  /** Cores the engines may count on; all of the machine's by default. */
  cores?: number;
  /** Engine threads to spread the HCAs over; 1 by default. */
  engines?: number;
  /** Shape of the fabric, whose hosts the HCAs are; without it, one switch for each engine. */
  topology?: Topology | undefined;
  /** How messages between HCAs of an engine go; "auto" by default. */
  dataPath?: DataPath | undefined;
}

/** An HCA and where it is. */
interface Placed {
  engine: EngineHandle;
  nodeGuid: string;
}

function assertBuildable(topology: Topology, sm: "builtin" | "none", engines: number): void {
  if (engines > 1) throw new Error(`a topology lives in one engine for now: expected 1, got ${engines}; leave --engines out`);
  checkTopology(topology);
  if (sm === "builtin") checkHasSwitch(topology);
}

/** A running device domain. */
export class DomainHandle {
  readonly #engines: EngineHandle[];
  /** What can be seen and changed of the fabric. */
  readonly fabric: FabricHandle;
  /** What is wrong with it on purpose. */
  readonly faults: FaultsHandle;
  readonly #trunks: TrunkMemory;
  readonly #placed = new Map<string, Placed>();
  #capture: Capture | undefined;
  /** Settles when the engine threads have ended; rejects if one of them crashed. */
  readonly ended: Promise<void>;

  /** @throws if the number of engines is not 1 to `ENGINES_MAX`, or the topology cannot be built, or not over several engines */
  constructor(options: DomainOptions) {
    const count = options.engines ?? 1;
    if (!Number.isInteger(count) || count < 1 || count > ENGINES_MAX)
      throw new Error(`engines: expected 1 to ${ENGINES_MAX}, got ${count}`);
    const { sm = "builtin", manager, topology, dataPath } = options;
    if (topology !== undefined) assertBuildable(topology, sm, count);
    const bells = Array.from({ length: count }, newBell);
    const trunks = new TrunkMemory(count);
    const sleepers = new SharedArrayBuffer(4 * count);
    const cores = Math.max(1, Math.floor((options.cores ?? availableParallelism()) / count));
    this.#trunks = trunks;
    this.#engines = bells.map((bell, index) => {
      const others = bells.flatMap((other, peer) =>
        peer === index
          ? []
          : [{ peer, bell: other, outgoing: trunks.descriptor(index, peer), incoming: trunks.descriptor(peer, index) }],
      );
      const place = { index, count };
      return new EngineHandle({ sm, manager, topology, dataPath, cores, bell, place, trunks: others, sleepers }, options.log);
    });
    this.fabric = new FabricHandle(this.#engines);
    this.faults = new FaultsHandle(this.#engines, this.fabric);
    this.ended = this.#end();
    this.ended.catch(() => {});
  }

  /**
   * Plugs in an HCA that listens at `socketPath` for its VM, on the engine that has the fewest.
   * @throws if the name or the node GUID is taken, the switch is full or the socket cannot be made
   */
  async addHca(hca: NewHca): Promise<HcaView> {
    if (this.#placed.has(hca.name)) throw new Error(`there is already an HCA named ${hca.name}`);
    const engine = this.#leastLoaded();
    const placed = { engine, nodeGuid: hca.nodeGuid === undefined ? "" : guidText(hca.nodeGuid) };
    for (const { nodeGuid } of this.#placed.values()) {
      if (nodeGuid !== "" && nodeGuid === placed.nodeGuid) throw new Error(`node GUID ${nodeGuid} is already in the fabric`);
    }
    this.#placed.set(hca.name, placed);
    try {
      const view = await engine.ask<HcaView>({ method: "addHca", hca });
      placed.nodeGuid = view.nodeGuid;
      return view;
    } catch (error) {
      this.#placed.delete(hca.name);
      throw error;
    }
  }

  /** Unplugs an HCA; false if there is none of that name. */
  async removeHca(name: string): Promise<boolean> {
    const placed = this.#placed.get(name);
    if (placed === undefined) return false;
    const isRemoved = await placed.engine.ask<boolean>({ method: "removeHca", name });
    this.#placed.delete(name);
    return isRemoved;
  }

  /**
   * Serves programs of the host that ibsim's preload library attaches, on sockets named after `baseName`.
   * @throws if somebody serves under that name already, or the domain has several engines
   */
  async serveIbsim(baseName: string): Promise<void> {
    const [engine, second] = this.#engines;
    if (engine === undefined || second !== undefined) throw new Error("ibsim's clients can be served by one engine only");
    await engine.ask({ method: "serveIbsim", baseName, uid: process.getuid?.() ?? 0 });
  }

  /** HCAs with their counters, the fabric, the engines' own figures. */
  async describe(): Promise<DomainView> {
    const views = await Promise.all(this.#engines.map((engine) => engine.ask<DomainView>({ method: "describe" })));
    const order = [...this.#placed.keys()];
    const engine: Record<string, number> = {};
    for (const view of views) {
      for (const [name, value] of Object.entries(view.engine)) engine[name] = (engine[name] ?? 0) + value;
    }
    return {
      hcas: views.flatMap(({ hcas }) => hcas).sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)),
      fabric: joinFabricViews(views.map(({ fabric }) => fabric)),
      engine,
    };
  }

  /**
   * An HCA with at most `limit` objects of each kind. The engine makes it in parts, each of them a moment of its own, so that
   * nobody's messages wait for a long listing.
   * @throws NotFoundError if there is no HCA of that name
   */
  async tree(name: string, limit = LISTED_MAX): Promise<HcaTree> {
    const device = await this.#inspect<HcaDeviceView>(name, { part: "device" });
    const list = <K extends ListKind>(kind: K): Promise<Listing<ObjectViews[K]>> => this.#list(name, kind, limit);
    return {
      ...device,
      qps: await list("qps"),
      cqs: await list("cqs"),
      srqs: await list("srqs"),
      regions: await list("regions"),
      groups: await list("groups"),
    };
  }

  /**
   * Everything about one object of an HCA.
   * @throws NotFoundError if there is no such HCA or object; the message says what there is
   */
  object<K extends ObjectKind>(name: string, kind: K, number: number): Promise<ObjectDetails[K]> {
    return this.#inspect(name, { part: "object", kind, number });
  }

  /**
   * Starts to look at the ports of these HCAs, of all if none is named; one capture runs at a time.
   * @throws NotFoundError if there is no HCA of a name
   */
  async startCapture(names: readonly string[], application: string): Promise<Capture> {
    if (this.#capture !== undefined) throw new Error("a capture of this domain runs already; one is possible at a time");
    const wanted = names.length === 0 ? [...this.#placed.keys()] : [...new Set(names)];
    const interfaces = wanted.map((name) => {
      const { engine, nodeGuid } = this.#find(name);
      return { name, engine, description: `port 1 of HCA ${name}, node GUID ${nodeGuid}` };
    });
    const capture = new Capture(interfaces, application);
    this.#capture = capture;
    try {
      await capture.start();
    } catch (error) {
      this.#capture = undefined;
      throw error;
    }
    return capture;
  }

  /** Ends the capture that runs, if one does; with `only`, if that is the one. */
  async stopCapture(only?: Capture): Promise<void> {
    const capture = this.#capture;
    if (only !== undefined && only !== capture) return;
    await capture?.stop();
    if (this.#capture === capture) this.#capture = undefined;
  }

  async #list<K extends ListKind>(name: string, kind: K, limit: number): Promise<Listing<ObjectViews[K]>> {
    const most = Math.min(limit, LISTED_MAX);
    const items: ObjectViews[K][] = [];
    for (let from = 0; ; ) {
      const question: InspectQuestion = { part: "list", kind, from, limit: most - items.length };
      const page = await this.#inspect<Page<ObjectViews[K]>>(name, question);
      items.push(...page.items);
      const isLast = page.next === undefined || page.next <= from;
      if (isLast || items.length >= Math.min(most, page.count)) {
        return { count: page.count, isCut: page.next !== undefined && page.count > items.length, items };
      }
      from = page.next ?? 0;
    }
  }

  async #inspect<T>(name: string, question: InspectQuestion): Promise<T> {
    return this.#find(name).engine.ask({ method: "inspect", name, question });
  }

  #find(name: string): Placed {
    const placed = this.#placed.get(name);
    if (placed !== undefined) return placed;
    const names = [...this.#placed.keys()].join(", ");
    const others = names === "" ? "there is none at all" : `there are: ${names}`;
    throw new NotFoundError(`there is no HCA named ${name}; ${others}`);
  }

  /** Unplugs everything and ends the threads. */
  async stop(): Promise<void> {
    await Promise.all(this.#engines.map((engine) => engine.stop()));
    await this.ended.catch(() => {});
  }

  #leastLoaded(): EngineHandle {
    const loads = new Map(this.#engines.map((engine) => [engine, 0]));
    for (const { engine } of this.#placed.values()) loads.set(engine, (loads.get(engine) ?? 0) + 1);
    const [least] = [...loads].sort(([, a], [, b]) => a - b);
    if (least === undefined) throw new Error("invariant: an engine at least");
    return least[0];
  }

  /** Without one of its engines a domain is of no use: the first that ends takes the others along. */
  async #end(): Promise<void> {
    try {
      await Promise.race(this.#engines.map(({ ended }) => ended));
    } finally {
      await Promise.all(this.#engines.map((engine) => engine.stop()));
      for (const engine of this.#engines) engine.close();
      this.#trunks.close();
    }
  }
}
